"""Each objective of `spec.slo` is counted at a boundary that the engine's histogram really has."""

from __future__ import annotations

from typing import Any

import pytest
from slipway.api import slo, units
from slipway.api.slo import SloSpec
from slipway.contract.buckets import OF_TIMES
from slipway.observing.objectives import Objectives, boundary_for, label, objectives_of, status_of_slo


def objectives(slo: dict[str, Any], engine: str = "vllm") -> Objectives:
    return objectives_of(SloSpec.model_validate(slo), engine)


def advice(slo: dict[str, Any], engine: str = "vllm") -> list[str]:
    found: list[str] = status_of_slo(SloSpec.model_validate(slo), engine).get("advice", [])
    return found


def test_an_objective_is_counted_at_the_smallest_boundary_that_is_not_below_its_target() -> None:
    found = objectives({"ttftP95": "450ms", "tpotP95": "40ms", "e2eP99": "30s", "availability": "99.9%"})
    assert found.boundaries == {"ttft": 0.5, "tpot": 0.04, "e2e": 30.0}
    assert found.availability == 0.999
    assert found.window == 30 * 24 * 3600


def test_the_status_names_boundaries_as_the_metrics_write_them() -> None:
    found = status_of_slo(SloSpec.model_validate({"ttftP95": "1s", "tpotP95": "40ms"}), "vllm")
    assert found == {"boundaries": {"ttftP95": "1.0", "tpotP95": "0.04"}}


def test_a_target_between_two_boundaries_is_a_remark() -> None:
    (remark,) = advice({"ttftP95": "450ms"})
    assert remark == "ttftP95: counted at 0.5 s, the histogram's next boundary above 450ms."


def test_llamacpp_counts_streams_alone_except_for_complete_responses() -> None:
    (remark,) = advice({"ttftP95": "500ms", "e2eP99": "30s"}, "llamacpp")
    assert remark == "ttftP95: of llama.cpp, only streamed answers are counted."


@pytest.mark.parametrize(
    ("engine", "named"), [("slipway-sglang", "SGLang"), ("my-runtime", "the runtime in engine.name")]
)
def test_an_engine_with_other_metrics_counts_nothing_and_the_status_says_so(engine: str, named: str) -> None:
    slo = {"ttftP95": "500ms", "availability": "99%"}
    found = objectives(slo, engine)
    assert (found.boundaries, found.availability) == ({}, None)
    assert advice(slo, engine) == [
        f"ttftP95, availability: not counted, because {named} has other metrics than Slipway's own engines; "
        "objectives need the engine vllm or llamacpp.",
    ]


@pytest.mark.parametrize(
    ("objective", "bounds"), [("ttft", slo.TTFT_BOUNDS), ("tpot", slo.TPOT_BOUNDS), ("e2e", slo.E2E_BOUNDS)]
)
def test_every_target_that_the_api_allows_has_a_boundary_close_above_it(
    objective: str, bounds: tuple[str, str]
) -> None:
    low, high = (units.seconds(bound) * 1000 for bound in bounds)
    while low <= high:
        target = f"{low:.3f}ms"
        assert units.seconds(target) <= boundary_for(objective, target) <= 1.7 * units.seconds(target)
        low *= 1.01
    assert boundary_for(objective, bounds[1]) == units.seconds(bounds[1])


@pytest.mark.parametrize("boundaries", OF_TIMES.values())
def test_boundaries_rise(boundaries: tuple[float, ...]) -> None:
    assert list(boundaries) == sorted(set(boundaries))


def test_boundaries_are_written_as_python_writes_them() -> None:
    assert [label(each) for each in (0.005, 0.5, 1, 60)] == ["0.005", "0.5", "1.0", "60.0"]
