"""Process 1 gets a stop signal: from its first moment to its last, no signal is lost and none spoils the end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from support.programs.pid_namespace import NOT_POSSIBLE
from support.programs.supervised_pod import SupervisedPod

TESTS = Path(__file__).parents[2]
CONTAINERFILES = sorted((TESTS.parent / "runtime-image").glob("*.Containerfile"))

SLOW_MODEL_CHECK = """
import sys, time
from slipway_runtime import serving
from slipway_runtime.__main__ import main
serving.find_model = lambda *_: time.sleep(60)
sys.exit(main())
"""
SLOW_START = "import sys, time; time.sleep(0.1); from slipway_runtime.__main__ import main; sys.exit(main())"


def entrypoint_prefix(containerfile: Path) -> list[str]:
    """The part of an image's entry point in front of our own command."""
    entrypoint = re.search(r"^ENTRYPOINT (\[.*\])$", containerfile.read_text(), re.MULTILINE)
    assert entrypoint
    arguments: list[str] = json.loads(entrypoint[1])
    return arguments[
        : next(number for number, argument in enumerate(arguments) if argument.endswith(("slipway-runtime", "python3")))
    ]


def run_and_stop(milliseconds: int, *command: str) -> subprocess.CompletedProcess[str]:
    """As process 1, this long after it started to hold signals back."""
    command_line = [sys.executable, "-m", "support.programs.pid_namespace", str(milliseconds), *command]
    done = subprocess.run(command_line, cwd=TESTS, capture_output=True, text=True, timeout=200, check=False)
    if done.returncode == NOT_POSSIBLE:
        pytest.skip("no pid namespace can be made here")
    return done


# --- at the start ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("containerfile", CONTAINERFILES, ids=lambda file: file.stem)
def test_a_signal_that_arrives_before_python_waits_for_it(containerfile: Path) -> None:
    done = run_and_stop(0, *entrypoint_prefix(containerfile), sys.executable, "-c", SLOW_START, "serve", "llamacpp")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("milliseconds", [0, 10, 20, 40, 80, 160, 320, 640])
def test_process_1_ends_immediately_however_early_the_stop_arrives(milliseconds: int) -> None:
    before = entrypoint_prefix(CONTAINERFILES[0])
    done = run_and_stop(milliseconds, *before, sys.executable, "-c", SLOW_MODEL_CHECK, "serve", "llamacpp")
    assert done.returncode == 0, done.stderr


def test_a_check_that_is_stopped_has_not_passed() -> None:
    before = entrypoint_prefix(CONTAINERFILES[0])
    done = run_and_stop(0, *before, sys.executable, "-c", SLOW_START, "preflight", "llamacpp")
    assert done.returncode == 128 + signal.SIGTERM


def test_signals_are_handled_before_any_slow_import() -> None:
    code = (
        "import sys, slipway_runtime.stopping as s; s.install = lambda: sys.exit(print(*sys.modules)); "
        "import slipway_runtime.__main__ as m; m.main()"
    )
    imported = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"argparse", "asyncio", "json", "pathlib", "typing", "slipway_runtime.cli"} & set(imported)


# --- in the middle and at the end ------------------------------------------------------------------------------------


@pytest.fixture
async def pod(tmp_path: Path) -> AsyncIterator[SupervisedPod]:
    async with aiohttp.ClientSession() as http:
        pod = SupervisedPod(tmp_path, http)
        yield pod
        await pod.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_further_signals_do_not_spoil_a_clean_end(pod: SupervisedPod, number: signal.Signals) -> None:
    await pod.start()
    await pod.until_ready()
    await signal_until_it_ends(pod, number)
    assert await pod.until_ended() == 0


async def test_signals_while_a_failure_is_written_do_not_hide_it(pod: SupervisedPod) -> None:
    await pod.start("--die=1")
    await pod.until_logged("EngineCrashed")
    await signal_until_it_ends(pod, signal.SIGTERM)
    assert await pod.until_ended() == 40


async def signal_until_it_ends(pod: SupervisedPod, number: signal.Signals) -> None:
    """Faster than one signal can be handled, and again after it has ended."""
    kill = f"while kill -{number:d} {pod.process.pid}; do :; done"
    async with asyncio.timeout(pod.patience):
        sender = await asyncio.create_subprocess_exec("sh", "-c", kill, stderr=asyncio.subprocess.DEVNULL)
        try:
            await sender.wait()
        finally:
            with contextlib.suppress(ProcessLookupError):
                sender.kill()


async def test_a_stop_between_the_start_of_the_engine_and_the_loop_is_not_lost(pod: SupervisedPod) -> None:
    await pod.start("--load=3600")
    await pod.until_logged("--fake")  # logged right before it is started
    pod.stop()
    assert await pod.until_ended() == 0
