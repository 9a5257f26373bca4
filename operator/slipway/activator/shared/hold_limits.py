"""How many requests for one model may wait, in how many bytes, and for how long: `spec.scaling.hold`. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from slipway.api import units
from slipway.api.scaling import HoldSpec
from slipway.observing.wake_estimate import hold_timeout

HEARTBEAT = 10.0  # seconds, for `heartbeat: Auto`


@dataclass(frozen=True, kw_only=True)
class HoldLimits:
    """`spec.scaling.hold` in numbers."""

    max_requests: int = 256
    max_bytes: int = 64 << 20
    timeout: float = 300.0
    heartbeat: float = HEARTBEAT

    @classmethod
    def of(
        cls,
        spec: HoldSpec,
        *,
        last_starts: Sequence[float] = (),
        model_bytes: float | None = None,
        start_limit: float | None = None,
    ) -> HoldLimits:
        """`start_limit`: seconds after which the plan counts a start as failed."""
        auto = spec.timeout == "Auto"
        return cls(
            max_requests=spec.max_requests,
            max_bytes=int(units.amount(spec.max_bytes)),
            timeout=hold_timeout(last_starts, model_bytes, start_limit) if auto else units.seconds(spec.timeout),
            heartbeat=HEARTBEAT if spec.heartbeat == "Auto" else units.seconds(spec.heartbeat),
        )
