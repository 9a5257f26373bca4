"""One process imports, and the server is forked off it: who gets which variables, and how each of the two ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from slipway_devcluster.identity import children
from slipway_runtime.faststart import hash_seed, import_cache
from slipway_runtime.faststart.adapters.parts import UnexpectedError
from slipway_runtime.faststart.child_messages import ChildEvent, ChildMessage
from slipway_runtime.faststart.core_process import refuse
from slipway_runtime.faststart.launcher import environments
from slipway_runtime.faststart.pair import CORE, SERVER, Adopted, ChildEnded, Pair
from slipway_runtime.faststart.settings import FastStartSettings

FORKS = """
import os, signal, sys, time
from slipway_runtime.faststart.child_messages import PIPE, ChildEvent, MessageSender
from slipway_runtime.faststart.forking import ServerFork
from slipway_runtime.faststart.linux import die_with_parent
die_with_parent()
fork = ServerFork.of(os.environ)
core = MessageSender.of("core", os.environ)

def forever(sender):
    time.sleep(600)
    return 0
"""
Core = Callable[[str], None]
REAL = sys.executable


def living() -> set[int]:
    """Returns this process's children that have not ended."""
    found = {pid: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] for pid in children(os.getpid())}
    return {pid for pid, state in found.items() if state != "Z"}


@pytest.fixture
def core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Core:
    """Lets the launcher start some code as its engine core."""
    script, python = tmp_path / "core", sys.executable

    def write(code: str) -> None:
        script.write_text(f"#!{python}\n{FORKS}\n{textwrap.dedent(code)}\ntime.sleep(600)\n")
        script.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(script))

    return write


@pytest.mark.parametrize(
    "code",
    [
        "fork.fork(forever); core.send(ChildEvent.READY)",
        "core.send(ChildEvent.READY)",
        "core.send(ChildEvent.READY); fork.fork(forever)",
    ],
    ids=["both run", "before the fork", "at the fork"],
)
def test_a_launcher_that_fails_leaves_neither_child_running(core: Core, code: str) -> None:
    core(code)
    before = living()
    with suppress(ZeroDivisionError), Pair([], os.environ, {}) as pair:
        assert pair.occurrences.get(timeout=60) == ChildMessage(CORE, ChildEvent.READY)
        raise ZeroDivisionError
    assert living() == before


def test_a_killed_engine_core_does_not_hide_a_server_that_is_not_known_yet(core: Core) -> None:
    core("fork.fork(forever); core.send(ChildEvent.READY)")
    before = living()
    with Pair([], os.environ, {}) as pair:
        pair.occurrences.get(timeout=60)
        pair.send_signal(CORE, signal.SIGKILL)
        assert pair.occurrences.get(timeout=60) == ChildEnded(CORE, -signal.SIGKILL)
        assert living() > before, "the server can still answer requests in flight"
    assert living() == before


@pytest.mark.parametrize(
    ("ends", "exit_code"),
    [
        ("return 7", 7),
        ("raise SystemExit(3)", 3),
        ("raise ValueError('for the log')", 1),
        ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
    ],
)
def test_the_launcher_knows_how_a_forked_server_ends(core: Core, ends: str, exit_code: int) -> None:
    core(f"def serve(sender):\n    {ends}\nfork.fork(serve)")
    with Pair([], os.environ, {}) as pair:
        assert pair.occurrences.get(timeout=60) == ChildEnded(SERVER, exit_code)


def test_the_reason_is_known_before_the_end(core: Core) -> None:
    core("def serve(sender):\n    sender.send(ChildEvent.GIVES_UP, 'why')\n    os._exit(1)\nfork.fork(serve)")
    for _ in range(20):
        with Pair([], os.environ, {}) as pair:
            assert pair.occurrences.get(timeout=60) == ChildMessage(SERVER, ChildEvent.GIVES_UP, "why")
            assert pair.occurrences.get(timeout=60) == ChildEnded(SERVER, 1)


def test_a_server_that_ends_before_it_is_known_is_unexpected(core: Core) -> None:
    core("fork._be_the_server = lambda between, serve: 1\nfork.fork(forever)")
    with Pair([], os.environ, {}) as pair:
        message = pair.occurrences.get(timeout=60)
    assert message == ChildMessage(SERVER, ChildEvent.GIVES_UP, "its process ended before it was known")


def test_the_end_of_an_engine_core_that_has_forked_no_server_is_the_only_trouble(core: Core) -> None:
    core("os._exit(3)")
    with Pair([], os.environ, {}) as pair:
        assert pair.occurrences.get(timeout=60) == ChildEnded(CORE, 3)
        pair._listeners[SERVER].join(60)
        assert pair.occurrences.empty()


def test_a_forked_server_never_runs_the_engine_cores_code(core: Core) -> None:
    core("fork.fork(lambda sender: 1 / 0)\ncore.send(ChildEvent.READY)")
    with Pair([], os.environ, {}) as pair:
        found = [pair.occurrences.get(timeout=60), pair.occurrences.get(timeout=60)]
    assert found.count(ChildMessage(CORE, ChildEvent.READY)) == 1
    assert ChildEnded(SERVER, 1) in found


def test_a_forked_server_ends_with_its_launcher(core: Core) -> None:
    core("fork.fork(lambda sender: sender.send(ChildEvent.FLAGS, str(os.getpid())) or forever(sender))")
    launcher = (
        "import os, sys; from slipway_runtime.faststart.pair import Pair; sys.executable = sys.argv[1];"
        "print(Pair([], os.environ, {}).occurrences.get(timeout=60).value, flush=True); os.kill(os.getpid(), 9)"
    )
    ended = subprocess.run([REAL, "-c", launcher, sys.executable], capture_output=True, text=True, check=False)
    until = time.monotonic() + 60
    while Path(f"/proc/{int(ended.stdout)}").exists():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_at_a_limit_of_processes_the_engine_core_gives_up(core: Core) -> None:
    core(
        """
        def refuse():
            raise BlockingIOError("Resource temporarily unavailable")
        os.fork = refuse
        fork.fork(forever)
        """
    )
    with Pair([], os.environ, {}) as pair:
        assert pair.occurrences.get(timeout=60) == ChildEnded(CORE, 1)


def test_a_server_whose_second_fork_fails_is_unexpected(core: Core) -> None:
    core(
        """
        from slipway_runtime.faststart.adapters.parts import UnexpectedError
        real, forks = os.fork, []
        def once():
            forks.append(1)
            if len(forks) > 1:
                raise BlockingIOError("Resource temporarily unavailable")
            return real()
        os.fork = once
        try:
            fork.fork(forever)
        except UnexpectedError as error:
            core.send(ChildEvent.GIVES_UP, str(error))
        """
    )
    with Pair([], os.environ, {}) as pair:
        message = ChildMessage(CORE, ChildEvent.GIVES_UP, "the server's process can't be created")
        assert pair.occurrences.get(timeout=60) == message


def test_a_process_that_is_not_a_child_is_not_adopted() -> None:
    with pytest.raises(ChildProcessError):
        Adopted(os.getpid())


def test_a_signal_is_never_sent_to_a_process_that_was_reaped() -> None:
    process = os.fork()
    if process == 0:
        os._exit(5)
    adopted = Adopted(process)
    assert adopted.wait(60) == 5
    adopted.send_signal(signal.SIGKILL)


def test_the_servers_own_variables_are_never_in_the_engine_core(core: Core) -> None:
    core(
        """
        def serve(sender):
            sender.send(ChildEvent.FLAGS, os.environ["VLLM_API_KEY"])
            return 0
        seen = sum(b"the-key" in open(f"/proc/self/{name}", "rb").read() for name in ("environ", "cmdline"))
        fork.fork(serve)
        core.send(ChildEvent.FLAGS, f"{seen} {'VLLM_API_KEY' in os.environ} {len(os.listdir('/proc/self/fd'))}")
        """
    )
    with Pair([], os.environ, {"VLLM_API_KEY": "the-key"}) as pair:
        found = {pair.occurrences.get(timeout=60), pair.occurrences.get(timeout=60), pair.occurrences.get(timeout=60)}
    assert ChildMessage(SERVER, ChildEvent.FLAGS, "the-key") in found
    # its standard streams, its pipe, and the listing itself
    assert ChildMessage(CORE, ChildEvent.FLAGS, "0 False 5") in found


OF_SERVER = {"VLLM_API_KEY": "x", "SLIPWAY_GUARD": "{}", "SLIPWAY_RUNBOOKS": "https://a.example/{name}"}


def test_api_keys_are_for_the_server_alone() -> None:
    both, of_server = environments(
        FastStartSettings(version="0.24.0", ordinary=()),
        Path("/f"),
        {**OF_SERVER, "A": "1"},
    )
    assert both["A"] == "1"
    assert not OF_SERVER.keys() & set(both)
    assert of_server == OF_SERVER


@pytest.mark.parametrize(("device", "kept"), [("cpu", "0"), ("NVIDIA H200", None)])
def test_what_cannot_be_read_again_is_not_cached(device: str, kept: str | None) -> None:
    settings = FastStartSettings(version="0.32.0", ordinary=(), device=device)
    assert environments(settings, Path("/f"), {})[0].get("VLLM_USE_AOT_COMPILE") == kept


def test_variables_that_the_user_sets_are_kept() -> None:
    settings = FastStartSettings(version="0.32.0", ordinary=(), device="cpu")
    both, _ = environments(settings, Path("/f"), {"VLLM_USE_AOT_COMPILE": "1"})
    assert both["VLLM_USE_AOT_COMPILE"] == "1"


def test_hashes_are_the_same_at_each_start_with_one_cache_and_unknown_to_clients(tmp_path: Path) -> None:
    caches = [{import_cache.ENVIRONMENT: str(tmp_path / name)} for name in ("one", "one", "two")]
    first, again, other = map(hash_seed.seed_in, caches)
    assert first == again != other
    assert 0 < int(first) < 2**32
    assert hash_seed.seed_in({}) != hash_seed.seed_in({})


@pytest.mark.parametrize("stored", [b"", b"0", b"-1", b"4294967296", b"random", "\u0663".encode(), b"7" * 1000])
def test_a_seed_that_python_would_refuse_or_that_is_not_random_is_replaced(tmp_path: Path, stored: bytes) -> None:
    (tmp_path / "x-hash-seed").write_bytes(stored)
    seed = hash_seed.seed_in({import_cache.ENVIRONMENT: str(tmp_path / "x")})
    assert (tmp_path / "x-hash-seed").read_text() == seed
    ran = subprocess.run([sys.executable, "-c", ""], env={"PYTHONHASHSEED": seed}, check=False)
    assert ran.returncode == 0


def test_a_cache_that_cannot_be_written_does_not_prevent_a_start(tmp_path: Path) -> None:
    assert int(hash_seed.seed_in({import_cache.ENVIRONMENT: str(tmp_path / "missing/x")}))


@pytest.mark.parametrize(
    ("given", "trouble"),
    [
        ({}, ""),
        ({"mm_processor_kwargs": {"min_pixels": 28}, "media_io_kwargs": {"video": {"num_frames": 8}}}, ""),
        ({"mm_processor_kwargs": {"device": "cuda"}}, "mm_processor_kwargs would let the server use the device"),
        ({"media_io_kwargs": {"video": {"device": "cuda:0"}}}, "media_io_kwargs would let the server use the device"),
        ({"mm_tensor_ipc": "torch_shm"}, "only vLLM's own launcher creates"),
    ],
)
def test_a_server_that_would_use_the_device_is_not_forked_off_a_process_that_does(
    given: dict[str, Any], trouble: str
) -> None:
    multimodal = SimpleNamespace(**{"mm_tensor_ipc": "direct_rpc", "media_io_kwargs": {}, **given})
    config = SimpleNamespace(
        parallel_config=SimpleNamespace(world_size=1, data_parallel_size=1),
        model_config=SimpleNamespace(multimodal_config=multimodal),
    )
    with pytest.raises(UnexpectedError, match=trouble) if trouble else nullcontext():
        refuse(config)
