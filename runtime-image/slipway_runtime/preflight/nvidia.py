"""NVIDIA devices, as the driver's own library reports them; it needs no CUDA context, and takes milliseconds."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from slipway_runtime.preflight.host import Device, Version

LIBRARY = "libnvidia-ml.so.1"
ERRORS = {  # the errors of nvmlReturn_t that a start can meet
    1: "the driver's library was not initialized",
    4: "the container may not use the device",
    9: "the NVIDIA driver is not loaded on the node",
    12: "the NVIDIA driver's library lacks a function: it is too old",
    15: "the GPU has fallen off the bus",
    16: "the GPU needs a reset",
    18: "the driver and its library are of different versions: the node was updated without a reboot",
    19: "the driver cannot be reached from this container",
    999: "the driver reports an unknown error",
}
DEVICE_IS_BROKEN = (15, 16, 999)
MOST_MIG = 7


class NvmlError(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(ERRORS.get(code, f"NVML reports error {code}"))
        self.code = code


@dataclass(frozen=True, kw_only=True)
class DriverReport:
    version: str = ""
    cuda: Version | None = None
    devices: tuple[Device, ...] = ()
    trouble: str = ""


class _Memory(ctypes.Structure):
    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


class _MemoryWithReserve(ctypes.Structure):
    """`nvmlMemory_v2_t`: its version says how large it is."""

    _fields_ = (
        ("version", ctypes.c_uint),
        *((name, ctypes.c_ulonglong) for name in ("total", "reserved", "free", "used")),
    )


SECOND_VERSION = 2 << 24


def read_driver(visible: str | None, load: Callable[[str], Any] = ctypes.CDLL) -> DriverReport:
    """Returns the driver and the devices; `visible` is CUDA_VISIBLE_DEVICES, where it is set."""
    try:
        nvml = _Nvml(load(LIBRARY))
        nvml.call("nvmlInit_v2")
    except OSError as error:
        return DriverReport(trouble=f"the NVIDIA driver's library is missing ({error})")
    except (NvmlError, AttributeError) as error:
        return DriverReport(trouble=str(error))
    try:
        devices = tuple(nvml.devices(visible))
        return DriverReport(version=nvml.text("nvmlSystemGetDriverVersion"), cuda=nvml.cuda(), devices=devices)
    except (NvmlError, AttributeError) as error:
        return DriverReport(trouble=str(error))
    finally:
        nvml.call("nvmlShutdown")


class _Nvml:
    def __init__(self, library: Any) -> None:
        self._library = library

    def call(self, function: str, *arguments: object) -> None:
        code = getattr(self._library, function)(*arguments)
        if code != 0:
            raise NvmlError(code)

    def text(self, function: str, *arguments: object) -> str:
        buffer = ctypes.create_string_buffer(96)
        self.call(function, *arguments, buffer, ctypes.c_uint(len(buffer)))
        return buffer.value.decode(errors="replace")

    def number(self, function: str, *arguments: object) -> int:
        value = ctypes.c_int()
        self.call(function, *arguments, ctypes.byref(value))
        return value.value

    def cuda(self) -> Version:
        packed = self.number("nvmlSystemGetCudaDriverVersion_v2")
        return packed // 1000, packed % 1000 // 10

    def devices(self, visible: str | None) -> Iterator[Device]:
        for index in range(self.number("nvmlDeviceGetCount_v2")):
            handle = ctypes.c_void_p()
            try:
                self.call("nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(index), ctypes.byref(handle))
                if is_visible(index, self.text("nvmlDeviceGetUUID", handle), visible):
                    yield from self._device(index, handle)
            except NvmlError as error:
                if error.code in DEVICE_IS_BROKEN:
                    yield Device(index=index, name=f"GPU {index}", memory=0, free_memory=0, faults=(str(error),))

    def _device(self, index: int, handle: ctypes.c_void_p) -> Iterator[Device]:
        """Yields the device itself, or its MIG slices."""
        slices = list(self._slices(handle))
        for part in slices or [handle]:
            memory = _Memory()
            self.call("nvmlDeviceGetMemoryInfo", part, ctypes.byref(memory))
            yield Device(
                index=index,
                name=self.text("nvmlDeviceGetName", part if slices else handle),
                memory=memory.total,
                free_memory=memory.free,
                reserved=self._reserved(part),
                capability=self._capability(handle),
                faults=tuple(self._faults(handle)),
                warnings=tuple(self._warnings(handle)),
            )

    def _reserved(self, handle: ctypes.c_void_p) -> int:
        """Returns what is missing from CUDA's total; drivers before 510 don't say."""
        memory = _MemoryWithReserve(version=ctypes.sizeof(_MemoryWithReserve) | SECOND_VERSION)
        try:
            self.call("nvmlDeviceGetMemoryInfo_v2", handle, ctypes.byref(memory))
        except (NvmlError, AttributeError):
            return 0
        return int(memory.reserved)

    def _slices(self, handle: ctypes.c_void_p) -> Iterator[ctypes.c_void_p]:
        for number in range(MOST_MIG):
            part = ctypes.c_void_p()
            try:
                self.call("nvmlDeviceGetMigDeviceHandleByIndex", handle, ctypes.c_uint(number), ctypes.byref(part))
            except (NvmlError, AttributeError):
                continue
            yield part

    def _capability(self, handle: ctypes.c_void_p) -> Version:
        major, minor = ctypes.c_int(), ctypes.c_int()
        self.call("nvmlDeviceGetCudaComputeCapability", handle, ctypes.byref(major), ctypes.byref(minor))
        return major.value, minor.value

    def _faults(self, handle: ctypes.c_void_p) -> Iterator[str]:
        if self._remapped_rows(handle)[3]:
            yield "a damaged row of its memory could not be replaced by a spare one"

    def _warnings(self, handle: ctypes.c_void_p) -> Iterator[str]:
        if self._remapped_rows(handle)[2]:
            yield "a damaged row of its memory waits for a reset of the GPU to be replaced"

    def _remapped_rows(self, handle: ctypes.c_void_p) -> tuple[int, int, int, int]:
        """Returns corrected, uncorrected, pending and failed rows; GPUs without that kind of repair have none."""
        rows = [ctypes.c_uint() for _ in range(4)]
        try:
            self.call("nvmlDeviceGetRemappedRows", handle, *(ctypes.byref(row) for row in rows))
        except (NvmlError, AttributeError):
            return 0, 0, 0, 0
        corrected, uncorrected, pending, failed = (row.value for row in rows)
        return corrected, uncorrected, pending, failed


def is_visible(index: int, uuid: str, visible: str | None) -> bool:
    """Returns whether CUDA_VISIBLE_DEVICES includes the device; MIG slices have UUIDs of their own."""
    if visible is None:
        return True
    named = [name.strip() for name in visible.split(",") if name.strip()]
    return any(
        name == str(index) or name.startswith("MIG-") or (len(name) > 4 and uuid.startswith(name)) for name in named
    )
