"""The options of process 1, whatever the engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from slipway_runtime.compiled.cache import CompileCache
from slipway_runtime.contract.pod import RUNTIME_PORT
from slipway_runtime.failure import Failure
from slipway_runtime.supervisor.timeouts import Timeouts


@dataclass(frozen=True, kw_only=True)
class Options:
    timeouts: Timeouts = field(default_factory=Timeouts)
    host: str = "0.0.0.0"  # noqa: S104 - the kubelet connects from outside
    port: int = RUNTIME_PORT
    stuck_after: float = 24.0  # with the interval of the checks and their timeout, a stuck engine is found within 30 s
    only_warm: bool = False  # exits as soon as the engine is ready, and what it has compiled is published
    compiled: CompileCache = field(default_factory=lambda: CompileCache.off("The engine compiles nothing."))
    environment: Callable[[], Mapping[str, str]] = dict  # variables that are known once the compile cache was read
    about: Mapping[str, object] = field(default_factory=dict)  # what /info adds
    afterwards: Callable[[Callable[[str], None]], Failure | None] | None = None
    """Called with the log at the end, once `only_warm` has succeeded and the engine has ended."""
    memory_in_use: Callable[[], list[dict[str, object]]] = list  # by device; called once the engine is ready
