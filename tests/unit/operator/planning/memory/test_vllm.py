"""What vLLM takes of a device's memory, against starts that were measured (benchmarks/measured)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from slipway.operator.planning.memory import vllm
from slipway.operator.planning.memory.releases import RELEASES
from slipway.operator.planning.memory.settings import GIB, Device, Settings
from support.builders.measured_starts import Start, starts
from support.builders.models import LLAMA_8B

STARTS = starts()
NAMES = [f"{start.release}, {start.what}" for start in STARTS]


@pytest.mark.parametrize("start", STARTS, ids=NAMES)
def test_the_tokens_of_a_cache_follow_from_its_size_as_in_vllm(start: Start) -> None:
    """To the rounding of the measured size, which was written down in thousandths of a GiB."""
    assert start.cache
    sizes = [int((start.measured["kv"] + side) * GIB) for side in (-0.0011, 0.0011)]
    least, most = (start.cache.tokens(size, start.length) for size in sizes)
    assert least <= start.measured["tokens"] <= most


@pytest.mark.parametrize("start", STARTS, ids=NAMES)
def test_the_predicted_cache_is_within_one_percent_of_the_measured_one(start: Start) -> None:
    assert abs(start.error) < 0.01


def test_on_average_predictions_are_off_by_less_than_half_a_percent() -> None:
    assert sum(abs(start.error) for start in STARTS) / len(STARTS) < 0.005


def test_on_a_small_device_the_share_leaves_room_for_what_is_used_besides_it() -> None:
    """8 % of 24 GiB are 1.9 GiB, and up to 3 GiB were seen in use besides the share."""
    run = Settings(sequences=256, batched_tokens=8192)
    memory = vllm.divide(LLAMA_8B, Device(total=24 * GIB), run, RELEASES["0.24"])
    assert memory.budget + memory.outside == memory.total
    assert memory.budget < 0.92 * memory.total
    larger = vllm.divide(LLAMA_8B, Device(total=24 * GIB), replace(run, largest_graph=0), RELEASES["0.24"])
    assert larger.budget > memory.budget
