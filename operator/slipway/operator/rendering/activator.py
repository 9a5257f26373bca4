"""Which activator holds the requests of a model while none of its replicas is ready."""

from __future__ import annotations

from typing import NamedTuple

from slipway.api.names import ACTIVATOR_SERVICE
from slipway.observing.snapshot import Snapshot


class ChosenActivator(NamedTuple):
    service: str  # KEDA queries it, too; its ServiceAccount has the same name
    addresses: tuple[str, ...] | None  # of its ready replicas; None: no activator is installed
    port: int | None  # the port of this model, once it has one

    @property
    def is_installed(self) -> bool:
        return self.addresses is not None


def activator_for(snapshot: Snapshot) -> ChosenActivator:
    """The activator whose port the model has; before it has one, the first that is installed."""
    if snapshot.port:
        service, port = snapshot.port
        return ChosenActivator(service, snapshot.activators.get(service), port)
    service = next(iter(snapshot.activators), ACTIVATOR_SERVICE)
    return ChosenActivator(service, snapshot.activators.get(service), None)
