"""Which profile and how many devices a plan chooses for a model whose numbers are known, and what it says about it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from slipway.api.acceleratorprofile import AcceleratorProfile
from slipway.api.reasons import Reason
from slipway.models.facts import Model, Weights
from slipway.models.sources import Known
from slipway.operator.planning import Unplannable, explaining, make_plan
from slipway.operator.planning.candidates import Candidate
from slipway.operator.planning.choosing import Choice
from slipway.operator.planning.fitting import Misfit
from slipway.operator.planning.memory import vllm
from slipway.operator.planning.memory.blocks import cache_of
from slipway.operator.planning.memory.releases import CURRENT
from slipway.operator.planning.memory.settings import GIB, Device, Settings
from support.builders.models import GEMMA_12B, LLAMA_8B, LLAMA_70B, MIXTRAL, QWEN_14B
from support.builders.planned import H100, H200, L4, SPEED, planned, refused, where
from support.builders.rendering import cpu, deployment, profile

OLD = profile("old", memory="32Gi", bandwidth="900G", features=["int8"], compute={"fp16": 100}, costPerHour=1.0)
SHARED = profile("h200-shared", memory="71885Mi", sharedBy=2, bandwidth="4800G", devicesPerNode=8, **SPEED)
RUN = Settings(sequences=256, batched_tokens=2048)
HUGE = vllm.divide(LLAMA_70B, Device(total=GIB), RUN, CURRENT)


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
