"""Which of our ports belongs to which model: what the operator has written into the port table, and nothing else."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from slipway.api.model_key import ModelKey
from slipway.objects.kinds import Object
from slipway.observing.porttable import Claim, PortTable

logger = logging.getLogger(__name__)


class ListenerPorts:
    """`newest`: returns the ConfigMap of that name as it is now, if it exists."""

    def __init__(self, service: str, newest: Callable[[str], Object | None]) -> None:
        self._table, self._newest = PortTable(service), newest

    def concerns(self, config_map: Object) -> Iterable[ModelKey]:
        """The models that the change of a ConfigMap concerns, those first that have lost their port to another."""
        name = config_map["metadata"]["name"]
        claims = self._table.take(name, self._newest(name))
        return dict.fromkeys(ModelKey(claim.namespace, claim.name) for claim in claims)

    def port_of(self, claim: Claim) -> int | None:
        ports = self._table.ports_of(claim)
        if len(ports) > 1:
            key = f"{claim.namespace}/{claim.name}"
            logger.error(
                "The port table assigns it the ports %s: only %d is opened", ports, ports[0], extra={"key": key}
            )
        return ports[0] if ports else None
