"""Runs the checks, one after the other, until one fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from slipway_runtime.failure import Failure
from slipway_runtime.models import Facts
from slipway_runtime.preflight.checks import CHECKS
from slipway_runtime.preflight.host import Host
from slipway_runtime.preflight.settings import EngineSettings

PHASE = "preflight"

Check = Callable[[EngineSettings, Facts, Host], Failure | None]


@dataclass(frozen=True)
class Finding:
    """What one check found, and how long it took."""

    check: str
    failure: Failure | None
    trouble: str  # why the check itself failed, which stops nothing
    seconds: float


def run(settings: EngineSettings, facts: Facts, host: Host) -> Failure | None:
    """Returns the first failure, if there is one."""
    return next((finding.failure for finding in examine(settings, facts, host) if finding.failure), None)


def examine(
    settings: EngineSettings,
    facts: Facts,
    host: Host,
    checks: Sequence[Check] = CHECKS,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Finding]:
    """Yields every check's finding, up to the first failure."""
    for check in checks:
        began, failure, trouble = clock(), None, ""
        try:
            failure = check(settings, facts, host)
        except Exception as error:  # a bug in a check must not keep a model from being served
            trouble = f"{type(error).__name__}: {error}"
        name = check.__name__.replace("_", " ")
        yield Finding(name, failure and replace(failure, phase=PHASE), trouble, clock() - began)
        if failure:
            return
