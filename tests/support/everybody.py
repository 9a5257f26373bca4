"""Whoever asks is answered, on the port of KEDA and of the other replicas."""

from __future__ import annotations

from collections.abc import Mapping

from slipway.activator import peers, scaler
from slipway.activator.callers import Judge


async def _may_ask(address: str) -> bool | None:
    return True


EVERYBODY: Mapping[str, Judge] = {scaler.SERVICE: _may_ask, peers.SERVICE: _may_ask}
