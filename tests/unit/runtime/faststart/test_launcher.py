"""The launcher with a vLLM of a few lines: two parallel processes, and the ordinary start if it is unexpected."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Self

import pytest
from slipway_runtime import control
from slipway_runtime.faststart import launcher, read_ahead_notes
from slipway_runtime.faststart.adapters import VERSIONS, adapter_for
from slipway_runtime.faststart.child_messages import ChildEvent, ChildMessage
from slipway_runtime.faststart.pair import CORE, SignalReceived
from slipway_runtime.faststart.settings import ENVIRONMENT, FastStartSettings
from support.fakes import vllm_package
from support.ports import free_port
from support.programs.processes import kill_all

REPOSITORY = Path(__file__).parents[4]
PATIENCE = 60.0


class Start:
    """One start, from its command line to its end."""

    def __init__(self, folder: Path, version: str, flags: tuple[str, ...], settings: dict[str, object]) -> None:
        self.port = free_port()
        ordinary = (sys.executable, "-m", vllm_package.LAYOUTS[version], f"--port={self.port}", *flags)
        fast_start = FastStartSettings(**{"version": version, "ordinary": ordinary, **settings})  # type: ignore[arg-type]
        self.log = folder / "log"
        with self.log.open("w") as log:
            self.process = self._launch(folder, fast_start, log, flags)

    def _launch(
        self, folder: Path, fast_start: FastStartSettings, log: IO[str], flags: tuple[str, ...]
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "slipway_runtime.faststart", f"--port={self.port}", *flags],
            env={**os.environ, "PYTHONPATH": str(folder), ENVIRONMENT: fast_start.as_json()},
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            start_new_session=True,
        )

    def answer(self) -> str:
        """The command line of the server that responds."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until and self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=PATIENCE) as answer:
                    return str(answer.read().decode())
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.05)
        raise AssertionError(f"nothing responds: {self.output}")

    def children(self) -> dict[str, int]:
        """The launcher's child processes, by their role."""
        listed = subprocess.run(
            ["ps", "-o", "pid=,comm=", "--ppid", str(self.process.pid)],
            capture_output=True,
            text=True,
            check=False,
        )
        rows = [line.split() for line in listed.stdout.splitlines()]
        return {name.removeprefix("slipway-"): int(pid) for pid, name in rows}

    @property
    def output(self) -> str:
        return self.log.read_text()


Starting = Callable[..., Start]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Starting]:
    starts: list[Start] = []

    def launch(
        *flags: str, version: str = "0.24.0", replaced: dict[str, str] | None = None, **settings: object
    ) -> Start:
        vllm_package.install(tmp_path, version, adapter_for(version).ALSO_IMPORTED, replaced)
        starts.append(Start(tmp_path, version, flags, settings))
        return starts[-1]

    yield launch
    for each in starts:
        if each.process.poll() is None:
            kill_all(each.process.pid)
        each.process.wait()


@pytest.mark.parametrize("version", VERSIONS)
def test_engine_core_and_server_are_two_processes_that_find_each_other(start: Starting, version: str) -> None:
    launched = start("--model=m", version=version)
    assert "faststart" in launched.answer()
    assert set(launched.children()) == {"core", "server"}
    assert "the ordinary start" not in launched.output


def test_a_server_that_serves_does_not_read_its_environment_again(start: Starting) -> None:
    launched = start("--model=m")
    launched.answer()
    assert "the environment is kept" in launched.output


def test_flags_of_the_fast_start_reach_both(start: Starting) -> None:
    assert "--max-model-len=7" in start("--model=m", flags=("--max-model-len=7",)).answer()


def test_on_a_stop_it_ends_cleanly_and_leaves_no_process(start: Starting) -> None:
    launched = start("--model=m")
    launched.answer()
    children = launched.children()
    launched.process.terminate()
    assert launched.process.wait(PATIENCE) == 0
    assert not [pid for pid in children.values() if Path(f"/proc/{pid}").exists()]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_it_ends_the_way_its_engine_core_ends(start: Starting, number: signal.Signals) -> None:
    launched = start("--model=m")
    launched.answer()
    os.kill(launched.children()["core"], number)
    assert launched.process.wait(PATIENCE) == -number
    assert f"the engine core ended by signal {number.value}" in launched.output


def test_the_end_of_the_server_ends_everything_and_counts_as_a_failure(start: Starting) -> None:
    launched = start("--model=m")
    launched.answer()
    children = launched.children()
    os.kill(children["server"], signal.SIGTERM)
    assert launched.process.wait(PATIENCE) == 1
    assert not Path(f"/proc/{children['core']}").exists()


def test_a_stop_during_loading_ends_both_immediately(start: Starting) -> None:
    launched = start(
        "--model=m", replaced={'print("the fake core loads", flush=True)': 'print("loads", flush=True); time.sleep(99)'}
    )
    until = time.monotonic() + PATIENCE
    while "loads" not in launched.output and time.monotonic() < until:
        time.sleep(0.02)
    launched.process.terminate()
    assert launched.process.wait(5) == 128 + signal.SIGTERM


@pytest.mark.parametrize(
    ("replaced", "reason"),
    [
        (
            {"def run_busy_loop(self):": "def run_busy_loop(self, faster=True):"},
            "run_busy_loop takes (self, faster), not",
        ),
        ({"engine_core.run_busy_loop()": "engine_core.EngineCoreProc.run(engine_core)"}, "doesn't use run_busy_loop"),
        ({"identity, local_client, vllm_config,": "name, local_client, vllm_config,"}, "_perform_handshakes takes"),
        ({"with self._perform_handshakes(": "with self._greet("}, "doesn't use _perform_handshakes"),
        ({"usage_context=None, headless=False": "context=None, headless=False"}, "create_engine_config takes"),
        ({"safetensors_load_strategy=None": "strategy=None"}, "safetensors_weights_iterator takes"),
        ({"client_config": "engine"}, "run_server_worker takes"),
        ({"serve_http": "uvicorn_serve"}, "doesn't use serve_http"),
        ({"enable_envs_cache():": "enable_envs_cache(again):"}, "enable_envs_cache takes (again), not"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_unexpected_signature_falls_back_to_the_ordinary_start(
    start: Starting, replaced: dict[str, str], reason: str
) -> None:
    launched = start("--model=m", replaced=replaced)
    _falls_back(launched, reason)


@pytest.mark.parametrize(
    ("replaced", "reason"),
    [
        ({"class EngineCoreProc:": "class OtherCore:"}, "the engine core ended with exit code 1"),
        (
            {"from vllm.entrypoints.serve.utils.api_utils import cli_env_setup\n": ""},
            "the server ended with exit code 1",
        ),
        ({'print("the fake core loads", flush=True)': "raise MemoryError"}, "the engine core ended with exit code 1"),
        ({'print("the fake core loads", flush=True)': "signal.raise_signal(9)"}, "the engine core ended by signal 9"),
        ({"return cls(args.model,": "return cls(str(__import__('os').getpid()),"}, "read the flags differently"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_failure_before_it_serves_falls_back_to_the_ordinary_start(
    start: Starting, replaced: dict[str, str], reason: str
) -> None:
    _falls_back(start("--model=m", replaced=replaced), reason)


def test_an_engine_core_of_several_processes_falls_back_to_the_ordinary_start(start: Starting) -> None:
    _falls_back(start("--model=m", "--tensor-parallel-size=2"), "the engine core would be more than one process")


def test_a_missing_module_falls_back_to_the_ordinary_start(
    start: Starting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter_for("0.24.0"), "ALSO_IMPORTED", ())
    _falls_back(start("--model=m"), "async_llm can't be imported")


def test_a_version_without_an_adapter_falls_back_to_the_ordinary_start(start: Starting) -> None:
    launched = start("--model=m", version="0.24.0")
    kill_all(launched.process.pid)
    other = Start(launched.log.parent, "0.24.0", ("--model=m",), {"version": "0.99.0"})
    try:
        _falls_back(other, "KeyError: '0.99.0'")
    finally:
        other.process.kill()
        other.process.wait()


def test_when_the_ordinary_start_begins_nothing_is_left_of_the_fast_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[str] = []

    @contextmanager
    def folder(within: Path) -> Iterator[Path]:
        try:
            yield within
        finally:
            happened.append(f"{within} removed")

    monkeypatch.setattr(launcher, "scratch_folder", folder)
    monkeypatch.setenv(control.ENVIRONMENT, str(tmp_path / "control"))
    monkeypatch.setattr(os, "execvpe", lambda program, *_: happened.append(program))
    monkeypatch.setenv(ENVIRONMENT, FastStartSettings(version="0.99.0", ordinary=("vllm",)).as_json())
    launcher.main(["--model=m"])
    assert happened == [f"{tmp_path} removed", "vllm"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_during_the_fallback_is_obeyed(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class PairThatIsStopped:
        def __init__(self, *_: object) -> None:
            self.occurrences = queue.SimpleQueue[ChildMessage | SignalReceived]()
            self.occurrences.put(ChildMessage(CORE, ChildEvent.GIVES_UP, "it differs"))

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            signal.raise_signal(number)  # while both processes are ended

    before = signal.getsignal(number)
    started: list[str] = []
    monkeypatch.setattr(launcher, "Pair", PairThatIsStopped)
    monkeypatch.setattr(os, "execvpe", lambda program, *_: started.append(program))
    monkeypatch.setenv(control.ENVIRONMENT, str(tmp_path / "control"))
    monkeypatch.setenv(ENVIRONMENT, FastStartSettings(version="0.24.0", ordinary=("vllm",)).as_json())
    with pytest.raises(SystemExit) as end:
        launcher.main(["--model=m"])
    assert end.value.code == 128 + number
    assert started == []
    assert signal.getsignal(number) == before, "so that a later one isn't lost either"


def _falls_back(launched: Start, reason: str) -> None:
    assert "faststart" not in launched.answer()
    assert reason in launched.output
    assert "so vLLM is started the ordinary way" in launched.output
    assert "the ordinary start" in launched.output
    assert launched.children() == {}


def test_files_that_both_processes_have_read_are_listed_in_the_cache(
    start: Starting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(read_ahead_notes.ENVIRONMENT, str(tmp_path / "wanted"))
    start("--model=m").answer()
    assert {"wanted-core", "wanted-server"} <= {file.name for file in tmp_path.iterdir()}
