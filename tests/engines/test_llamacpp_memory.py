"""A request's body takes no more of llama.cpp's memory than the guard has counted for it, and it is freed."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import pytest
from slipway_runtime.guard.bodies import Body
from slipway_runtime.guard.settings import GuardSettings
from slipway_runtime.supervisor.processes import children
from support.builders.model_files import write_gguf
from support.programs.llamacpp_pod import LlamacppPod

COMPLETIONS, MIB = "/v1/completions", 1 << 20
JSON = {"content-type": "application/json"}
UNCOUNTED = 8 * MIB
"""For threads, buffers and the response."""
RETAINED = 96 * MIB
"""Retained by the C library, of all that was freed."""
SHAPES = {
    "numbers": b"1,",
    "strings": b'"",',
    "longer strings": b'"aaaaaaaaaaaaaaaa",',
    "arrays": b"[],",
    "objects": b'{"":0},',
    "nested arrays": b"[" * 200 + b"]" * 200 + b",",
    "text": b'"' + b"a" * MIB + b'",',
}


class Memory:
    """Of the engine's process."""

    def __init__(self, pid: int) -> None:
        self._folder = Path(f"/proc/{pid}")

    def forget_peak(self) -> int:
        (self._folder / "clear_refs").write_text("5")
        return self._read("VmRSS")

    def peak(self) -> int:
        return self._read("VmHWM")

    async def falls_below(self, size: int) -> bool:
        async with asyncio.timeout(20):
            while self._read("VmRSS") > size:  # noqa: ASYNC110 - there is no event to wait for
                await asyncio.sleep(0.05)
        return True

    def _read(self, name: str) -> int:
        return int((self._folder / "status").read_text().partition(f"{name}:")[2].split()[0]) << 10


@pytest.fixture
async def memory(pod: LlamacppPod, tmp_path: Path) -> Memory:
    await pod.serve(write_gguf(tmp_path / "tiny.gguf"), "--context-length=512", "--parallel=4")
    await pod.until_ready()
    [engine] = children(pod.process.pid)
    return Memory(engine)


def filled(unit: bytes, size: int) -> bytes:
    return b'{"prompt":"Hi","max_tokens":1,"x":[%b]}' % (unit * (size // len(unit))).rstrip(b",")


def counted(body: bytes) -> int:
    read = Body(COMPLETIONS, GuardSettings(), owns=None)
    read.feed(body)
    return len(body) + read.memory


async def status_of(pod: LlamacppPod, body: bytes) -> int:
    async with pod.http.post(pod.url + COMPLETIONS, data=io.BytesIO(body), headers=JSON) as answer:
        await answer.read()
        return answer.status


async def test_no_values_take_more_than_is_counted_for_them_and_it_is_freed(pod: LlamacppPod, memory: Memory) -> None:
    found, first = {}, memory.forget_peak()
    for name, unit in SHAPES.items():
        body, before = filled(unit, 2 * MIB + MIB // 4), memory.forget_peak()
        assert await status_of(pod, body) == 200
        found[name] = (memory.peak() - before, counted(body) + UNCOUNTED)
    assert await memory.falls_below(first + RETAINED)
    assert {name: sizes for name, sizes in found.items() if sizes[0] > sizes[1]} == {}


async def test_a_body_of_very_many_values_is_refused_and_takes_little_more_than_its_bytes(
    pod: LlamacppPod, memory: Memory
) -> None:
    """When bytes alone were counted, it took 768 MiB."""
    body, before = filled(b"1,", 30 * MIB), memory.forget_peak()
    assert await status_of(pod, body) == 413
    assert memory.peak() - before < 2 * len(body)


async def test_many_concurrent_requests_take_no_more_than_there_is_room_for(pod: LlamacppPod, memory: Memory) -> None:
    body, before = filled(b"1,", 2 * MIB), memory.forget_peak()
    answers = await asyncio.gather(*(status_of(pod, body) for _ in range(8)))
    assert set(answers) == {200, 503}
    assert memory.peak() - before < GuardSettings().max_bodies_bytes
    assert await status_of(pod, body) == 200
