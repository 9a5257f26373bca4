"""Which of our ports leads to which deployment: what the operator has written into the table, and nothing else."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from slipway.activator.shared.model_key import ModelKey
from slipway.kube.kinds import Object
from slipway.observing.porttable import Claim, PortTable

log = logging.getLogger(__name__)


class ListenerPorts:
    """`newest`: the ConfigMap of that name as it is now, if it is there."""

    def __init__(self, service: str, newest: Callable[[str], Object | None]) -> None:
        self._table, self._newest = PortTable(service), newest

    def concerns(self, config_map: Object) -> Iterable[ModelKey]:
        """What a watch tells of one: whom it concerns, those first that have lost their port to another."""
        name = config_map["metadata"]["name"]
        claims = self._table.take(name, self._newest(name))
        return dict.fromkeys(ModelKey(claim.namespace, claim.name) for claim in claims)

    def port_of(self, claim: Claim) -> int | None:
        ports = self._table.ports_of(claim)
        if len(ports) > 1:
            key = f"{claim.namespace}/{claim.name}"
            log.error("The table gives it the ports %s; %d alone is opened", ports, ports[0], extra={"key": key})
        return ports[0] if ports else None
