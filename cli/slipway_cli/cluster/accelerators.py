"""What a cluster has of each accelerator, what of it is free, and which models hold it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slipway.objects.kinds import Object

from slipway_cli.cluster.state import State


@dataclass(frozen=True)
class Stock:
    """Of one profile, as the operator reports it; None: it doesn't say."""

    name: str
    vendor: str
    memory: str
    nodes: int | None
    devices: int | None
    free: int | None
    most_free_on_a_node: int | None
    per_hour: float | None
    growth: str
    message: str
    holders: tuple[str, ...]  # `NAMESPACE/NAME (2)`

    @property
    def is_there(self) -> bool:
        return bool(self.nodes or self.holders or self.growth)

    def as_members(self) -> dict[str, Any]:
        members = {
            "profile": self.name,
            "vendor": self.vendor,
            "memory": self.memory,
            "nodes": self.nodes,
            "devices": self.devices,
            "free": self.free,
            "mostFreeOnANode": self.most_free_on_a_node,
            "pricePerHour": self.per_hour,
            "growth": self.growth or None,
            "message": self.message or None,
            "holders": list(self.holders),
        }
        return {name: value for name, value in members.items() if value is not None}


def stock_of(profiles: Sequence[Object], llms: Sequence[Object]) -> list[Stock]:
    holders = _holders(llms)
    found = [_stock(each, holders.get(each["metadata"]["name"], [])) for each in profiles]
    return sorted(found, key=lambda each: (not each.is_there, each.name))


def _stock(profile: Object, holders: list[str]) -> Stock:
    spec, status = profile.get("spec") or {}, profile.get("status") or {}
    devices = status.get("devices") or {}
    return Stock(
        name=profile["metadata"]["name"],
        vendor=str(spec.get("vendor") or ""),
        memory=str(spec.get("memory") or ""),
        nodes=status.get("nodes", 0) if status else None,
        devices=devices.get("allocatable", 0) if status else None,
        free=devices.get("free"),
        most_free_on_a_node=devices.get("mostFreeOnANode"),
        per_hour=spec.get("costPerHour"),
        growth=str(status.get("growth") or ""),
        message=str(status.get("message") or ""),
        holders=tuple(holders),
    )


def _holders(llms: Sequence[Object]) -> Mapping[str, list[str]]:
    """By profile: the models with replicas there, by what their pods were made from, and how many devices they hold."""
    found: dict[str, list[str]] = {}
    for llm in llms:
        state = State(llm)
        source = state.status.get("made") or state.status.get("plan") or {}
        name, each = source.get("accelerator"), source.get("gpusPerReplica") or 0
        warming_up = int((state.status.get("replicas") or {}).get("warmingUp") or 0)
        replicas = max(state.desired, state.ready + warming_up)
        if name and replicas:
            found.setdefault(str(name), []).append(f"{state.namespace}/{state.name} ({replicas * max(1, each)})")
    return found
