"""Callers of the activator's gRPC port (KEDA and the other replicas), all of whom are allowed."""

from __future__ import annotations

from collections.abc import Mapping

from slipway.activator.keda import peers, scaler
from slipway.activator.keda.caller_check import AddressCheck


async def _may_ask(address: str) -> bool | None:
    return True


ALLOW_EVERY_CALLER: Mapping[str, AddressCheck] = {scaler.SERVICE: _may_ask, peers.SERVICE: _may_ask}
