"""What is known of the machine and of the engine that is installed: the facts that the checks compare."""

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
    capability: Version | None = None  # CUDA's compute capability
    faults: tuple[str, ...] = ()  # what it reports of itself that will end an engine
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Support:
    """What the installed engine can do; what isn't known refuses nothing."""

    version: str = ""
    knows_architecture: Callable[[str], bool] = lambda _: True
    gone: Mapping[str, str] = field(default_factory=dict)  # architectures that it knew once, and what became of them
    quantizations: frozenset[str] = frozenset()
    cuda: Version | None = None  # that it was built for


@dataclass(frozen=True, kw_only=True)
class Host:
    devices: tuple[Device, ...] = ()
    driver: str = ""  # its version
    driver_cuda: Version | None = None  # the newest that the driver can run
    driver_trouble: str = ""  # why it couldn't be asked
    memory: int | None = None  # what the container may use, in bytes
    shm: int | None = None  # size of /dev/shm; None if it can't be written to
    cache_free: int | None = None  # bytes free where caches go; None if it can't be written to
    support: Support = field(default_factory=Support)
