"""The small parts of the fast start, each without vLLM."""

from __future__ import annotations

import gc
import json
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from slipway_runtime.faststart import device_copy, loading, page_cache, triton_key, wanted
from slipway_runtime.faststart.adapters.parts import UnexpectedError, expect, expect_uses
from slipway_runtime.faststart.collector import Collector
from slipway_runtime.faststart.launcher import environments
from slipway_runtime.faststart.news import Event, News
from slipway_runtime.faststart.pair import CORE, SERVER, Progress
from slipway_runtime.faststart.settings import Settings

HEADER = b'{"__metadata__":{},"w":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}'
WEIGHTS = struct.pack("<Q", len(HEADER)) + HEADER + b"\1\2\3\4"


class FakeCuda:
    """libcuda with a memory of its own, in which an address is a number of bytes from 0."""

    def __init__(self, free: int = 1 << 20, failing: str = "") -> None:
        self.memory, self.free_bytes, self.failing = bytearray(1 << 16), free, failing
        self.next, self.freed = 256, list[int]()

    def __getattr__(self, name: str) -> Callable[..., int]:
        if name == self.failing:
            return lambda *_: 2
        return (
            getattr(type(self), f"_{name}", lambda *_: 0).__get__(self)
            if hasattr(type(self), f"_{name}")
            else (lambda *_: 0)
        )

    def _cuMemGetInfo_v2(self, free: Any, total: Any) -> int:  # noqa: N802
        free._obj.value = self.free_bytes
        return 0

    def _cuMemAlloc_v2(self, address: Any, size: Any) -> int:  # noqa: N802
        address._obj.value, self.next = self.next, self.next + size.value
        return 0

    def _cuMemcpyHtoD_v2(self, address: Any, source: Any, size: Any) -> int:  # noqa: N802
        import ctypes  # noqa: PLC0415

        self.memory[address.value : address.value + size.value] = ctypes.string_at(source.value, size.value)
        return 0

    def _cuMemFree_v2(self, address: Any) -> int:  # noqa: N802
        self.freed.append(address.value)
        return 0


@pytest.fixture
def weights(tmp_path: Path) -> str:
    file = tmp_path / "model.safetensors"
    file.write_bytes(WEIGHTS)
    return str(file)


def copied(files: list[str], cuda: FakeCuda, said: list[str]) -> device_copy.Copy:
    copy = device_copy.Copy()
    copy.run(files, said.append, lambda: device_copy.Driver(lambda _: cuda))
    return copy


def test_weights_arrive_on_the_device_byte_by_byte(weights: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_copy, "PIECE", 4096)
    Path(weights).write_bytes(bytes(range(256)) * 40)
    cuda = FakeCuda()
    [memory] = copied([weights], cuda, []).take([weights]) or []
    assert cuda.memory[memory.address : memory.address + memory.size] == bytes(range(256)) * 40


def test_the_devices_memory_is_freed_with_its_last_user(weights: str) -> None:
    cuda = FakeCuda()
    memories = copied([weights], cuda, []).take([weights])
    assert not cuda.freed
    del memories
    assert cuda.freed == [256]


@pytest.mark.parametrize(
    ("cuda", "reason"),
    [
        (FakeCuda(free=len(WEIGHTS)), "they would not fit twice"),
        (FakeCuda(failing="cuInit"), "cuInit fails with error 2"),
        (FakeCuda(failing="cuMemcpyHtoD_v2"), "cuMemcpyHtoD_v2 fails with error 2"),
    ],
    ids=["too little memory", "no device", "a copy fails"],
)
def test_what_cannot_be_copied_is_left_to_vllm(weights: str, cuda: FakeCuda, reason: str) -> None:
    said: list[str] = []
    assert copied([weights], cuda, said).take([weights]) is None
    assert reason in said[-1]


def test_files_that_were_not_copied_are_left_to_vllm(weights: str) -> None:
    assert copied([weights], FakeCuda(), []).take(["/other"]) is None


def test_a_driver_that_is_not_there_is_no_failure(weights: str) -> None:
    said: list[str] = []
    copy = device_copy.Copy()
    copy.run([weights], said.append, lambda: device_copy.Driver(lambda _: (_ for _ in ()).throw(OSError("no libcuda"))))
    assert copy.take([weights]) is None
    assert "no libcuda" in said[-1]


@pytest.fixture
def loader() -> SimpleNamespace:
    return SimpleNamespace(safetensors_weights_iterator=lambda files, *_: iter([("by vLLM", files)]))


def test_the_loader_is_handed_the_tensors_of_the_device(
    weights: str, loader: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", fake_torch())
    loading.take_weights_from(copied([weights], FakeCuda(), []), loader, say=lambda _: None)
    [(name, tensor)] = loader.safetensors_weights_iterator([weights], False)
    assert name == "w"
    begin = 8 + len(HEADER)
    assert tensor == (begin, begin + 4, "bfloat16", (2,))


@pytest.mark.parametrize("content", [WEIGHTS.replace(b"BF16", b"F4_X"), WEIGHTS], ids=["unknown type", "other files"])
def test_what_it_does_not_understand_is_read_as_ever(
    weights: str, loader: SimpleNamespace, content: bytes, tmp_path: Path
) -> None:
    other = tmp_path / "other.safetensors"
    other.write_bytes(content)
    loading.take_weights_from(copied([weights], FakeCuda(), []), loader, say=lambda _: None)
    assert list(loader.safetensors_weights_iterator([str(other)], False)) == [("by vLLM", [str(other)])]


def fake_torch() -> Any:
    class Tensor:
        def __init__(self, *seen: object) -> None:
            self.seen = seen

        def __getitem__(self, piece: slice) -> Tensor:
            return Tensor(piece.start, piece.stop)

        def view(self, how: object) -> Any:
            seen = (*self.seen, tuple(how) if isinstance(how, list) else how)
            return Tensor(*seen) if len(seen) < 4 else seen

    return SimpleNamespace(as_tensor=lambda memory, device: Tensor(), bfloat16="bfloat16")


def test_a_file_that_is_gone_stops_no_reading(weights: str, tmp_path: Path) -> None:
    page_cache.read_ahead(["/gone", weights], tmp_path).join(10)
    page_cache.until_asked(tmp_path)
    assert (tmp_path / page_cache.ASKED).exists()


def test_nobody_waits_for_ever_for_files_to_be_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_cache, "PATIENCE", 0.0)
    page_cache.until_asked(tmp_path)


def test_libraries_and_compiled_modules_of_a_process_are_noted(tmp_path: Path) -> None:
    environment = {wanted.ENVIRONMENT: f"{tmp_path}/wanted"}
    wanted.note("core", environment)
    noted = list(wanted.noted(environment))
    assert getattr(json.__spec__, "cached", None) in noted
    assert any(Path(name).name.startswith("libc.so") for name in noted)
    assert len(noted) == len(set(noted))
    assert all(Path(name).is_file() for name in noted)


def test_notes_are_taken_once_for_a_cache_and_read_for_both_processes(tmp_path: Path) -> None:
    environment = {wanted.ENVIRONMENT: f"{tmp_path}/wanted"}
    (tmp_path / "wanted-core").write_text("/first\n/both\n")
    (tmp_path / "wanted-server").write_text("/both\n/second\n")
    wanted.note("core", environment)
    assert list(wanted.noted(environment)) == ["/first", "/both", "/second"]


@pytest.mark.parametrize("environment", [{}, {wanted.ENVIRONMENT: "/proc/nowhere/wanted"}], ids=["none", "read-only"])
def test_without_a_cache_to_write_to_nothing_is_noted(environment: dict[str, str]) -> None:
    wanted.note("core", environment)
    assert not list(wanted.noted(environment))


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    collector.hold()
    yield collector
    collector.release()
    gc.unfreeze()


def test_nothing_is_collected_during_a_start(collector: Collector) -> None:
    assert not gc.isenabled()
    assert gc.collect(2) == 0


def test_after_it_the_collector_works_and_leaves_alone_what_is_there(collector: Collector) -> None:
    collector.release()
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0
    gc.collect()
    assert gc.collect.__module__ == "gc"


def test_tritons_answer_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(["abc", "another"])
    for _ in range(2):  # two starts
        holder = SimpleNamespace(triton_key=lambda: next(answers))
        for name in triton_key.HOLDERS:
            monkeypatch.setitem(sys.modules, name, holder)
        triton_key.keep(str(tmp_path / "key"))
        assert holder.triton_key() == "abc"


def test_without_triton_there_is_nothing_to_keep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, triton_key.HOLDERS[0], None)
    triton_key.keep(str(tmp_path / "key"))
    assert not (tmp_path / "key").exists()


def test_it_serves_when_both_are_ready_and_mean_the_same() -> None:
    progress = Progress()
    for who in (CORE, SERVER):
        progress.hear(News(who, Event.FLAGS, "1"))
        assert not progress.serves
        progress.hear(News(who, Event.READY))
    assert progress.serves


def test_the_first_trouble_is_the_cause() -> None:
    progress = Progress()
    progress.hear(News(CORE, Event.GIVES_UP, "something is odd"))
    progress.blame("the server ended, too")
    assert progress.trouble == "the engine core finds that something is odd"


def test_keys_are_no_part_of_the_engine_cores_environment() -> None:
    found = environments(
        Settings(version="0.24.0", ordinary=()), {}, Path("/f"), {"VLLM_API_KEY": "x", "SLIPWAY_GUARD": "{}", "A": "1"}
    )
    assert not {"VLLM_API_KEY", "SLIPWAY_GUARD"} & set(found[CORE])
    assert {"VLLM_API_KEY", "SLIPWAY_GUARD"} < set(found[SERVER])


def test_what_is_expected_of_a_function_is_compared() -> None:
    def function(first: int, *, second: int = 0) -> None:
        first.bit_count()

    expect(function, "first", "second")
    expect_uses(function, "bit_count")
    with pytest.raises(UnexpectedError, match=r"takes \(first, second\), not \(first\)"):
        expect(function, "first")
    with pytest.raises(UnexpectedError, match="doesn't use bit_length"):
        expect_uses(function, "bit_length")
