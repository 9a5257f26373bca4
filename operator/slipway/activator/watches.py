"""What the activator watches: the deployments, what belongs to them, and where its other replicas are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from slipway.activator.demand import Deployment
from slipway.api.names import MANAGED_BY, MANAGED_BY_LABEL, OWNER_LABEL, PORT_TABLE_LABEL, SERVICE_LABEL
from slipway.kube.kinds import CONFIG_MAP, ENDPOINT_SLICE, LLM_DEPLOYMENT, POD, SERVICE, Object
from slipway.kube.store import Store, place_of
from slipway.kube.watching import Watch


@dataclass(frozen=True)
class Home:
    """The Service of the activator itself."""

    namespace: str
    service: str

    def owns(self, endpoint_slice: Object) -> bool:
        """What belongs to an LLMDeployment of that name says nothing about us."""
        namespace, labels = place_of(endpoint_slice)[0], endpoint_slice["metadata"].get("labels") or {}
        return (namespace, labels.get(SERVICE_LABEL)) == (self.namespace, self.service) and OWNER_LABEL not in labels


Key = Deployment | Home


def watches(home: Home, ports: Callable[[Object], Iterable[Key]]) -> list[Watch[Key]]:
    """`ports`: whom a part of the table of ports concerns."""
    ours = f"{MANAGED_BY_LABEL}={MANAGED_BY}"
    return [
        Watch(LLM_DEPLOYMENT, lambda thing: [Deployment(*place_of(thing))]),
        Watch(SERVICE, owner_of, OWNER_LABEL),
        Watch(POD, owner_of, OWNER_LABEL),
        Watch(ENDPOINT_SLICE, _of_slice(home), ours),  # Services hand their labels on to their slices
        Watch(CONFIG_MAP, ports, f"{PORT_TABLE_LABEL}={home.service}", namespace=home.namespace),
    ]


def owner_of(thing: Object) -> Iterable[Deployment]:
    owner = (thing["metadata"].get("labels") or {}).get(OWNER_LABEL)
    return [Deployment(place_of(thing)[0], owner)] if owner else []


def _of_slice(home: Home) -> Callable[[Object], Iterable[Key]]:
    return lambda thing: [home] if home.owns(thing) else owner_of(thing)


def replicas(store: Store, home: Home, *, ready: bool) -> dict[str, str]:
    """The pods of the activator by their addresses: those that are ready, or all; ourselves may be among them."""
    return {
        address: endpoint["targetRef"]["name"]
        for thing in store.labelled(ENDPOINT_SLICE, home.service, home.namespace)
        for endpoint in (thing.get("endpoints") or [] if home.owns(thing) else ())
        if (endpoint.get("targetRef") or {}).get("kind") == "Pod"
        if not ready or (endpoint.get("conditions") or {}).get("ready", True)
        for address in endpoint["addresses"]
    }
