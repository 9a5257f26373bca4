"""The next plan of the same model, device, engine and flags uses what was measured: within bounds, and it settles."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from slipway.api.acceleratorprofile import AcceleratorProfile
from slipway.models.facts import Evidence, Model
from slipway.models.sources import Known
from slipway.operator.planning import Plan, make_plan
from slipway.operator.planning.correcting import LEAST, MOST_MORE
from slipway.operator.planning.measured import Measured, Measurements, measured_key, plan_key
from slipway.operator.planning.memory.settings import GIB
from slipway.operator.planning.plan import Memory
from support.builders.models import GEMMA_12B, LLAMA_8B, LLAMA_70B
from support.builders.rendering import cpu, deployment, profile, runtime

FAST = {"features": ["bf16", "fp8"], "compute": {"bf16": 989}}
L4 = profile("l4", memory="23034Mi", usableMemory="22558Mi", bandwidth="300G", costPerHour=0.7, **FAST)
H100 = profile("h100", memory="81559Mi", usableMemory="81079Mi", bandwidth="3350G", costPerHour=7.0, **FAST)
H200 = profile("h200", memory="143771Mi", usableMemory="143156Mi", bandwidth="4800G", costPerHour=9.0, **FAST)
CUDA, ON_CPU, LLAMACPP = map(runtime, ("slipway-vllm-cuda", "slipway-vllm-cpu", "slipway-llamacpp"))
RUNTIMES = {each["metadata"]["name"]: each["metadata"]["name"] for each in (CUDA, ON_CPU, LLAMACPP)}
FITTING = [(L4, LLAMA_8B), (H100, LLAMA_8B), (H100, GEMMA_12B), (H200, LLAMA_8B)]


def planned(
    on: AcceleratorProfile | list[AcceleratorProfile] = H200,
    model: Model = LLAMA_8B,
    *,
    measured: Measured | None = None,
    **spec: Any,
) -> Plan:
    wanted, profiles = deployment(**spec).spec, on if isinstance(on, list) else [on]
    known = Measurements(measured, wanted, model, RUNTIMES)
    made = make_plan(wanted, profiles, name="llama", known=Known(model), measurements=known)
    assert isinstance(made, Plan), made
    return made


def report(
    on: AcceleratorProfile,
    model: Model = LLAMA_8B,
    *,
    tensor: int = 1,
    of: Any = CUDA,
    engine: dict[str, Any] | None = None,
    **sizes: Any,
) -> Measured:
    """What a start of a pod of that plan has measured."""
    pods = plan_key(deployment(engine=engine or {}).spec, of, on.metadata.name, tensor, 1)
    return Measured(key=measured_key(pods, model, on), **sizes)


def memory(plan: Plan) -> Memory:
    assert plan.memory
    return plan.memory


def told(plan: Plan) -> tuple[Any, ...]:
    """What of a plan reaches the engine's arguments."""
    return plan.kv_cache_bytes, plan.weights_bytes, plan.context_length, plan.max_concurrency, plan.memory_share


def hundredths(size: float) -> int:
    """As engines log sizes."""
    return round(round(size / GIB, 2) * GIB)


# --- part by part -----------------------------------------------------------------------------------------------------


def test_weights_and_graphs_that_were_measured_replace_the_estimate() -> None:
    before = planned()
    after = planned(measured=report(H200, weights=17 * GIB, graphs=GIB // 2, kv_cache=before.kv_cache_bytes))
    assert (memory(after).weights, memory(after).graphs) == (17 * GIB, GIB // 2)
    assert memory(after).evidence["weights"] == memory(after).evidence["graphs"] == Evidence.MEASURED
    assert memory(after).evidence["activation"] == Evidence.ESTIMATED
    lost = memory(before).kv_cache - memory(after).kv_cache
    gained = memory(before).graphs - GIB // 2
    assert lost == pytest.approx(17 * GIB - memory(before).weights - gained, abs=GIB // 50)
    assert after.weights_bytes == 17 * GIB


def test_a_cache_that_vllm_sized_itself_replaces_the_sum() -> None:
    before = planned()
    chosen = hundredths(0.95 * memory(before).kv_cache)
    measured = report(H200, weights=15 * GIB, activation=2 * GIB, graphs=GIB, kv_cache=chosen, kv_tokens=860_000)
    after = planned(measured=measured)
    assert memory(after).kv_cache == chosen
    assert after.kv_cache_bytes == pytest.approx(chosen, abs=GIB // 100)
    found = memory(after)
    assert (found.weights, found.activation, found.graphs) == (15 * GIB, 2 * GIB, GIB)
    assert found.weights + found.overhead + found.kv_cache == found.budget
    assert {found.evidence[part] for part in ("weights", "activation", "graphs", "other", "kv_cache")} == {"measured"}


def test_the_tokens_of_the_same_cache_are_the_measured_ones() -> None:
    before = planned()
    measured = report(H200, kv_cache=before.kv_cache_bytes, kv_tokens=900_001, weights=memory(before).weights)
    assert planned(measured=measured).kv_tokens == 900_001
    assert memory(planned(measured=measured)).evidence["kv_cache"] == Evidence.MEASURED


def test_the_memory_of_the_device_is_that_which_its_driver_reports() -> None:
    unknown = profile("l4", memory="23034Mi", costPerHour=0.7, **FAST)
    total = 22_558 << 20
    assert memory(planned(unknown)).total < total
    after = memory(planned(unknown, measured=report(unknown, total=total)))
    assert (after.total, after.evidence["total"]) == (total, Evidence.MEASURED)


def test_more_in_use_than_was_planned_leaves_less_for_the_cache() -> None:
    before = planned(L4)
    size, total = before.kv_cache_bytes or 0, memory(before).total
    measured = report(L4, kv_cache=size, weights=memory(before).weights, in_use=total - GIB // 8, total=total)
    grown = planned(L4, measured=replace(measured, graphs=1))
    assert memory(grown).evidence["outside"] == Evidence.MEASURED
    assert (grown.kv_cache_bytes or 0) <= size + GIB // 8
    assert "what is in use besides" in " ".join(grown.why)


@pytest.mark.parametrize("more", [0, GIB // 4, GIB])
def test_graphs_that_are_captured_later_keep_their_room_whatever_was_in_use_before(more: int) -> None:
    before = planned(H100)
    computed, graphs = memory(before), GIB // 8
    later = computed.graphs - graphs
    assert later > 0
    size = before.kv_cache_bytes or 0
    in_use = size + computed.weights + computed.overhead - later + computed.outside + more
    measured = report(H100, kv_cache=size, weights=computed.weights, graphs=graphs, in_use=in_use, total=computed.total)
    after = planned(H100, measured=measured)
    assert memory(after).outside == computed.outside + more + later
    assert (after.kv_cache_bytes or 0) + later + in_use - size <= computed.total


def test_what_was_measured_is_said() -> None:
    before = planned()
    after = planned(measured=report(H200, weights=17 * GIB, kv_cache=before.kv_cache_bytes))
    [sentence] = [each for each in after.why if each.startswith("As its engine measured the last time")]
    assert sentence == (
        "As its engine measured the last time: weights, so the KV cache has 109.0 GiB instead of 111.1 GiB."
    )
    assert not [each for each in before.why if "measured the last time" in each]


def test_of_llamacpp_all_parts_are_measured() -> None:
    big, engine = cpu("cpu", memory="64Gi"), {"name": "llamacpp"}
    measured = report(big, of=LLAMACPP, engine=engine, weights=9 * GIB, activation=GIB // 4, kv_cache=GIB)
    found = memory(planned(big, measured=measured, engine=engine))
    assert (found.weights, found.activation, found.kv_cache) == (9 * GIB, GIB // 4, GIB)
    assert {found.evidence[part] for part in ("weights", "activation", "kv_cache")} == {"measured"}


@pytest.mark.parametrize(("weights", "cache"), [(15, 22), (17, 21), (1, 22)])
def test_vllm_on_cpus_gets_no_larger_cache_because_of_what_was_measured(weights: int, cache: int) -> None:
    """Of 62 GiB, half of what weights of 15 GiB and 2 GiB leave are 22 in whole GiB; Llama 3.1 8B has 14.96."""
    big = cpu("cpu", memory="62Gi")
    made = planned(big, measured=report(big, of=ON_CPU, weights=weights * GIB))
    assert (memory(made).weights, memory(made).kv_cache) == (weights * GIB, cache * GIB)
    assert memory(made).weights + memory(made).overhead + memory(made).kv_cache <= memory(made).total


# --- within bounds ----------------------------------------------------------------------------------------------------

SIZES = some.one_of(some.none(), some.integers(1, 300 * GIB), some.integers(1, 1 << 50))
REPORTS = some.fixed_dictionaries(
    {
        "kv_tokens": some.one_of(some.none(), some.integers(1, 1 << 40)),
        **dict.fromkeys(("kv_cache", "weights", "activation", "graphs", "in_use", "total", "planned_kv_cache"), SIZES),
    }
)


@settings(deadline=None)
@given(some.sampled_from(FITTING), REPORTS)
def test_no_report_makes_a_plan_larger_than_its_device_or_refuses_it(
    where: tuple[AcceleratorProfile, Model], sizes: dict[str, Any]
) -> None:
    on, model = where
    computed, found = planned(on, model), planned(on, model, measured=report(on, model, **sizes))
    largest = memory(computed).kv_cache * (1 + MOST_MORE)
    shown, size = memory(found), found.kv_cache_bytes or 0
    assert found.profile == computed.profile
    assert size <= largest
    assert shown.kv_cache <= largest
    assert shown.weights + shown.overhead + max(size, shown.kv_cache) + shown.outside <= shown.total
    assert shown.total <= (143771 << 20 if on is H200 else 81559 << 20 if on is H100 else 23034 << 20)
    assert min(shown.weights, shown.activation, shown.graphs, shown.other, shown.outside, shown.kv_cache) >= 0
    assert (found.kv_tokens or 0) <= (computed.kv_tokens or 0) * (1 + MOST_MORE) ** 2


def test_what_ran_is_not_refused_because_of_what_it_reported() -> None:
    computed = planned(L4)
    found = planned(L4, measured=report(L4, weights=40 * GIB))
    assert told(found) == told(computed)
    assert any("although it ran here" in each for each in found.why)


def test_it_chooses_no_other_accelerator() -> None:
    """Slower than the other one by what was measured, it would move there, and back at the next start."""
    for policy in ("Fastest", "Cheapest", "InOrder"):
        wanted: Any = {"accelerator": {"policy": policy, "profiles": ["h100", "h200"]}}
        before = planned([H100, H200], **wanted)
        on = {"h100": H100, "h200": H200}[before.profile]
        assert planned([H100, H200], measured=report(on, weights=40 * GIB), **wanted).profile == before.profile


def test_a_share_of_a_device_is_not_corrected_by_what_a_tenant_reports() -> None:
    shared = profile("shared", memory="40Gi", usableMemory="80Gi", sharedBy=2, **FAST)
    assert told(planned(shared, measured=report(shared, weights=20 * GIB))) == told(planned(shared))


# --- and it settles ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Engine:
    """vLLM, which takes other sizes than planned, and not always the same. `fails_above`: bytes of a given cache, above
    which a fast start fails, so that it measures what is left."""

    weights: float
    graphs: float
    besides: float  # GiB
    left: float | None = None  # GiB that it measures for its cache; None: it takes the given size
    fails_above: float | None = None

    def start(self, plan: Plan, on: AcceleratorProfile, before: Measured | None, *, noise: float) -> Measured:
        given = plan.kv_cache_bytes or 0
        is_measured = self.left is not None and (self.fails_above is None or given > self.fails_above * GIB)
        cache = (self.left or 0) * GIB + noise * GIB if is_measured else given
        activation = GIB if is_measured else before.activation if before else None
        return report(
            on,
            weights=hundredths(self.weights * GIB),
            graphs=hundredths((self.graphs + noise) * GIB),
            kv_cache=hundredths(cache),
            activation=activation,
            in_use=min(memory(plan).total, int((self.weights + self.graphs + self.besides + noise) * GIB + cache)),
            total=memory(plan).total,
            planned_kv_cache=hundredths(plan.sized_by or 0),
        )


SHARE = 20.2  # GiB of the L4 that vLLM may take: what it measures for its cache is what the rest leaves
ENGINES = some.builds(
    Engine,
    weights=some.floats(13, 16.5),
    graphs=some.floats(0.1, 1.5),
    besides=some.floats(0.1, 2.5),
    left=some.one_of(some.none(), some.floats(2.5, 4)),
    fails_above=some.one_of(some.none(), some.floats(2.5, 4)),
).filter(lambda engine: engine.left is None or engine.weights + 1 + engine.graphs + engine.left <= SHARE)


def plans_of(engine: Engine, noises: list[float]) -> list[tuple[Any, ...]]:
    """What reaches its arguments at one start after the other."""
    measured, plans = None, []
    for noise in noises:
        plan = planned(L4, measured=measured)
        measured = engine.start(plan, L4, measured, noise=noise)
        plans.append(told(plan))
    return plans


@settings(deadline=None)  # several plans each, on a machine that may be busy
@given(ENGINES)
def test_after_a_few_starts_the_plan_stays_the_same(engine: Engine) -> None:
    """Four, where more is in use than the device has: no start can report more than all of it."""
    assert len({*plans_of(engine, [0.0] * 8)[4:]}) == 1


@settings(deadline=None)
@given(ENGINES, some.lists(some.floats(-0.005, 0.005), min_size=8, max_size=8))
def test_sizes_that_vary_do_not_lead_to_and_fro(engine: Engine, noises: list[float]) -> None:
    """Back once, by an engine that has tried a larger cache and failed."""
    plans = [plan for plan, _ in groupby(plans_of(engine, noises))]
    assert len(plans) - len({*plans}) <= 1


@pytest.mark.parametrize("besides", [2.4, 2.45, 2.5])
def test_a_size_that_fits_but_for_rounding_does_not_change_to_and_fro(besides: float) -> None:
    """Of a cache of 3.8747 GiB, engines report 3.87: by that, what is in use besides is larger by the rest."""
    engine = Engine(weights=14.875, graphs=0.5, besides=besides)
    assert len({*plans_of(engine, [0.0] * 6)[1:]}) == 1


@pytest.mark.parametrize("share", [1 - LEAST * 0.9, 1 + LEAST * 0.9])
def test_a_difference_of_less_than_a_hundredth_of_the_cache_changes_no_argument(share: float) -> None:
    before = planned()
    chosen = hundredths(share * memory(before).kv_cache)
    measured = report(H200, weights=memory(before).weights, activation=GIB // 8, kv_cache=chosen)
    again = planned(measured=replace(measured, planned_kv_cache=hundredths(before.sized_by or 0)))
    assert told(again) == told(before)
    assert memory(again).kv_cache == chosen
    assert memory(again).evidence["kv_cache"] == Evidence.MEASURED


@pytest.mark.parametrize("more", [-0.2, 0.2])
def test_a_slightly_other_size_of_the_device_changes_no_argument(more: float) -> None:
    """Least of all the share of it, with which vLLM would measure its cache instead of being given one."""
    unknown = profile("h200", memory="143771Mi", bandwidth="4800G", costPerHour=9.0, **FAST)
    before = planned(unknown)
    total = memory(before).total + int(more * GIB)
    measured = report(unknown, total=total, kv_cache=hundredths(before.sized_by or 0))
    after = planned(unknown, measured=measured)
    assert memory(after).total == total
    assert told(after) == told(before)


def test_several_devices_are_corrected_as_one_is() -> None:
    eight = profile("h100", memory="81559Mi", usableMemory="81079Mi", devicesPerNode=8, bandwidth="3350G", **FAST)
    before = planned(eight, LLAMA_70B)
    chosen = hundredths(0.9 * memory(before).kv_cache)
    measured = report(eight, LLAMA_70B, tensor=2, weights=67 * GIB, activation=GIB, kv_cache=chosen)
    assert memory(planned(eight, LLAMA_70B, measured=measured)).kv_cache == chosen
