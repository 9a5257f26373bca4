"""Parsing JSON of any size: the event loop goes on meanwhile."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections.abc import Iterator

import pytest
from slipway.kube import large_json
from slipway.kube.large_json import LARGE

POD = {"metadata": {"name": "a", "labels": {"x": "y"}}, "spec": {"containers": [{"name": "c", "image": "d"}]}}


def of_size(size: int) -> bytes:
    return json.dumps({"items": [POD] * (size // len(json.dumps(POD)))}).encode()


@pytest.mark.parametrize("size", [1_000, LARGE * 2])
async def test_it_returns_what_the_text_says(size: int) -> None:
    assert await large_json.loads(of_size(size)) == json.loads(of_size(size))


@pytest.mark.parametrize("size", [10, LARGE * 2])
async def test_text_that_is_not_json_is_an_error(size: int) -> None:
    with pytest.raises(ValueError, match="Expecting value"):
        await large_json.loads(b"[" + b"1," * size)


@pytest.fixture
def no_garbage_collection() -> Iterator[None]:
    """A collection stops all threads for as long as it takes to look at everything that the other tests left behind."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_garbage_collection")
async def test_others_have_their_turns_while_a_large_text_is_parsed() -> None:
    """In a thread alone they have none: the parser doesn't release the interpreter by itself, so that one pause is
    nearly as long as all the work. Measured in CPU time, which other processes don't lengthen."""
    parsing = asyncio.create_task(large_json.loads(of_size(24 << 20)))
    began = turn = time.process_time()
    longest_pause = 0.0
    while not parsing.done():
        await asyncio.sleep(0)
        before, turn = turn, time.process_time()
        longest_pause = max(longest_pause, turn - before)
    await parsing
    assert longest_pause < (turn - began) / 4
