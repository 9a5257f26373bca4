"""With a real vLLM, the second start compiles nothing, whatever differs that has no effect on compiled code; and what
does have an effect is compiled again. Each start has a scratch folder of its own, as on another node.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from slipway_runtime.compiled.eviction import UNFINISHED
from support.builders.model_files import write_adapter, write_checkpoint
from support.programs.vllm_warming import Warmed, Warming

pytestmark = pytest.mark.timeout(3600)

Start = Callable[..., Warmed]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("model"), max_position_embeddings=4096)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, python: Path, model: Path) -> Path:
    """A store that one start has filled."""
    folder = tmp_path_factory.mktemp("filled")
    started = Warming(python=python, model=model, store=folder / "store", folder=folder / "pod").run()
    show("empty store", started)
    assert (started.code, started.state) == (0, "Filling"), started.log
    assert "files were published" in started.reasons
    return folder / "store"


@pytest.fixture
def store(tmp_path: Path, filled: Path) -> Path:
    """A copy of the filled store, for this test alone."""
    shutil.copytree(filled, tmp_path / "store", copy_function=shutil.copy2)
    return tmp_path / "store"


@pytest.fixture
def start(tmp_path: Path, python: Path, model: Path, store: Path) -> Start:
    def run(*options: str, flags: tuple[str, ...] = (), **changed: object) -> Warmed:
        pod = Warming(python=python, model=model, store=store, folder=tmp_path / "pod")
        started = Warming(**{**vars(pod), **changed}).run(*options, flags=flags)
        show(os.environ.get("PYTEST_CURRENT_TEST", "").partition("::")[2], started)
        return started

    return run


def show(what: str, started: Warmed) -> None:
    """Prints what docs/start-and-stop.md has in its table, for `pytest -s`."""
    sys.stdout.write(f"\n{what}: ready after {started.seconds} s, {started.state}. {started.reasons}\n")


def compiled_nothing(started: Warmed) -> bool:
    return (started.code, started.state, started.compiled) == (0, "Used", "") and "can't" not in started.reasons


@pytest.mark.parametrize("way", ["fast", pytest.param("ordinary", marks=pytest.mark.slow)])
def test_another_pod_compiles_nothing_with_another_name_key_port_host_and_size_of_the_kv_cache(
    start: Start, way: str
) -> None:
    """The port differs in each start anyway, as does the scratch folder."""
    another_host = ("unshare", "--uts", "sh", "-c", 'hostname another && exec "$@"', "sh") if os.geteuid() == 0 else ()
    started = start(
        *("--served-name=another", "--allow=VLLM_API_KEY", f"--start={way}", "--max-in-flight=7"),
        prefix=another_host,
        variables={"VLLM_API_KEY": "rotated", "VLLM_CPU_KVCACHE_SPACE": "2", "HOSTNAME": "another"},
    )
    assert compiled_nothing(started), started.log


@pytest.mark.slow
def test_a_kv_cache_of_another_number_of_blocks_compiles_nothing(start: Start) -> None:
    """As after a new plan, whose size differs by a few MiB."""
    assert compiled_nothing(start(flags=("--num-gpu-blocks-override=1000",)))


@pytest.mark.slow
def test_another_adapter_compiles_nothing(start: Start, tmp_path: Path) -> None:
    paths = [write_adapter(tmp_path / name) for name in ("first", "second")]
    flags = [("--enable-lora", "--lora-modules", f'{{"name": "{path.name}", "path": "{path}"}}') for path in paths]
    first = start(flags=flags[0])
    assert "--enable-lora is , and was not set" in first.reasons
    assert "files were published" in first.reasons
    assert compiled_nothing(start(flags=flags[1]))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flag", "difference"),
    [
        ("--dtype=float32", "--dtype is float32, and was not set"),
        ("--max-model-len=2048", "--max-model-len is 2048, and was not set"),
        ("--max-num-batched-tokens=4096", "--max-num-batched-tokens is 4096, and was not set"),
    ],
)
def test_flags_with_an_effect_on_compiled_code_compile_again(start: Start, flag: str, difference: str) -> None:
    started = start(flags=(flag,))
    assert (started.code, started.state) == (0, "Filling"), started.log
    assert difference in started.reasons
    assert compiled_nothing(start(flags=(flag,)))


@pytest.mark.slow
def test_another_configuration_of_the_model_compiles_again(start: Start, model: Path, tmp_path: Path) -> None:
    another = tmp_path / "model"
    shutil.copytree(model, another)
    config = json.loads((another / "config.json").read_text())
    (another / "config.json").write_text(json.dumps({**config, "rope_theta": 500000.0}))
    started = start(model=another)
    assert (started.code, started.state) == (0, "Filling"), started.log
    assert "model is " in started.reasons


@pytest.mark.slow
def test_a_damaged_entry_is_compiled_again_and_replaced(start: Start, store: Path) -> None:
    [content] = store.glob("*/content-*.tar")
    damaged = bytearray(content.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    content.write_bytes(damaged)
    started = start()
    assert (started.code, started.state) == (0, "Filling"), started.log
    assert "its content has another digest than its manifest names" in started.reasons
    assert compiled_nothing(start())


@pytest.mark.slow
def test_a_pod_that_is_killed_while_it_publishes_leaves_no_entry_and_the_next_one_fills_it(
    tmp_path: Path, python: Path, model: Path
) -> None:
    pod = Warming(python=python, model=model, store=tmp_path / "store", folder=tmp_path / "pod")
    killed = pod.killed(lambda: bool(list((tmp_path / "store").glob(f"*/{UNFINISHED}*"))))
    assert killed.code < 0
    assert not list((tmp_path / "store").glob("*/manifest.json"))
    started = pod.run()
    show("after a pod that was killed", started)
    assert (started.code, started.state) == (0, "Filling"), started.log
    assert compiled_nothing(pod.run())


@pytest.mark.slow
@needs_root
def test_a_read_only_store_is_used(start: Start, store: Path) -> None:
    with mounted(store, "--bind", str(store)), mounted(store, "--options=remount,bind,ro", unmount=False):
        started = start()
    assert compiled_nothing(started), started.log


@pytest.mark.slow
@needs_root
def test_a_read_only_store_without_an_entry_costs_only_the_compilation(start: Start, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with mounted(empty, "--types=tmpfs", "--options=ro", "tmpfs"):
        started = start(store=empty)
    assert (started.code, started.state) == (3, "Filling"), started.log
    assert "Read-only file system" in started.reasons


@pytest.mark.slow
@needs_root
def test_a_full_store_costs_only_the_compilation(start: Start, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    with mounted(small, "--types=tmpfs", "--options=size=1m", "tmpfs"):
        started = start(store=small)
        assert not list(small.glob("*/*"))
    assert (started.code, started.state) == (3, "Filling"), started.log
    assert "is full" in started.reasons


@pytest.mark.slow
def test_two_pods_that_fill_the_store_at_once_leave_an_entry_that_a_third_one_uses(
    tmp_path: Path, python: Path, model: Path
) -> None:
    pods = [
        Warming(python=python, model=model, store=tmp_path / "store", folder=tmp_path / name)
        for name in ("first", "second", "third")
    ]
    running = [pod.start() for pod in pods[:2]]
    for process, log in running:
        assert process.wait(3000) == 0, log.read_text()
        show("two at once", Warmed(0, log.read_text()))
    third = pods[2].run()
    show("after two at once", third)
    assert compiled_nothing(third), third.log


@contextmanager
def mounted(place: Path, *arguments: str, unmount: bool = True) -> Iterator[None]:
    subprocess.run(["mount", *arguments, str(place)], check=True)
    try:
        yield
    finally:
        if unmount:
            subprocess.run(["umount", str(place)], check=True)
