"""Copies a model's files into a GPU's memory while Python imports the modules that will use them.

Each thread gives the kernel and the CUDA driver long pieces of work that run without the interpreter's lock: reading a
piece of a file into the page cache, and copying it. The driver's context is the one that torch uses later. If anything
fails here, vLLM loads the weights in its own way.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

PIECE = 512 << 20  # bytes; a thread needs the interpreter's lock twice per piece
THREADS = 8
ROOM = 1.15  # the weights are there twice for a while, as files and as parameters; with a margin for the rest
POPULATE_READ = 22  # MADV_POPULATE_READ: fails on kernels older than 5.14, which does no harm


class CudaError(Exception):
    pass


class CudaDriver:
    """The few functions of libcuda that are needed."""

    def __init__(self, load: Callable[[str], Any] = ctypes.CDLL) -> None:
        self._cuda = load("libcuda.so.1")
        device, self._context = ctypes.c_int(), ctypes.c_void_p()
        self._call("cuInit", ctypes.c_uint(0))
        self._call("cuDeviceGet", ctypes.byref(device), ctypes.c_int(0))
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(self._context), device)
        self.use()

    def use(self) -> None:
        """Makes the context current in the calling thread."""
        self._call("cuCtxSetCurrent", self._context)

    def free_memory(self) -> int:
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self._call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return free.value

    def allocate(self, size: int) -> int:
        address = ctypes.c_uint64()
        self._call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(size))
        return address.value

    def free(self, address: int) -> None:
        self.use()
        self._call("cuMemFree_v2", ctypes.c_uint64(address))

    def copy(self, address: int, source: int, size: int) -> None:
        self._call("cuMemcpyHtoD_v2", ctypes.c_uint64(address), ctypes.c_void_p(source), ctypes.c_size_t(size))

    def synchronize(self) -> None:
        self._call("cuCtxSynchronize")

    def _call(self, function: str, *arguments: object) -> None:
        code = getattr(self._cuda, function)(*arguments)
        if code != 0:
            raise CudaError(f"{function} fails with error {code}")


class DeviceMemory:
    """One file in the device's memory, in a form that torch can adopt: freed together with the last tensor in it."""

    def __init__(self, driver: CudaDriver, size: int) -> None:
        self._driver, self.size, self._owner = driver, size, os.getpid()
        self.address = driver.allocate(size)
        self.__cuda_array_interface__ = {
            "shape": (size,),
            "typestr": "|u1",
            "data": (self.address, False),
            "version": 3,
        }

    def __del__(self) -> None:
        address = getattr(self, "address", 0)
        if address and self._owner == os.getpid():  # the memory is not that of a forked process, nor is the driver
            self._driver.free(address)


class Copy:
    """The copy of a model's files, from its start until the loader takes them."""

    def __init__(self) -> None:
        self._files: Future[dict[str, DeviceMemory]] = Future()

    def run(
        self,
        files: Sequence[str],
        say: Callable[[str], None],
        driver: Callable[[], CudaDriver] = CudaDriver,
        wait: Callable[[], object] = lambda: None,
    ) -> None:
        """Copies the files; calls `wait` when everything is prepared and only the reading is left."""
        try:
            copied = _copy(files, driver(), wait)
            say(f"has copied {sum(file.size for file in copied.values()) / 2**30:.1f} GiB of weights to the device")
            self._files.set_result(copied)
        except Exception as error:
            say(f"has not copied the weights early: {error}")
            self._files.set_result({})

    def take(self, files: Sequence[str]) -> list[DeviceMemory] | None:
        """Waits for the copies and hands them over once; returns None if these are not the files that were copied."""
        copied = self._files.result()
        if set(files) != set(copied):
            return None
        return [copied.pop(file) for file in files]


def begin(files: Sequence[str], *, say: Callable[[str], None], wait: Callable[[], object]) -> Copy:
    copy = Copy()
    threading.Thread(target=copy.run, args=(files, say, CudaDriver, wait), name="device-copy", daemon=True).start()
    return copy


def _copy(files: Sequence[str], driver: CudaDriver, wait: Callable[[], object]) -> dict[str, DeviceMemory]:
    sizes = {file: os.path.getsize(file) for file in files}  # noqa: PTH202 - plain strings for the kernel
    if driver.free_memory() < 2 * ROOM * sum(sizes.values()):
        raise CudaError("they would not fit twice")
    memories = {file: DeviceMemory(driver, size) for file, size in sizes.items()}
    mapped = {file: _map(file, size) for file, size in sizes.items()}
    wait()
    pieces: queue.SimpleQueue[tuple[int, int, int]] = queue.SimpleQueue()
    for file, size in sizes.items():
        for start in range(0, size, PIECE):
            pieces.put((memories[file].address + start, mapped[file] + start, min(PIECE, size - start)))
    _in_threads(driver, pieces)
    driver.synchronize()
    for file, size in sizes.items():
        _libc.munmap(mapped[file], size)
    return memories


def _in_threads(driver: CudaDriver, pieces: queue.SimpleQueue[tuple[int, int, int]]) -> None:
    errors: list[CudaError] = []

    def work() -> None:
        try:
            driver.use()
            while True:
                target, source, size = pieces.get_nowait()
                _libc.madvise(source, size, POPULATE_READ)
                driver.copy(target, source, size)
        except queue.Empty:
            return
        except CudaError as error:
            errors.append(error)

    threads = [threading.Thread(target=work, name=f"device-copy-{number}") for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def _map(path: str, size: int) -> int:
    """Maps a file by the C library: Python's mmap doesn't reveal the address of a read-only mapping."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        address = _libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_PRIVATE, file, 0)
    finally:
        os.close(file)
    if address in (None, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno(), f"{path} can't be mapped into memory")
    return int(address)


_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_long,
]
_libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
