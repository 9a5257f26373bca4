"""The facts that the checks compare: about the machine, and about the installed engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Version = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Device:
    """An accelerator that this container may use."""

    index: int
    name: str
    memory: int
    free_memory: int
    reserved: int = 0  # bytes that the driver keeps for itself: no program can use them
    capability: Version | None = None  # CUDA's compute capability
    faults: tuple[str, ...] = ()  # faults that it reports and that will end an engine
    warnings: tuple[str, ...] = ()

    @property
    def usable(self) -> int:
        return self.memory - self.reserved

    @property
    def used(self) -> int:
        return max(0, self.usable - self.free_memory)


@dataclass(frozen=True, kw_only=True)
class Support:
    """What the installed engine supports; nothing is refused because of what isn't known."""

    version: str = ""
    knows_architecture: Callable[[str], bool] = lambda _: True
    # architectures that earlier versions knew, and what became of them
    gone: Mapping[str, str] = field(default_factory=dict)
    quantizations: frozenset[str] = frozenset()
    cuda: Version | None = None  # the version that it was built for


@dataclass(frozen=True, kw_only=True)
class Host:
    devices: tuple[Device, ...] = ()
    driver: str = ""  # its version
    driver_cuda: Version | None = None  # the newest that the driver supports
    driver_trouble: str = ""  # why the driver couldn't be queried
    memory: int | None = None  # bytes that the container may use
    shm: int | None = None  # size of /dev/shm; None if it is not writable
    cache_free: int | None = None  # free bytes in the folder for caches; None if it is not writable
    support: Support = field(default_factory=Support)
