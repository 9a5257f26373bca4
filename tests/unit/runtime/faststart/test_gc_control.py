"""Python's garbage collector during a start and after it."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from slipway_runtime.faststart.gc_control import BETWEEN_LOOKS, GcControl


@pytest.fixture
def collector() -> Iterator[GcControl]:
    before = gc.get_threshold()
    collector = GcControl()
    collector.hold()
    yield collector
    collector.release()
    gc.unfreeze()
    gc.set_threshold(*before)


@pytest.mark.usefixtures("collector")
def test_no_garbage_is_collected_during_a_start() -> None:
    assert not gc.isenabled()
    loop: list[object] = []
    loop.append(loop)
    del loop
    assert gc.collect() == 0


def test_objects_made_during_a_start_are_not_scanned_after_it(collector: GcControl) -> None:
    collector.release()
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0


def test_garbage_is_collected_after_a_start_but_seldom(collector: GcControl) -> None:
    collector.release()
    assert gc.get_threshold()[0] == BETWEEN_LOOKS
    loop: list[object] = []
    loop.append(loop)
    del loop
    assert gc.collect() >= 1
