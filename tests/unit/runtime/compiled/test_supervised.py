"""Process 1 and an engine that compiles: the second start compiles nothing, whenever the first one was killed."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from slipway_runtime.compiled.reading import read
from slipway_runtime.compiled.scratch import Scratch
from slipway_runtime.supervisor.processes import children
from support.programs.supervised_pod import SupervisedPod, is_alive

SETTLED = 1.2  # seconds after which a file counts as complete
KEY = {"flags": ""}


class Pods:
    """Pods of one deployment, each with a scratch folder of its own, and one store."""

    def __init__(self, folder: Path, http: aiohttp.ClientSession) -> None:
        self.store, self._folder, self._http = folder / "store", folder, http
        self.started: list[SupervisedPod] = []

    async def start(self, *options: str, files: int = 3, load: float = 0.0, scratch: str = "") -> SupervisedPod:
        number = len(self.started)
        pod = SupervisedPod(self._folder, self._http)
        pod.termination_log = self._folder / f"termination-{number}"
        self.started.append(pod)
        cache = [f"--cache={self.store}", f"--scratch={self._folder / (scratch or f'pod-{number}')}", *options]
        await pod.start(f"--compile={files}", f"--load={load}", options=cache)
        return pod

    async def filled(self) -> None:
        """Fills the store by a pod that has ended."""
        assert await (await self.start("--only-warm")).until_ended() == 0


@pytest.fixture
async def pods(tmp_path: Path) -> AsyncIterator[Pods]:
    async with aiohttp.ClientSession() as http:
        pods = Pods(tmp_path, http)
        yield pods
        for pod in pods.started:
            await pod.kill()


def compiled_in(log: list[str]) -> list[str]:
    return [line.split()[1] for line in log if line.startswith("compiled ")]


async def report_of(pod: SupervisedPod, state: str) -> dict[str, object]:
    await pod.until_response_has("/info", f'"state": "{state}", "reason"')
    found: dict[str, object] = (await pod.info())["compileCache"]
    return found


async def test_the_second_start_compiles_nothing(pods: Pods) -> None:
    first = await pods.start()
    await first.until_ready()
    assert compiled_in(first.log_lines) == ["3"]
    filled = await report_of(first, "Filled")
    assert (filled["files"], filled["newFiles"], filled["readSeconds"]) == (3, 3, None)
    second = await pods.start()
    await second.until_ready()
    assert compiled_in(second.log_lines) == ["0"]
    assert any(line.rstrip().endswith("compile cache Used.") for line in second.log_lines)
    used = await report_of(second, "Used")
    assert used["filledBy"] == {"startSeconds": filled["startSeconds"]}
    assert (used["key"], used["bytes"], used["publishSeconds"]) == (filled["key"], filled["bytes"], None)
    _, metrics = await second.get("/metrics")
    assert 'slipway_runtime_compile_cache_state{state="Used"} 1.0' in metrics
    assert "cache read" in [moment["name"] for moment in (await second.info())["phases"]]


async def test_another_key_compiles_again_and_says_what_differs(pods: Pods) -> None:
    await pods.filled()
    pod = await pods.start("--key=--dtype=float16")
    assert "flags is --dtype=float16, and was ." in await pod.until_logged("Compile cache: No entry")
    await pod.until_ready()
    assert compiled_in(pod.log_lines) == ["3"]


async def test_what_a_start_compiles_in_spite_of_the_cache_is_named(pods: Pods) -> None:
    await pods.filled()
    pod = await pods.start(files=5)
    line = await pod.until_logged("2 files that it lacked were compiled")
    assert "engine/compiled/3" in line
    assert (await report_of(pod, "Used"))["newFiles"] == 2
    third = await pods.start(files=5)
    await third.until_ready()
    assert compiled_in(third.log_lines) == ["0"]


async def test_what_requests_have_compiled_is_published_on_a_stop(pods: Pods) -> None:
    first = await pods.start("--endpoints=0.2")
    await first.until_ready()
    await report_of(first, "Filled")
    await first.post("/compile?files=7")
    await asyncio.sleep(SETTLED)
    first.stop()
    assert await first.until_ended() == 0
    assert any("7 files were published" in line for line in first.log_lines)
    second = await pods.start(files=7)
    await second.until_ready()
    assert compiled_in(second.log_lines) == ["0"]


async def test_a_stop_is_not_delayed_if_nothing_is_new(pods: Pods) -> None:
    await pods.filled()
    pod = await pods.start()
    await pod.until_ready()
    pod.stop()
    async with asyncio.timeout(15):
        assert await pod.until_ended() == 0
    assert not [line for line in pod.log_lines if "published" in line]


async def test_nothing_is_published_of_a_start_that_was_stopped_or_has_failed(pods: Pods) -> None:
    stopped = await pods.start(load=3600)
    await stopped.until_logged("compiled 3")
    stopped.stop()
    assert await stopped.until_ended() == 0
    assert not list(pods.store.glob("*/*"))


# --- warm ------------------------------------------------------------------------------------------------------------


async def test_warming_ends_with_0_once_everything_is_published(pods: Pods) -> None:
    await pods.filled()
    assert len(list(pods.store.glob("*/manifest.json"))) == 1
    again = await pods.start("--only-warm")
    assert await again.until_ended() == 0
    assert compiled_in(again.log_lines) == ["0"]


async def test_warming_fails_with_the_reason_if_nothing_can_be_published(pods: Pods) -> None:
    pods.store.write_text("a file")
    pod = await pods.start("--only-warm")
    assert await pod.until_ended() == 3
    said = pod.termination_message()
    assert said["reason"] == "PodConfigError"
    assert "The compile cache isn't filled" in said["message"]


async def test_warming_fails_with_the_reason_without_a_scratch_folder(pods: Pods, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    pod = await pods.start("--only-warm", files=0, scratch="file")
    assert await pod.until_ended() == 3
    assert "The scratch folder" in pod.termination_message()["message"]


# --- what goes wrong -------------------------------------------------------------------------------------------------


async def test_a_store_that_is_a_file_costs_only_the_cache(pods: Pods) -> None:
    pods.store.write_text("a file")
    pod = await pods.start()
    await pod.until_ready()
    assert "can't be" in str((await report_of(pod, "Unavailable"))["reason"])
    async with pod.streaming(tokens=3) as answer:
        assert answer.status == 200


async def test_a_scratch_folder_that_cannot_be_made_costs_only_the_cache(pods: Pods, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    pod = await pods.start(files=0, scratch="file")
    await pod.until_ready()
    assert "The scratch folder" in str((await report_of(pod, "Unavailable"))["reason"])


async def test_two_pods_that_fill_the_store_at_once_leave_one_complete_entry(pods: Pods, tmp_path: Path) -> None:
    await asyncio.gather(*(pods.start(files=50) for _ in range(2)))
    for pod in pods.started:
        await pod.until_logged("50 files were published")
    scratch = Scratch.within(tmp_path / "reader")
    assert read(pods.store, KEY, scratch).files == 50
    scratch.close()


@pytest.mark.parametrize("seed", range(4))
async def test_a_pod_that_is_killed_at_any_moment_leaves_a_complete_entry_or_none(
    pods: Pods, tmp_path: Path, seed: int
) -> None:
    """The store may have an entry with fewer files, and then another pod publishes one with more, and is killed."""
    await pods.filled()
    chance = random.Random(seed)
    pod = await pods.start(files=400)
    await pod.until_ready()
    await asyncio.sleep(SETTLED + chance.random() * 0.6)
    pod.process.kill()
    await pod.until_ended()
    scratch = Scratch.within(tmp_path / "reader")
    found = read(pods.store, KEY, scratch)
    assert (found.found, found.files in (3, 400)) == (True, True)
    assert all(file.read_text() == f"{file.name} " * 10_000 for file in scratch.files.glob("engine/compiled/*"))
    scratch.close()


async def test_a_store_that_does_not_answer_delays_the_end_of_a_pod_only_so_long(pods: Pods) -> None:
    pod = await pods.start()
    await pod.until_ready()
    while not (publishers := publishers_of(pod)):  # noqa: ASYNC110 - there is no event
        await asyncio.sleep(0.01)
    os.kill(publishers[0], signal.SIGSTOP)
    pod.stop()
    assert await pod.until_ended() == 0
    assert any("had to end before compiled code was published" in line for line in pod.log_lines)
    assert not is_alive(publishers[0])


def publishers_of(pod: SupervisedPod) -> list[int]:
    return [
        pid for pid in children(pod.process.pid) if "compiled.publisher" in Path(f"/proc/{pid}/cmdline").read_text()
    ]
