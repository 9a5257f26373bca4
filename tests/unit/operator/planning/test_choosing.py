"""Which profile and how many devices a plan chooses for a model whose numbers are known, and what it says about it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from slipway.api.acceleratorprofile import AcceleratorProfile
from slipway.api.reasons import Reason
from slipway.models.facts import Model, Weights
from slipway.models.sources import Known
from slipway.operator.planning import Plan, Running, Supply, Unplannable, explaining, make_plan
from slipway.operator.planning.candidates import Candidate
from slipway.operator.planning.choosing import Choice
from slipway.operator.planning.fitting import Misfit
from slipway.operator.planning.memory import vllm
from slipway.operator.planning.memory.blocks import cache_of
from slipway.operator.planning.memory.releases import CURRENT
from slipway.operator.planning.memory.settings import GIB, Device, Settings
from slipway.operator.planning.supply import ProfileSupply, Room
from support.builders.models import GEMMA_12B, LLAMA_8B, LLAMA_70B, MIXTRAL, QWEN_14B
from support.builders.rendering import cpu, deployment, profile

SPEED = {"features": ["bf16", "fp8"], "compute": {"bf16": 989, "fp8": 1979}}
L4 = profile("l4", memory="23034Mi", bandwidth="300G", devicesPerNode=8, costPerHour=0.7, **SPEED)
H100 = profile("h100", memory="81559Mi", bandwidth="3350G", devicesPerNode=8, costPerHour=7.0, **SPEED)
H200 = profile("h200", memory="143771Mi", bandwidth="4800G", devicesPerNode=8, costPerHour=9.0, **SPEED)
OLD = profile("old", memory="32Gi", bandwidth="900G", features=["int8"], compute={"fp16": 100}, costPerHour=1.0)
SHARED = profile("h200-shared", memory="71885Mi", sharedBy=2, bandwidth="4800G", devicesPerNode=8, **SPEED)
ALL = [L4, H100, H200]
RUN = Settings(sequences=256, batched_tokens=2048)
HUGE = vllm.divide(LLAMA_70B, Device(total=GIB), RUN, CURRENT)


def answer(model: Model = LLAMA_8B, profiles: list[Any] = ALL, **further: Any) -> Plan | Unplannable:
    given = {key: further.pop(key) for key in ("supply", "running") if key in further}
    return make_plan(deployment(**further).spec, profiles, name="llama", known=Known(model), **given)


def planned(model: Model = LLAMA_8B, profiles: list[Any] = ALL, **further: Any) -> Plan:
    made = answer(model, profiles, **further)
    assert isinstance(made, Plan), made
    return made


def refused(model: Model = LLAMA_8B, profiles: list[Any] = ALL, **further: Any) -> Unplannable:
    made = answer(model, profiles, **further)
    assert isinstance(made, Unplannable), made
    return made


def where(plan: Plan) -> tuple[str, int]:
    return plan.profile, plan.gpus_per_replica


def nodes(**counts: int) -> Supply:
    """One node of each profile with so many free devices of eight."""
    return Supply(
        {
            name: ProfileSupply(nodes=1, devices=8, most_on_a_node=8, free=free, most_free_on_a_node=free)
            for name, free in counts.items()
        }
    )


# --- the policy ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "chosen"),
    [("Cheapest", "l4"), ("Fastest", "h200"), ("InOrder", "h100")],
)
def test_the_policy_chooses_among_the_profiles_on_which_the_model_fits(policy: str, chosen: str) -> None:
    wanted = {"profiles": ["h100", "l4", "h200"], "policy": policy}
    assert planned(accelerator=wanted).profile == chosen


def test_without_named_profiles_all_are_candidates() -> None:
    assert planned().profile == "l4"


def test_a_profile_without_a_price_comes_last() -> None:
    unpriced = profile("a-unpriced", memory="80Gi", features=["bf16"])
    assert planned(profiles=[unpriced, H200]).profile == "h200"


def test_required_spot_nodes_are_compared_by_their_own_price() -> None:
    spot = {"nodeLabels": {"spot": "yes"}}
    dear = profile("dear", memory="80Gi", costPerHour=1, spot={**spot, "costPerHour": 0.9})
    cheap = profile("cheap", memory="80Gi", costPerHour=2, spot={**spot, "costPerHour": 0.5})
    assert planned(profiles=[dear, cheap]).profile == "dear"
    assert planned(profiles=[dear, cheap], accelerator={"spot": "Required"}).profile == "cheap"


# --- parallelism -----------------------------------------------------------------------------------------------------


def test_auto_takes_as_few_devices_as_hold_the_model() -> None:
    """70.55 billion weights of 2 B are 131.4 GiB: one H200 has too little besides them, so two."""
    assert where(planned(LLAMA_70B, [H200])) == ("h200", 2)
    assert where(planned(LLAMA_70B, [H100])) == ("h100", 2)
    assert where(planned(LLAMA_8B, [H200])) == ("h200", 1)


def test_a_number_of_the_spec_is_taken_as_it_is() -> None:
    assert where(planned(profiles=[H200], engine={"parallelism": {"tensor": 4}})) == ("h200", 4)


def test_a_number_that_does_not_divide_the_heads_is_refused() -> None:
    """Qwen2.5-14B has 40 heads."""
    made = refused(QWEN_14B, [H200], engine={"parallelism": {"tensor": 16}}, accelerator={"profiles": ["h200"]})
    assert "a replica wants 16 devices" in made.message
    made = refused(QWEN_14B, [H200], engine={"parallelism": {"tensor": 3}})
    assert "its 40 attention heads can't be divided by parallelism.tensor 3" in made.message


# --- what the cluster has --------------------------------------------------------------------------------------------


def test_a_profile_without_nodes_is_not_chosen() -> None:
    plan = planned(supply=nodes(h200=8))
    assert plan.profile == "h200"
    reason = "the cluster has no node with it, and nothing that would add one."
    assert plan.rejected == (f"h100 and l4: for each, {reason}",)


def test_a_profile_whose_nodes_an_autoscaler_adds_counts_as_there() -> None:
    grows = Supply({"l4": ProfileSupply(can_grow=True), "h200": ProfileSupply(nodes=1, devices=8, most_on_a_node=8)})
    assert planned(supply=grows).profile == "l4"


def test_while_all_nodes_of_a_profile_are_full_the_next_one_is_chosen() -> None:
    plan = planned(supply=nodes(l4=0, h100=1))
    assert plan.profile == "h100"
    assert "l4: fits, but no node has 1 free device." in plan.rejected


def rooms(*there: Room) -> Supply:
    """What is free on nodes of CPUs."""
    known = ProfileSupply(nodes=2, devices=2, most_on_a_node=1, free=1, most_free_on_a_node=1, rooms=there)
    return Supply({"cpu": known, "cpu-large": replace(known, rooms=(Room(64_000, 256 * GIB),))})


CPUS = [cpu("cpu", memory="64Gi", costPerHour=0.1), cpu("cpu-large", memory="128Gi", costPerHour=0.2)]
IN_LLAMACPP: dict[str, Any] = {"engine": {"name": "llamacpp"}}


@pytest.mark.parametrize(
    ("room", "chosen"),
    [
        (Room(1000, 64 * GIB), "cpu"),
        (Room(900, 64 * GIB), "cpu-large"),
        (Room(64_000, 63 * GIB), "cpu-large"),
    ],
)
def test_a_profile_of_cpus_that_has_no_room_for_a_replica_is_full(room: Room, chosen: str) -> None:
    """A replica on `cpu` requests 1 CPU and 64 GiB, on one node."""
    plan = planned(profiles=CPUS, supply=rooms(room, Room(100, 512 * GIB)), **IN_LLAMACPP)
    assert plan.profile == chosen
    if chosen == "cpu-large":
        assert "cpu: fits, but no node has enough free CPUs and memory." in plan.rejected


def test_what_the_spec_requests_must_be_free_on_cpus() -> None:
    pod = {"resources": {"requests": {"cpu": "500m"}, "limits": {"memory": "40Gi"}}}
    assert planned(profiles=CPUS, supply=rooms(Room(500, 40 * GIB)), pod=pod, **IN_LLAMACPP).profile == "cpu"
    pod["resources"]["requests"]["cpu"] = "4"
    assert planned(profiles=CPUS, supply=rooms(Room(500, 40 * GIB)), pod=pod, **IN_LLAMACPP).profile == "cpu-large"


def test_a_replica_waits_for_cpus_if_none_are_free_anywhere() -> None:
    supply = Supply({"cpu": ProfileSupply(nodes=1, devices=1, most_on_a_node=1, rooms=())})
    plan = planned(profiles=CPUS[:1], supply=supply, **IN_LLAMACPP)
    assert "No node of cpu has enough free CPUs and memory now, so a replica waits for one." in plan.why


def test_if_every_profile_is_full_the_plan_says_that_a_replica_waits() -> None:
    plan = planned(supply=nodes(l4=0, h100=0))
    assert plan.profile == "l4"
    assert "No node of l4 has 1 free device now, so a replica waits for one." in plan.why


def test_devices_must_be_on_one_node() -> None:
    few = Supply({"h100": ProfileSupply(nodes=4, devices=4, most_on_a_node=1, free=4, most_free_on_a_node=1)})
    made = refused(LLAMA_70B, [H100], supply=few)
    assert "needs" in made.rejected[0]


# --- what runs already -----------------------------------------------------------------------------------------------


def test_a_running_model_stays_although_a_cheaper_profile_appeared() -> None:
    plan = planned(running=Running("h100", 1), supply=nodes(l4=8, h100=0))
    assert plan.profile == "h100"
    assert plan.why[0] == "h100: the model runs there, and fits."
    assert plan.why[1].startswith("l4 would be chosen now by policy Cheapest, at 0.70 per hour; a running model")


def test_a_running_model_moves_when_the_spec_no_longer_allows_its_profile() -> None:
    assert planned(running=Running("h100", 1), accelerator={"profiles": ["l4"]}).profile == "l4"


def test_a_running_model_moves_when_it_no_longer_fits() -> None:
    plan = planned(running=Running("l4", 1), engine={"contextLength": 131072})
    assert where(plan) != ("l4", 1)


# --- what is lacking -------------------------------------------------------------------------------------------------


def test_each_change_that_is_named_makes_the_model_fit() -> None:
    engine: dict[str, Any] = {"parallelism": {"tensor": 1}, "contextLength": 65536}
    spec: dict[str, Any] = {"accelerator": {"profiles": ["l4"]}, "engine": engine}
    made = refused(LLAMA_8B, [L4], **spec)
    assert made.reason is Reason.NO_ACCELERATOR_FITS
    assert made.message.startswith("vllm would not start: llama fits on no accelerator profile. On l4, which comes")
    assert made.rejected[0].startswith("l4: needs ")
    changes: dict[str, dict[str, Any]] = {
        "engine.quantization: FP8": {"quantization": "FP8"},
        "engine.parallelism.tensor: 2": {"parallelism": {"tensor": 2}},
    }
    for change, value in changes.items():
        assert change in made.rejected[0]
        planned(LLAMA_8B, [L4], **(spec | {"engine": engine | value}))
    length = int(made.rejected[0].partition("contextLength ≤ ")[2].partition(" ")[0].rstrip(",.").replace(",", ""))
    assert planned(LLAMA_8B, [L4], **(spec | {"engine": engine | {"contextLength": length}}))


def test_a_profile_on_which_a_change_is_enough_counts_as_closer_than_one_that_lacks_less_and_never_fits() -> None:
    four = profile("four", memory="23034Mi", devicesPerNode=4, **SPEED)
    one = profile("one", memory="96Gi", devicesPerNode=1, **SPEED)
    made = refused(LLAMA_70B, [four, one])
    assert [each.partition(": ")[2].partition(": ")[2] for each in made.rejected] == ["engine.quantization: FP8.", ""]
    lacking = [float(each.partition(": needs ")[2].partition(" ")[0]) for each in made.rejected]
    assert lacking == sorted(lacking, reverse=True)
    assert "On one, which comes closest" in made.message
    assert made.message.endswith("Any one of these is enough there: engine.quantization: FP8.")
    assert planned(LLAMA_70B, [four, one], engine={"quantization": "FP8"}).profile == "one"


@pytest.mark.parametrize(("profile", "devices"), [(L4, True), (cpu("cpu", memory="1Gi"), False), (SHARED, False)])
def test_more_devices_are_advised_only_where_a_replica_can_use_several(
    profile: AcceleratorProfile, devices: bool
) -> None:
    candidate = Candidate(profile, 1, 1)
    misfit = Misfit(candidate=candidate, settings=RUN, memory=HUGE, missing=1 << 40, wanted_length=8192, longest=0)
    choice = Choice(options=(), objections={candidate.name: "needs 1,024.0 GiB more"}, misfits=(misfit,))
    message = explaining.nothing_fits(deployment().spec, choice, LLAMA_8B, "llama")
    assert ("nodes with more devices" in message) == devices
    assert "se a smaller or quantized model" in message


def test_a_device_without_small_floats_rules_out_fp8() -> None:
    made = refused(profiles=[OLD], engine={"quantization": "FP8"})
    assert "old: the device can't compute with FP8 weights." in made.message


# --- what the engine gets --------------------------------------------------------------------------------------------


def test_an_open_context_is_as_long_as_the_memory_allows() -> None:
    on_l4, on_h200 = planned(profiles=[L4]), planned(profiles=[H200])
    assert on_h200.context_length == 131072
    assert on_l4.context_length
    assert 8192 <= on_l4.context_length < 131072
    assert on_l4.context_length % 256 == 0
    assert any("of the 131,072 that the model can do" in each for each in on_l4.why)


def test_the_cache_is_given_in_bytes() -> None:
    plan = planned(profiles=[H200])
    assert plan.memory
    assert plan.kv_cache_bytes == plan.memory.kv_cache
    assert plan.kv_tokens
    assert plan.kv_tokens > 800_000


def test_a_replica_that_shares_a_device_uses_its_share_and_measures_what_is_left_of_it() -> None:
    plan = planned(profiles=[SHARED])
    assert (plan.memory_share, plan.kv_cache_bytes, plan.gpus_per_replica) == (0.46, None, 1)
    whole = planned(profiles=[H200])
    assert plan.memory
    assert whole.memory
    assert plan.memory.total == pytest.approx(whole.memory.total / 2, rel=0.001)
    assert plan.kv_tokens
    assert any("that each of 2 replicas has of a device" in each for each in plan.why)
    assert whole.memory_share is None


@pytest.mark.parametrize("model", [LLAMA_8B, None])
def test_devices_that_replicas_share_are_not_split_among(model: Model | None) -> None:
    assert "h200-shared" in refused(LLAMA_70B, [SHARED]).message
    made = make_plan(
        deployment(engine={"parallelism": {"tensor": 2}}, accelerator={"profiles": ["h200-shared"]}).spec,
        [SHARED],
        name="llama",
        known=Known(model),
    )
    assert isinstance(made, Unplannable)
    assert "a replica wants 2 devices, and shared ones may all be parts of the same" in made.message


def test_a_model_whose_numbers_are_unknown_is_not_placed_by_guess() -> None:
    unsure = replace(LLAMA_8B, missing=("slidingWindow",))
    made = refused(unsure)
    assert "spec.model.facts.slidingWindow isn't known" in made.message
    named = planned(unsure, accelerator={"profiles": ["h100"]})
    assert (named.profile, named.memory, named.kv_cache_bytes) == ("h100", None, None)
    assert planned(unsure, [SHARED], accelerator={"profiles": ["h200-shared"]}).memory_share == 0.46


def test_llamacpp_fits_if_the_limit_holds_the_weights_and_the_caches_of_all_slots() -> None:
    small = cpu("small", memory="4Gi", costPerHour=1)
    large = cpu("large", memory="64Gi", costPerHour=2)
    plan = planned(LLAMA_8B, [small, large], engine={"name": "llamacpp"})
    assert (plan.profile, plan.context_length) == ("large", 4096)
    assert plan.kv_cache_bytes is None


# --- targets ---------------------------------------------------------------------------------------------------------


def test_a_target_that_the_device_cannot_meet_is_a_warning() -> None:
    """15 GiB at 92 % of 300 GB/s are 58 ms."""
    plan = planned(profiles=[L4], scaling={"target": {"tpotP95": "40ms", "ttftP95": "10s"}})
    assert len(plan.warnings) == 1
    assert plan.warnings[0].startswith("scaling.target.tpotP95 is 40ms, and a token is expected to take 6")
    assert planned(profiles=[H200], scaling={"target": {"tpotP95": "40ms"}}).warnings == ()


@pytest.mark.parametrize("model", [LLAMA_8B, QWEN_14B, GEMMA_12B, MIXTRAL, LLAMA_70B])
def test_every_number_of_a_plan_has_its_evidence(model: Model) -> None:
    plan = planned(model)
    assert plan.memory
    assert {"weights", "activation", "other", "graphs", "kv_cache"} <= plan.memory.evidence.keys()


# --- what a review found ---------------------------------------------------------------------------------------------


def test_the_chosen_context_fits_also_when_vllm_compiles_for_the_first_time() -> None:
    """It copies the embedding then: 128,256 * 4,096 * 2 B are 0.98 GiB, more than an ordinary step."""
    plan = planned(profiles=[L4])
    assert plan.memory
    assert plan.context_length
    cache = cache_of(LLAMA_8B, Settings(sequences=256, batched_tokens=2048), CURRENT)
    assert cache
    assert cache.request_bytes(plan.context_length) < plan.memory.kv_cache - int(0.7 * GIB)


def test_a_context_that_the_model_cannot_do_is_refused_before_any_start() -> None:
    made = refused(engine={"contextLength": 200_000})
    assert made.reason is Reason.CONTEXT_TOO_LONG
    assert "engine.contextLength is 200,000, and the model can do 131,072 tokens at most" in made.message


def test_images_are_planned_for_and_the_cache_is_left_to_vllm() -> None:
    weights = replace(LLAMA_8B.known_weights, encoders=600_000_000)
    plan = planned(replace(LLAMA_8B, weights=weights), [H100])
    assert plan.kv_cache_bytes is None
    assert plan.context_length == 16_384
    assert plan.memory
    assert plan.memory.activation > 2 * GIB


def test_with_flags_that_change_the_memory_a_named_profile_is_taken_as_it_is() -> None:
    flags = {"extraArgs": ["--cpu-offload-gb=80"], "parallelism": {"tensor": 1}}
    plan = planned(LLAMA_70B, [H100], engine=flags, accelerator={"profiles": ["h100"]})
    assert plan.memory is None
    assert any("--cpu-offload-gb of extraArgs changes that" in each for each in plan.why)


def test_the_devices_of_its_own_pods_do_not_make_a_profile_full() -> None:
    plan = planned(running=Running("l4", 1), supply=nodes(l4=0, h100=8))
    assert plan.why[0] == "l4: the cheapest of 2 profiles on which the model fits, at 0.70 per hour."
    assert not any("waits for one" in each for each in plan.why)


def test_vllm_runs_on_a_cpu_only_where_it_is_named_or_nothing_else_fits() -> None:
    machine = cpu("cpu", memory="64Gi", costPerHour=0.05)
    assert planned(profiles=[machine, L4]).profile == "l4"
    assert planned(profiles=[machine, L4], accelerator={"profiles": ["cpu", "l4"]}).profile == "cpu"
    assert planned(profiles=[machine]).profile == "cpu"


def test_the_price_of_a_token_is_that_of_spot_nodes_where_they_are_required() -> None:
    spot = profile("spot", memory="80Gi", bandwidth="3350G", costPerHour=7, spot={"costPerHour": 2}, **SPEED)
    plans = [planned(profiles=[spot], accelerator={"spot": each}) for each in ("Never", "Required")]
    costs = [plan.speed.cost_per_million_tokens for plan in plans if plan.speed]
    assert costs[0]
    assert costs[1] == pytest.approx(costs[0] * 2 / 7)


def test_an_embedding_model_has_no_speed_of_generating() -> None:
    assert planned(replace(LLAMA_8B, task="Embed")).speed is None


def test_on_a_small_device_the_engine_is_given_the_share_that_was_planned() -> None:
    """1 GiB may be in use besides the share; 8 % of 8 GiB are less."""
    small = profile("small", memory="8Gi", features=["bf16", "fp8"])
    tiny = replace(LLAMA_8B, weights=Weights(total=10**9, active=10**9, embedding=10**8))
    plan = planned(tiny, [small], engine={"contextLength": 2048})
    assert plan.memory
    assert plan.memory_share
    assert plan.memory_share < 0.92
    assert plan.kv_cache_bytes is not None
