"""`slipway-runtime serve llamacpp` with Gemma is stopped: immediately while it loads, in order while it serves."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from slipway_runtime import control
from slipway_runtime.supervisor.processes import children
from support.load.completions import events
from support.programs.llamacpp_pod import LlamacppPod
from support.programs.supervised_pod import is_alive


async def test_a_stop_during_loading_ends_everything_within_2_seconds(pod: LlamacppPod, gemma: Path) -> None:
    await pod.serve(gemma)
    await pod.until_logged("loading model")
    engine = children(pod.process.pid)
    stopped_at = time.monotonic()
    pod.stop()
    assert await pod.until_ended() == 0
    assert time.monotonic() - stopped_at < 2
    assert not any(map(is_alive, engine))


async def test_a_long_stream_is_finished_and_new_requests_get_retry_after(pod: LlamacppPod, gemma: Path) -> None:
    await pod.serve(gemma, "--drain-limit=600")
    await pod.until_ready()
    async with pod.long_stream(tokens=200) as answer:
        pod.stop()
        await pod.until_logged("Refusing new requests; 1 in flight")
        assert (await pod.get("/readyz"))[0] == 503
        async with await pod.completion(prompt="Hi", max_tokens=1) as refused:
            assert (refused.status, refused.headers["Retry-After"]) == (503, "5")
            assert (await refused.json())["error"]["code"] == "draining"
        rest = await answer.read()
    assert rest.count(b"data: {") > 150
    assert rest.endswith(b"data: [DONE]\n\n")
    assert await pod.until_ended() == 0


async def test_requests_that_outlive_the_drain_are_cut_off_with_an_error_and_the_end_is_clean(
    pod: LlamacppPod, gemma: Path
) -> None:
    await pod.serve(gemma, "--drain-limit=0.5")
    await pod.until_ready()
    async with pod.long_stream() as answer:
        pod.stop()
        received = [event async for event in events(answer.content)]
    assert received[-1]["error"]["code"] == "cut_off"
    assert await pod.until_ended() == 0


async def test_a_second_sigterm_hurries(pod: LlamacppPod, gemma: Path) -> None:
    await pod.serve(gemma, "--drain-limit=600")
    await pod.until_ready()
    async with pod.long_stream() as answer:
        pod.stop()
        await pod.until_logged("Refusing new requests")
        stopped_at = time.monotonic()
        pod.stop(signal.SIGTERM)
        assert b"cut_off" in await answer.read()
    assert await pod.until_ended() == 0
    assert time.monotonic() - stopped_at < 5


async def test_no_leftovers_remain(pod: LlamacppPod, gemma: Path) -> None:
    await pod.serve(gemma)
    await pod.until_ready()
    [engine] = children(pod.process.pid)
    shared = Path(variable(engine, control.ENVIRONMENT)).parent
    assert shared.exists()
    pod.stop()
    assert await pod.until_ended() == 0
    assert not is_alive(engine)
    assert not shared.exists()


def variable(pid: int, name: str) -> str:
    """Of a process's environment."""
    words = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(word.split("=", 1) for word in words if "=" in word)[name]
