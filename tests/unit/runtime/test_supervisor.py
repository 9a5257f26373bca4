"""Process 1 and a fake engine, as processes: start, probes, signals, drains, ends."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from slipway_runtime.contract.reasons import Reason
from slipway_runtime.failure import Failure, termination_message
from slipway_runtime.supervisor.processes import children
from slipway_runtime.supervisor.supervisor import CHECK_LIVENESS_EVERY
from support.programs.processes import without_traces
from support.programs.supervised_pod import SupervisedPod, is_alive


@pytest.fixture
async def pod(tmp_path: Path) -> AsyncIterator[SupervisedPod]:
    async with aiohttp.ClientSession() as http:
        pod = SupervisedPod(tmp_path, http)
        yield pod
        await pod.kill()


def engine_of(pod: SupervisedPod) -> int:
    [pid] = children(pod.process.pid)
    return pid


# --- start -----------------------------------------------------------------------------------------------------------


async def test_probes_follow_the_life_of_the_engine(pod: SupervisedPod) -> None:
    await pod.start("--load=3600")
    await pod.until_logged("--fake")
    await pod.until_open()
    assert await pod.get("/startupz") == (503, "Starting, phase launched\n")
    assert (await pod.get("/readyz"))[0] == 503
    assert (await pod.get("/livez"))[0] == 200


async def test_a_client_that_waits_for_readiness_is_answered_immediately(pod: SupervisedPod) -> None:
    await pod.start("--load=2")
    await pod.until_open()
    assert (await pod.get("/readyz?wait=0"))[0] == 503
    assert await pod.get("/readyz?wait=60") == (200, "Ready, phase ready\n")


async def test_waiting_for_readiness_ends_at_its_limit_and_does_not_delay_a_stop(pod: SupervisedPod) -> None:
    await pod.start("--load=3600")
    await pod.until_open()
    assert (await pod.get("/readyz?wait=0.1"))[0] == 503
    waiting_request = asyncio.create_task(pod.get("/readyz?wait=60"))
    await asyncio.sleep(0.1)
    pod.stop()
    assert await pod.until_ended() == 0
    with pytest.raises(aiohttp.ClientError):
        await waiting_request


@pytest.mark.parametrize("wait", ["soon", "-1", "nan", "inf"])
async def test_an_invalid_wait_is_refused_with_an_example(pod: SupervisedPod, wait: str) -> None:
    await pod.start()
    await pod.until_ready()
    message = "wait must be a number of seconds from 0 to 60, as in /readyz?wait=10, and not"
    assert await pod.get(f"/readyz?wait={wait}") == (400, f"{message} {wait!r}\n")


async def test_a_started_pod_is_ready_and_logs_what_it_runs(pod: SupervisedPod) -> None:
    await pod.start("--say=now loading", "--say=capacity 1200")
    await pod.until_ready()
    for path in ("/startupz", "/readyz", "/livez"):
        assert await pod.get(path) == (200, "Ready, phase ready\n")
    info = await pod.info()
    assert info["state"] == "Ready"
    assert info["capacity"] == {"tokens": "1200"}
    assert info["choices"] == [{"setting": "--fake", "reason": "a test asked for it"}]
    reached = [moment["name"] for moment in info["phases"]]
    assert reached == ["started", "checked", "launched", "loading", "answers", "ready"]
    seconds = [moment["seconds"] for moment in info["phases"]]
    assert seconds == sorted(seconds)
    assert "slipway-runtime: --fake: a test asked for it.\n" in pod.log_lines


async def test_what_was_measured_is_known_once_it_is_ready(pod: SupervisedPod) -> None:
    await pod.start("--load=0.5")
    await pod.until_open()
    assert (await pod.info())["measured"] is None
    await pod.until_ready()
    await pod.until_response_has("/info", '"devices"')
    assert (await pod.info())["measured"] == {"devices": [{"name": "container", "total": 1000, "used": 400}]}


async def test_one_scrape_has_the_metrics_of_both(pod: SupervisedPod) -> None:
    await pod.start()
    await pod.until_ready()
    _, text = await pod.get("/metrics")
    assert 'slipway_runtime_state{state="Ready"} 1.0' in text
    assert 'slipway_runtime_info{engine="fake",engine_version=""} 1.0' in text
    assert 'slipway_runtime_phase_seconds{phase="ready"}' in text
    assert "slipway_runtime_guards 1.0" in text
    assert 'fake:running{model="a} 9"} 0' in text


async def test_an_engine_that_prints_a_lot_loses_nothing_and_is_not_blocked(pod: SupervisedPod) -> None:
    await pod.start("--flood=20000")
    await pod.until_ready()
    lines = [line for line in pod.log_lines if line.startswith("line ")]
    assert [int(line.split()[1]) for line in lines] == list(range(20000))


async def test_warming_ends_as_soon_as_it_is_ready(pod: SupervisedPod) -> None:
    await pod.start(options=["--only-warm", "--drain=0"])
    assert await pod.until_ended() == 0
    assert any("Ready after" in line for line in pod.log_lines)


async def test_what_is_to_be_done_after_warming_decides_the_exit_code(pod: SupervisedPod) -> None:
    await pod.start(options=["--only-warm", "--drain=0", "--afterwards=fail"])
    assert await pod.until_ended() == 60
    assert pod.termination_message()["reason"] == "PushFailed"


async def test_after_a_stop_signal_nothing_more_is_done(pod: SupervisedPod) -> None:
    await pod.start("--say=now loading", "--load=3600", options=["--only-warm", "--drain=0", "--afterwards=succeed"])
    await pod.until_logged("now loading")
    pod.stop()
    await pod.until_ended()
    assert not any("afterwards" in line for line in pod.log_lines)


async def test_a_start_that_takes_too_long_is_a_failure_that_names_its_phase(pod: SupervisedPod) -> None:
    await pod.start("--say=now loading", "--load=3600", options=["--start=2"])
    assert await pod.until_ended() == 41
    termination = pod.termination_message()
    assert (termination["reason"], termination["phase"], termination["lines"]) == (
        "StartTimeout",
        "loading",
        ["now loading"],
    )


async def test_an_engine_whose_web_server_has_no_limits_is_not_served(
    pod: SupervisedPod,
) -> None:
    await pod.start("--no-limits")
    assert await pod.until_ended() == 50
    assert "requests of any size" in pod.termination_message()["message"]


# --- SIGTERM ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stop_during_loading_waits_for_nothing(pod: SupervisedPod, number: signal.Signals) -> None:
    await pod.start("--load=3600", "--ignore-sigterm", "--say=now loading")
    await pod.until_logged("now loading")
    pod.stop(number)
    assert await pod.until_ended() == 0
    assert not pod.termination_log.exists()


async def test_requests_in_flight_are_finished_and_new_ones_refused(pod: SupervisedPod) -> None:
    await pod.start(options=["--endpoints=0.2"])
    await pod.until_ready()
    async with pod.streaming(tokens=40) as answer:
        pod.stop()
        await pod.until_logged("Stop signal received")
        assert (await pod.get("/readyz"))[0] == 503
        assert (await pod.post("/stream"))[0] == 200  # endpoints may still lead here
        await pod.until_logged("Refusing new requests; 1 in flight")
        async with pod.http.post(f"http://127.0.0.1:{pod.engine_port}/stream") as refused:
            assert (refused.status, refused.headers["Retry-After"]) == (503, "5")
        assert (await pod.get("/livez"))[0] == 200
        assert [int(line) for line in (await answer.read()).split()] == list(range(1, 40))
    assert await pod.until_ended() == 0


async def test_requests_that_outlive_the_drain_are_cut_off_with_an_error(pod: SupervisedPod) -> None:
    await pod.start(options=["--drain=0.3"])
    await pod.until_ready()
    async with pod.streaming(tokens=100_000) as answer:
        pod.stop()
        assert (await answer.read()).endswith(b"error\n")
    assert await pod.until_ended() == 0


async def test_a_second_sigterm_hurries(pod: SupervisedPod) -> None:
    await pod.start(options=["--drain=3600"])
    await pod.until_ready()
    async with pod.streaming(tokens=100_000) as answer:
        pod.stop()
        await pod.until_logged("Refusing new requests")
        pod.stop()
        assert (await answer.read()).endswith(b"error\n")
    assert await pod.until_ended() == 0


async def test_an_engine_that_ignores_sigterm_is_killed(pod: SupervisedPod) -> None:
    await pod.start("--ignore-sigterm", options=["--stop=0.5"])
    await pod.until_ready()
    pod.stop()
    assert await pod.until_ended() == 0


# --- the engine's end ------------------------------------------------------------------------------------------------


async def test_an_engine_that_dies_during_loading_is_reported_with_its_last_lines(pod: SupervisedPod) -> None:
    await pod.start("--say=now loading", "--say=no such layer", "--die=1")
    assert await pod.until_ended() >= 40
    termination = pod.termination_message()
    assert termination["phase"] == "loading"
    assert termination["lines"] == ["now loading", "no such layer"]


async def test_our_own_engine_process_reports_why_it_does_not_start(pod: SupervisedPod) -> None:
    failure = Failure(Reason.CONTEXT_TOO_LONG, "The context is too long.", "Shorten it.")
    await pod.start(f"--say={termination_message(failure).strip()}", "--die=1")
    assert await pod.until_ended() == 32
    assert (pod.termination_message()["message"], pod.termination_message()["remedy"]) == (
        "The context is too long.",
        "Shorten it.",
    )


async def test_another_way_of_starting_is_not_tried_against_a_cause_that_stays(pod: SupervisedPod) -> None:
    message = "SafetensorError: Error while deserializing header: incomplete metadata"
    await pod.start(f"--say={message}", "--say=now another way", "--load=3600")
    assert await pod.until_ended() == 12
    assert (pod.termination_message()["reason"], pod.termination_message()["message"]) == ("ModelCorrupt", message)


async def test_another_way_of_starting_is_tried_against_any_other_cause(pod: SupervisedPod) -> None:
    await pod.start("--say=RuntimeError: no one knows why", "--say=CUDA out of memory", "--say=now another way")
    await pod.until_ready()


async def test_an_engine_that_exits_with_0_without_a_stop_is_a_failure(pod: SupervisedPod) -> None:
    await pod.start()
    await pod.until_ready()
    with pytest.raises(aiohttp.ClientError):
        await pod.post("/die?code=0")
    assert await pod.until_ended() != 0
    assert pod.termination_message()["phase"] == "ready"


async def test_a_killed_engine_is_a_failure(pod: SupervisedPod) -> None:
    await pod.start()
    await pod.until_ready()
    os.kill(engine_of(pod), signal.SIGKILL)
    assert await pod.until_ended() != 0
    assert pod.termination_message()["reason"]


async def test_a_hung_engine_is_detected_and_ended(pod: SupervisedPod) -> None:
    await pod.start(options=["--stuck-after=1"])
    await pod.until_ready()
    async with pod.streaming(tokens=100_000, every=0):
        await pod.post("/hang")
        assert await pod.until_ended() == 42
    assert pod.termination_message()["reason"] == "EngineStuck"


async def test_an_engine_whose_responses_are_seen_is_not_queried_for_metrics(pod: SupervisedPod) -> None:
    await pod.start()
    await pod.until_ready()
    async with pod.streaming(tokens=100_000):
        queries = await metrics_queries(pod)
        await asyncio.sleep(2.5 * CHECK_LIVENESS_EVERY)
        assert await metrics_queries(pod) <= queries + 2  # one of them by us, and one for the pulse before it started


async def test_callers_of_info_share_a_scrape_of_the_engine(pod: SupervisedPod) -> None:
    await pod.start()
    await pod.until_ready()
    queries = await metrics_queries(pod)
    found = [(await pod.info())["usage"] for _ in range(20)]
    assert await metrics_queries(pod) <= queries + 3  # one of them by us, and two for the pulse of an idle engine
    assert found[-1]["requests"] == 0
    assert found[-1]["readySeconds"] > found[0]["readySeconds"] > 0


async def metrics_queries(pod: SupervisedPod) -> int:
    _, text = await pod.get("/metrics")
    [metric] = [line for line in text.splitlines() if line.startswith("fake:asked_total")]
    return int(float(metric.rpartition(" ")[2]))


async def test_a_stopped_engine_is_detected_even_when_idle(pod: SupervisedPod) -> None:
    await pod.start(options=["--stuck-after=1"])
    await pod.until_ready()
    os.kill(engine_of(pod), signal.SIGSTOP)
    assert await pod.until_ended() == 42


# --- leftovers -------------------------------------------------------------------------------------------------------


async def test_no_process_of_the_engine_survives_in_whichever_session(pod: SupervisedPod, tmp_path: Path) -> None:
    await pod.start(f"--orphan={tmp_path / 'orphan'}")
    await pod.until_ready()
    orphan = int((tmp_path / "orphan").read_text())
    assert is_alive(orphan)
    os.kill(engine_of(pod), signal.SIGKILL)
    await pod.until_ended()
    assert not is_alive(orphan)


async def test_orphans_that_end_are_reaped(pod: SupervisedPod) -> None:
    await pod.start("--zombies=20", "--load=0.5")
    await pod.until_ready()
    engine = engine_of(pod)  # the only child: no zombie is left
    assert is_alive(engine)


async def test_an_engine_ends_with_its_supervisor(pod: SupervisedPod) -> None:
    await pod.start()
    await pod.until_ready()
    engine = engine_of(pod)
    with without_traces([engine]):
        pod.process.kill()
        await pod.until_ended()
    while is_alive(engine):
        pass
