"""The small parts of the fast start, each without vLLM."""

from __future__ import annotations

import gc
import json
import mmap
import os
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from slipway_runtime.faststart import device_copy, loading, page_cache, read_ahead_notes, triton_names
from slipway_runtime.faststart.adapters.parts import UnexpectedError, expect, expect_uses
from slipway_runtime.faststart.child_messages import ChildEvent, ChildMessage
from slipway_runtime.faststart.gc_control import GcControl
from slipway_runtime.faststart.page_cache import Piece
from slipway_runtime.faststart.pair import CORE, SERVER, Progress

MIB = 1 << 20
HEADER = b'{"__metadata__":{},"w":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}'
WEIGHTS = struct.pack("<Q", len(HEADER)) + HEADER + b"\1\2\3\4"


class FakeCuda:
    """libcuda with memory of its own, in which an address is an offset in bytes."""

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


def copied(files: list[str], cuda: FakeCuda, log: list[str]) -> device_copy.Copy:
    copy = device_copy.Copy()
    copy.run(files, log.append, lambda: device_copy.CudaDriver(lambda _: cuda))
    return copy


def test_weights_arrive_on_the_device_byte_for_byte(weights: str, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_forked_process_never_frees_the_devices_memory(weights: str) -> None:
    cuda = FakeCuda()
    memories = copied([weights], cuda, []).take([weights])
    process = os.fork()
    if process == 0:
        del memories
        os._exit(len(cuda.freed))
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
    assert memories


@pytest.mark.parametrize(
    ("cuda", "reason"),
    [
        (FakeCuda(free=len(WEIGHTS)), "they would not fit twice"),
        (FakeCuda(failing="cuInit"), "cuInit fails with error 2"),
        (FakeCuda(failing="cuMemcpyHtoD_v2"), "cuMemcpyHtoD_v2 fails with error 2"),
    ],
    ids=["too little memory", "no device", "a copy fails"],
)
def test_weights_that_cannot_be_copied_are_left_to_vllm(weights: str, cuda: FakeCuda, reason: str) -> None:
    log: list[str] = []
    assert copied([weights], cuda, log).take([weights]) is None
    assert reason in log[-1]


def test_files_that_were_not_copied_are_left_to_vllm(weights: str) -> None:
    assert copied([weights], FakeCuda(), []).take(["/other"]) is None


def test_a_missing_driver_is_not_a_failure(weights: str) -> None:
    log: list[str] = []
    copy = device_copy.Copy()
    copy.run(
        [weights], log.append, lambda: device_copy.CudaDriver(lambda _: (_ for _ in ()).throw(OSError("no libcuda")))
    )
    assert copy.take([weights]) is None
    assert "no libcuda" in log[-1]


@pytest.fixture
def loader() -> SimpleNamespace:
    return SimpleNamespace(safetensors_weights_iterator=lambda files, *_: iter([("by vLLM", files)]))


def test_the_loader_gets_the_tensors_on_the_device(
    weights: str, loader: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", fake_torch())
    loading.take_weights_from(copied([weights], FakeCuda(), []), loader, say=lambda _: None)
    [(name, tensor)] = loader.safetensors_weights_iterator([weights], False)
    assert name == "w"
    offset = 8 + len(HEADER)
    assert tensor == (offset, offset + 4, "bfloat16", (2,))


@pytest.mark.parametrize("content", [WEIGHTS.replace(b"BF16", b"F4_X"), WEIGHTS], ids=["unknown type", "other files"])
def test_a_file_that_is_not_understood_is_read_as_usual(
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


def test_a_missing_file_does_not_stop_the_read_ahead(weights: str, tmp_path: Path) -> None:
    page_cache.read_ahead([Piece.whole("/gone"), Piece.whole(weights)], tmp_path).join(10)
    page_cache.until_read(tmp_path)
    assert (tmp_path / page_cache.READ).exists()


def test_read_ahead_is_not_waited_for_without_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_cache, "PATIENCE", 0.0)
    page_cache.until_read(tmp_path)


def test_modules_are_recorded_as_they_are_compiled(tmp_path: Path) -> None:
    environment = {read_ahead_notes.ENVIRONMENT: f"{tmp_path}/wanted"}
    read_ahead_notes.note("core", environment)
    file = getattr(json.__spec__, "cached", "")
    file = file if Path(file).exists() else json.__file__
    assert Piece.whole(file) in read_ahead_notes.noted(environment)


def test_touched_pages_of_libraries_are_recorded(tmp_path: Path) -> None:
    environment = {read_ahead_notes.ENVIRONMENT: f"{tmp_path}/wanted"}
    library = tmp_path / "library"
    library.write_bytes(bytes(16 * MIB))
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert not mapped[8 * MIB]
        read_ahead_notes.note("core", environment)
    [piece] = [piece for piece in read_ahead_notes.noted(environment) if piece.path == str(library)]
    assert piece.start <= 8 * MIB < piece.start + piece.size
    assert piece.size <= 4 * MIB  # the kernel maps the pages around it, too


def test_ranges_that_are_close_together_are_read_as_one() -> None:
    assert list(read_ahead_notes.runs([1, 2, 5, 500, 501])) == [(1, 6), (500, 502)]
    assert list(read_ahead_notes.runs([])) == []


def test_recordings_are_made_once_per_cache_and_read_for_both_processes(tmp_path: Path) -> None:
    environment = {read_ahead_notes.ENVIRONMENT: f"{tmp_path}/wanted"}
    (tmp_path / "wanted-core").write_text("0 1 /first\n0 1 /both\n")
    (tmp_path / "wanted-server").write_text("0 1 /both\n4096 2 /a name\n")
    read_ahead_notes.note("core", environment)
    assert read_ahead_notes.noted(environment) == [
        Piece(0, 1, "/first"),
        Piece(0, 1, "/both"),
        Piece(4096, 2, "/a name"),
    ]


@pytest.mark.parametrize(
    "environment", [{}, {read_ahead_notes.ENVIRONMENT: "/proc/nowhere/wanted"}], ids=["none", "read-only"]
)
def test_without_a_writable_cache_nothing_is_recorded(environment: dict[str, str]) -> None:
    read_ahead_notes.note("core", environment)
    assert not list(read_ahead_notes.noted(environment))


@pytest.fixture
def collector() -> Iterator[GcControl]:
    collector = GcControl()
    collector.hold()
    yield collector
    collector.release()
    gc.unfreeze()


def test_the_collector_is_off_during_a_start(collector: GcControl) -> None:
    assert not gc.isenabled()
    assert gc.collect(2) == 0


def test_after_the_start_the_collector_works_and_ignores_what_already_exists(collector: GcControl) -> None:
    collector.release()
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0
    gc.collect()
    assert gc.collect.__module__ == "gc"


def test_tritons_result_is_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(["abc", "another"])
    for _ in range(2):  # two starts
        holder = SimpleNamespace(triton_key=lambda: next(answers))
        for name in triton_names.HOLDERS:
            monkeypatch.setitem(sys.modules, name, holder)
        triton_names.keep_key(str(tmp_path / "key"))
        assert holder.triton_key() == "abc"


def test_without_triton_there_is_nothing_to_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, triton_names.HOLDERS[0], None)
    triton_names.keep_key(str(tmp_path / "key"))
    assert not (tmp_path / "key").exists()


@pytest.mark.parametrize(
    ("given", "chosen"), [({}, "torch's"), ({"TRITON_PTXAS_PATH": "/own"}, "/own")], ids=["none given", "one given"]
)
def test_kernels_are_compiled_and_named_with_the_same_ptxas_from_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, str], chosen: str
) -> None:
    ptxas = tmp_path / "torch/bin/ptxas"
    ptxas.parent.mkdir(parents=True)
    ptxas.touch()
    (tmp_path / "torch/__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    triton_names.choose_ptxas(given)
    assert given == {"TRITON_PTXAS_PATH": str(ptxas) if chosen == "torch's" else chosen}


def test_a_torch_without_ptxas_leaves_the_choice_to_triton(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch/__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    environment: dict[str, str] = {}
    triton_names.choose_ptxas(environment)
    assert not environment


def test_it_serves_when_both_are_ready_and_agree() -> None:
    progress = Progress()
    for process in (CORE, SERVER):
        progress.receive(ChildMessage(process, ChildEvent.FLAGS, "1"))
        assert not progress.serves
        progress.receive(ChildMessage(process, ChildEvent.READY))
    assert progress.serves


def test_the_first_problem_is_the_cause() -> None:
    progress = Progress()
    progress.receive(ChildMessage(CORE, ChildEvent.GIVES_UP, "something is odd"))
    progress.fail("the server ended, too")
    assert progress.trouble == "the engine core reports that something is odd"


def test_messages_that_are_not_understood_end_the_fast_start() -> None:
    progress = Progress()
    progress.receive(ChildMessage.read(CORE, "hello world\n"))
    assert progress.trouble == r"the engine core reports that its message 'hello world\n' has no known form"


def test_a_functions_signature_is_compared_with_the_expected_one() -> None:
    def function(first: int, *, second: int = 0) -> None:
        first.bit_count()

    expect(function, "first", "second")
    expect_uses(function, "bit_count")
    with pytest.raises(UnexpectedError, match=r"takes \(first, second\), not \(first\)"):
        expect(function, "first")
    with pytest.raises(UnexpectedError, match="doesn't use bit_length"):
        expect_uses(function, "bit_length")
