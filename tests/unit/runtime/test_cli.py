"""The command `slipway-runtime`, run as the container runs it, with a stand-in for the engine."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

# Takes the place of the package xllamacpp: prints its parameters, then does what the test says.
ENGINE = """
import ctypes, json, os
from types import SimpleNamespace

class CommonParams(SimpleNamespace):
    def __init__(self):
        super().__init__(model=SimpleNamespace(), cpuparams=SimpleNamespace(), cpuparams_batch=SimpleNamespace())

class Server:
    listening_address = "http://stand-in"
    def __init__(self, parameters):
        print(json.dumps(parameters, default=lambda it: vars(it) if hasattr(it, "__dict__") else list(it)), flush=True)
        BEHAVIOUR
"""
LOAD_FOR_EVER = "ctypes.PyDLL(None).sleep(3600)  # with the interpreter's lock, like the real one"
LOADED = "pass"

Run = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Starts the command, with an engine of that behaviour installed, or none."""
    with ExitStack() as processes:

        def start(*arguments: str | Path, engine: str | None = None) -> subprocess.Popen[str]:
            if engine is not None:
                (tmp_path / "packages").mkdir()
                (tmp_path / "packages/xllamacpp.py").write_text(ENGINE.replace("BEHAVIOUR", engine))
            process = subprocess.Popen(
                [sys.executable, "-m", "slipway_runtime.cli", *arguments],
                env={**os.environ, "PYTHONPATH": str(tmp_path / "packages")},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            processes.enter_context(process)
            processes.callback(_end_session, process.pid)
            return process

        yield start


def _end_session(leader: int) -> None:
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    (tmp_path / "models/tiny.gguf").touch()
    return tmp_path / "models"


def parameters(process: subprocess.Popen[str]) -> dict[str, object]:
    """What the engine was started with; when this returns, it runs."""
    assert process.stdout
    answer: dict[str, object] = json.loads(process.stdout.readline())
    return answer


def test_version_prints_the_name_and_the_version(run: Run) -> None:
    output, _ = run("version").communicate()
    assert output.startswith("slipway-runtime 0.")


def test_help_explains_every_option_of_an_engine(run: Run) -> None:
    output, _ = run("serve", "llamacpp", "--help").communicate()
    for option in ("--model", "--host", "--port", "--context-length", "--parallel"):
        assert option in output


@pytest.mark.parametrize("arguments", [[], ["serve"], ["serve", "llamacpp", "--port", "0"]])
def test_a_wrong_command_line_is_explained_and_exits_with_2(run: Run, arguments: list[str]) -> None:
    process = run(*arguments)
    _, explanation = process.communicate()
    assert process.returncode == 2
    assert "usage: slipway-runtime" in explanation


def test_no_model_is_one_sentence_and_exits_with_2(run: Run, tmp_path: Path) -> None:
    process = run("serve", "llamacpp", "--model", tmp_path)
    _, explanation = process.communicate()
    assert process.returncode == 2
    assert explanation.startswith("slipway-runtime: No .gguf file in")
    assert explanation.count("\n") == 1


def test_the_engine_gets_what_was_asked_for(run: Run, model: Path) -> None:
    asked = ["--host", "127.0.0.1", "--port", "8123", "--context-length", "1000", "--parallel", "3"]
    given = parameters(run("serve", "llamacpp", "--model", model, *asked, engine=LOADED))
    assert given["model"] == {"path": str(model / "tiny.gguf")}
    assert given["model_alias"] == ["tiny"]
    assert (given["hostnames"], given["port"]) == (["127.0.0.1"], 8123)


def test_every_one_of_the_parallel_requests_gets_the_whole_context_length(run: Run, model: Path) -> None:
    asked = ["--context-length", "1000", "--parallel", "3"]
    given = parameters(run("serve", "llamacpp", "--model", model, *asked, engine=LOADED))
    assert (given["n_parallel"], given["n_ctx"]) == (3, 3000)


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("engine", [LOAD_FOR_EVER, LOADED], ids=["loading", "serving"])
def test_a_signal_ends_it_with_0_and_leaves_no_engine(run: Run, model: Path, engine: str, stop: signal.Signals) -> None:
    process = run("serve", "llamacpp", "--model", model, engine=engine)
    parameters(process)
    process.send_signal(stop)
    assert process.wait() == 0
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def test_the_engine_leaves_a_terminals_ctrl_c_to_its_parent(run: Run, model: Path) -> None:
    process = run("serve", "llamacpp", "--model", model, engine="os.kill(os.getpid(), 2)")
    assert process.stderr
    assert "Serving" in process.stderr.readline()
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate()[1] == ""
    assert process.returncode == 0


def test_an_engine_that_cannot_start_is_reported_and_exits_with_1(run: Run, model: Path) -> None:
    process = run("serve", "llamacpp", "--model", model, engine='raise RuntimeError("no such layer")')
    _, said = process.communicate()
    assert process.returncode == 1
    assert "llama.cpp cannot serve" in said
    assert "no such layer" in said


def test_an_engine_that_is_killed_is_reported_with_the_signal(run: Run, model: Path) -> None:
    process = run("serve", "llamacpp", "--model", model, engine="os.kill(os.getpid(), 9)")
    _, said = process.communicate()
    assert process.returncode == 128 + 9
    assert "llama.cpp was ended by SIGKILL" in said


def test_a_missing_engine_is_named_with_the_remedy(run: Run, model: Path) -> None:
    process = run("serve", "llamacpp", "--model", model, engine="import no_such_package")
    _, said = process.communicate()
    assert process.returncode == 1
    assert "no_such_package is not installed; install slipway-runtime with its extra llamacpp" in said
