"""What vLLM takes of a device's memory, against starts that were measured (benchmarks/measured)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from slipway.operator.planning.memory import vllm
from slipway.operator.planning.memory.releases import RELEASES
from slipway.operator.planning.memory.settings import GIB, Device, Release, Settings
from support.builders.measured_starts import Start, starts
from support.builders.models import LLAMA_8B

STARTS = starts()
PLANNED = [start for start in STARTS if start.is_planned]


def name(start: Start) -> str:
    return f"{start.release}, {start.what}"


@pytest.mark.parametrize("start", STARTS, ids=name)
def test_the_tokens_of_a_cache_follow_from_its_size_as_in_vllm(start: Start) -> None:
    assert start.cache
    least, most = (start.cache.tokens(size, start.length) for size in start.kv_bytes)
    assert least <= start.measured["tokens"] <= most


@pytest.mark.parametrize("start", PLANNED, ids=name)
def test_the_predicted_cache_is_within_one_percent_of_the_measured_one(start: Start) -> None:
    assert abs(start.error) < 0.01


def test_on_average_predictions_are_off_by_less_than_a_quarter_of_a_percent() -> None:
    assert sum(abs(start.error) for start in PLANNED) / len(PLANNED) < 0.0025


@pytest.mark.parametrize("release", RELEASES.values(), ids=list(RELEASES))
def test_on_a_small_device_the_share_leaves_room_for_what_is_used_besides_it(release: Release) -> None:
    """8 % of 10 GiB are 0.8 GiB, and more than that was seen in use besides the share."""
    run, device = Settings(sequences=256, batched_tokens=8192), Device(total=10 * GIB)
    memory = vllm.divide(LLAMA_8B, device, run, release)
    assert memory.budget + memory.outside == memory.total
    assert memory.budget < 0.92 * memory.total


def test_more_is_left_without_cuda_graphs() -> None:
    run, device = Settings(sequences=256, batched_tokens=8192), Device(total=24 * GIB)
    for release in RELEASES.values():
        with_graphs = vllm.divide(LLAMA_8B, device, run, release)
        assert vllm.divide(LLAMA_8B, device, replace(run, largest_graph=0), release).kv_cache > with_graphs.kv_cache
