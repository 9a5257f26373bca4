"""When an engine counts as stuck, and that a busy engine never does."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from slipway_runtime.supervisor.liveness import LivenessMonitor, Sample

EVERY = 2.0
SampleAt = Callable[[int], Sample]


def sampled(
    number: int,
    *,
    answers: bool = True,
    has_work: bool = True,
    counts: float | None = 0,
    cpu: float = 0.0,
    waited: float = 0.0,
) -> Sample:
    at = 1000 + number * EVERY
    return Sample(at=at, answers=answers, has_work=has_work, counts=(counts,), spent=cpu, waited=waited)


def found_after(sample_at: SampleAt, *, computes_on_cpus: bool = False, samples: int = 600) -> float | None:
    """The seconds after which it counts as stuck."""
    monitor = LivenessMonitor(stuck_after=24, computes_on_cpus=computes_on_cpus)
    found: Iterator[int] = (number for number in range(samples) if monitor.observe(sample_at(number)))
    number = next(found, None)
    return None if number is None else number * EVERY


def test_work_without_progress_is_detected_in_time() -> None:
    assert found_after(sampled) == 24


def test_silence_is_detected_in_time_even_without_work() -> None:
    assert found_after(lambda number: sampled(number, answers=False, has_work=False)) == 24


@pytest.mark.parametrize(
    "sample_at",
    [
        pytest.param(lambda number: sampled(number, has_work=False), id="idle"),
        pytest.param(lambda number: sampled(number, counts=number), id="tokens"),
        pytest.param(lambda number: sampled(number, counts=number // 10), id="a token each 20 s"),
        pytest.param(lambda number: sampled(number, answers=False, counts=number), id="too busy for its health check"),
        pytest.param(lambda number: sampled(number, counts=None if number % 10 else number), id="metrics come and go"),
    ],
)
def test_an_engine_that_makes_progress_is_left_alone(sample_at: SampleAt) -> None:
    assert found_after(sample_at) is None


def test_a_long_prompt_on_cpus_is_progress() -> None:
    assert found_after(lambda number: sampled(number, cpu=number * 2.0), computes_on_cpus=True) is None


def test_a_long_prompt_is_progress_while_others_use_the_cpus() -> None:
    assert (
        found_after(lambda number: sampled(number, cpu=number * 0.1, waited=number * 1.9), computes_on_cpus=True)
        is None
    )


def test_on_a_crowded_machine_threads_that_wake_only_briefly_are_not_progress() -> None:
    """As idle threads of a hung engine were seen to do: 1 % of a CPU, and a long wait before each time slice."""
    assert (
        found_after(lambda number: sampled(number, cpu=number * 0.02, waited=number * 4.0), computes_on_cpus=True) == 24
    )


def test_waiting_that_uses_little_cpu_time_is_not_progress() -> None:
    assert found_after(lambda number: sampled(number, cpu=number * 0.05), computes_on_cpus=True) == 24


def test_a_gpu_engine_that_only_uses_cpu_time_is_stuck() -> None:
    assert found_after(lambda number: sampled(number, cpu=number * 2.0)) == 24


def test_the_message_distinguishes_the_two_kinds() -> None:
    for answers, message in ((True, "has not worked on any"), (False, "has not answered its health check")):
        monitor = LivenessMonitor(stuck_after=1, computes_on_cpus=False)
        assert monitor.observe(sampled(0, answers=answers)) is None
        assert message in (monitor.observe(sampled(1, answers=answers)) or "")
