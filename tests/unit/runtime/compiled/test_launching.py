"""How a start of vLLM gets its compile cache: the same entry for the fast and the ordinary start, and a folder for the
engine.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from slipway_runtime import cli, preflight, serving
from slipway_runtime.engines import vllm
from slipway_runtime.engines.engine import Launch, StartRefusedError
from slipway_runtime.engines.vllm import ENTRY_POINTS, FLAG_SOURCES, Installed
from slipway_runtime.faststart.hash_seed import ENVIRONMENT as HASH_SEED
from slipway_runtime.preflight import Host
from slipway_runtime.supervisor.options import Options
from support.builders.model_files import write_checkpoint

Starting = Any


@pytest.fixture
def starting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Starting]:
    """Prepares a start as process 1 does, without starting an engine."""
    for name in (FLAG_SOURCES[0], ENTRY_POINTS[0]):
        (tmp_path / "vllm" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "vllm" / name).write_text("")
    write_checkpoint(tmp_path / "model")
    monkeypatch.setattr(vllm, "installed", lambda: Installed(tmp_path / "vllm"))
    monkeypatch.setattr(preflight, "read_host", lambda _: Host(memory=64 << 30, shm=8 << 30, cache_free=9 << 30))
    monkeypatch.setattr(serving, "version_of", lambda *_: "0.32.0")
    monkeypatch.setenv("VLLM_CACHE_ROOT", str(tmp_path / "pod/vllm"))
    opened: list[Options] = []

    def prepare(*options: str, command: str = "serve") -> tuple[Launch, Options]:
        words = [command, "vllm", f"--model={tmp_path / 'model'}", "--device=cpu", *options]
        arguments = cli.parser().parse_args(words)
        arguments.flags = []
        launch, prepared = serving._prepared(arguments)
        prepared.compiled.wait()
        opened.append(prepared)
        return launch, prepared

    yield prepare
    for each in opened:
        each.compiled.close()


def test_the_engine_reads_and_writes_in_the_pods_own_folder(starting: Starting, tmp_path: Path) -> None:
    launch, options = starting(f"--cache={tmp_path / 'store'}")
    folders = [launch.environment[name] for name in vllm.CACHES]
    assert all(folder.startswith(f"{tmp_path}/pod/compiled/files/") for folder in folders)
    assert options.compiled.report.state == "Filling"


def test_the_ordinary_start_has_the_same_entry_and_hash_seed(starting: Starting, tmp_path: Path) -> None:
    fast, options = starting(f"--cache={tmp_path / 'store'}")
    seed = options.environment()
    options.compiled.close()
    ordinary, others = starting(f"--cache={tmp_path / 'store'}", "--start=ordinary")
    assert options.compiled.report.key == others.compiled.report.key
    assert "faststart" in " ".join(fast.command)
    assert "faststart" not in " ".join(ordinary.command)
    assert ordinary.environment["VLLM_USE_AOT_COMPILE"] == "0"
    assert 0 < int(seed[HASH_SEED]) < 2**32


def test_the_hash_seed_stays_the_same_within_an_entry(starting: Starting, tmp_path: Path) -> None:
    _, options = starting(f"--cache={tmp_path / 'store'}")
    assert options.environment() == options.environment()


def test_without_a_store_nothing_is_changed(starting: Starting, tmp_path: Path) -> None:
    launch, options = starting()
    assert launch.environment["VLLM_CACHE_ROOT"] == os.environ["VLLM_CACHE_ROOT"]
    assert (options.compiled.report.state, options.environment()) == ("Off", {})
    assert not (tmp_path / "pod").exists()


def test_warming_needs_a_store(starting: Starting) -> None:
    with pytest.raises(StartRefusedError, match="--cache is missing"):
        starting(command="warm")
