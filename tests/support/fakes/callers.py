"""Whoever asks is answered, on the port of KEDA and of the other replicas."""

from __future__ import annotations

from collections.abc import Mapping

from slipway.activator.keda import peers, scaler
from slipway.activator.keda.caller_check import AddressCheck


async def _may_ask(address: str) -> bool | None:
    return True


ALLOW_EVERY_CALLER: Mapping[str, AddressCheck] = {scaler.SERVICE: _may_ask, peers.SERVICE: _may_ask}
