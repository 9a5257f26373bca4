"""Reads the caches: all that the cluster shows of one LLMDeployment, at one moment."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from pydantic import ValidationError

from slipway.api.acceleratorprofile import AcceleratorProfile
from slipway.api.names import OWNER_LABEL, activator_slice
from slipway.kube.kinds import (
    ACCELERATOR_PROFILE,
    CLUSTER_SERVING_RUNTIME,
    CORE_EVENT,
    DEPLOYMENT,
    ENDPOINT_SLICE,
    HORIZONTAL_POD_AUTOSCALER,
    INFERENCE_SERVICE,
    LLM_DEPLOYMENT,
    NODE,
    POD,
    POD_MONITOR,
    REPLICA_SET,
    SCALED_OBJECT,
    SERVICE,
    SERVING_RUNTIME,
    Kind,
    Object,
)
from slipway.kube.store import Store
from slipway.observing import scaler
from slipway.observing.keeping import MOST_PODS
from slipway.observing.porttable import claim_of
from slipway.observing.world import Part, WorldView, is_true
from slipway.operator.reconciling.key import Key
from slipway.operator.reconciling.ledger import Ledger
from slipway.operator.reconciling.portbook import PortBook
from slipway.operator.reconciling.sight import Sight
from slipway.operator.reconciling.watches import owner_of

logger = logging.getLogger(__name__)

OPTIONAL = (INFERENCE_SERVICE, SCALED_OBJECT, POD_MONITOR)
"""Kinds that others bring along, and that may be missing."""


@dataclass(frozen=True)
class Places:
    """That the pods of a deployment have on nodes."""

    taken: frozenset[str] = frozenset()  # by the pods of these uids
    freed_at: datetime | None = None


class Lookout:
    """`now` tells the time of day, which only status and causes need; `activators`: their Services in our namespace;
    `runtimes`: the ClusterServingRuntimes of this release, which are made if they aren't there.
    """

    def __init__(
        self,
        store: Store,
        ledger: Ledger,
        ports: PortBook,
        *,
        now: Callable[[], datetime],
        slipway_namespace: str,
        activators: Sequence[str],
        runtimes: Mapping[str, Object] | None = None,
    ) -> None:
        self._store, self._ledger, self._ports, self._now = store, ledger, ports, now
        self._home, self._services, self._runtimes = slipway_namespace, tuple(activators), runtimes or {}
        store.keep_briefs(POD, weight)
        self._places: dict[Key, Places] = {}
        self._scaler_fails: dict[Key, datetime] = {}  # since when
        self._read: dict[str, tuple[str, AcceleratorProfile | None]] = {}
        self.kserve: Callable[[], Part | None] = lambda: None  # set by who follows them
        self.keda: Callable[[], Part | None] = lambda: None

    def everyone(self) -> list[Key]:
        return [Key(*place) for place in self._store.places(LLM_DEPLOYMENT)]

    def on_node(self, name: str) -> Iterable[Key]:
        for pod in self._store.all(POD):
            if (pod.get("spec") or {}).get("nodeName") == name:
                yield from owner_of(pod)

    def look(self, key: Key) -> Sight | None:
        """None: it is gone."""
        namespace, name = key
        cached = self._store.get(LLM_DEPLOYMENT, name, namespace)
        if cached is None:
            return None
        self._ledger.open(key, cached["metadata"]["uid"])
        raw = self._ledger.newest(LLM_DEPLOYMENT, key, cached) or cached
        kinds = frozenset(kind for kind in OPTIONAL if not self._store.is_missing(kind))
        view = self._view(key, kinds, raw.get("status"))
        return Sight(
            raw=raw,
            previous=raw.get("status"),
            view=view,
            activators=self._activators(),
            place=self._ports.place_of(claim_of(raw)),
            profiles=tuple(self._profiles()),
            runtime=lambda runtime: self._runtime(runtime, namespace),
            kinds=kinds,
        )

    def look_again(self, key: Key, sight: Sight) -> Sight:
        """The same, with what has become of it since; the spec stays the one that was acted on."""
        return replace(sight, view=self._view(key, sight.kinds, sight.previous))

    def _view(self, key: Key, kinds: frozenset[Kind], status: Object | None) -> WorldView:
        pods = tuple(self._store.labelled(POD, key.name, key.namespace, most=MOST_PODS))
        scaled_object = self._newest(SCALED_OBJECT, key)
        scaler_fails_since = self._scaler_fails_since(key, scaled_object, status)
        return WorldView(
            now=self._now(),
            inference_service=self._newest(INFERENCE_SERVICE, key),
            deployments=tuple(self._labelled(DEPLOYMENT, key)),
            replica_sets=tuple(self._labelled(REPLICA_SET, key)),
            pods=pods,
            place_freed_at=self._place_freed_at(key, pods),
            events=tuple(self._labelled(CORE_EVENT, key)) if pods else (),
            nodes=self._nodes_of(pods),
            kinds=frozenset(kind.name for kind in kinds),
            service=self._newest(SERVICE, key),
            autoscaler=self._newest(HORIZONTAL_POD_AUTOSCALER, key),
            scaled_object=scaled_object,
            scaler_fails_since=scaler_fails_since,
            scaler_is_there=self._scaler_is_there(scaled_object) if scaled_object and scaler_fails_since else None,
            activator_answers=self._activator_answers(key),
            kserve=self.kserve(),
            keda=self.keda(),
        )

    def _place_freed_at(self, key: Key, pods: tuple[Object, ...]) -> datetime | None:
        before = self._places.get(key, Places())
        taken = frozenset(str(pod["metadata"]["uid"]) for pod in pods if pod["spec"].get("nodeName"))
        freed_at = self._now() if before.taken - taken else before.freed_at
        if taken or freed_at:
            self._places[key] = Places(taken, freed_at)
        return freed_at

    def _scaler_fails_since(self, key: Key, scaled_object: Object | None, status: Object | None) -> datetime | None:
        since = scaler.fails_since(scaled_object, self._scaler_fails.get(key), status, self._now())
        if since:
            self._scaler_fails[key] = since
        else:
            self._scaler_fails.pop(key, None)
        return since

    def _newest(self, kind: Kind, key: Key) -> Object | None:
        """The one that is named after the deployment."""
        return self._ledger.newest(kind, key, self._store.get(kind, key.name, key.namespace))

    # --- the activator -----------------------------------------------------------------------------------------------

    def _activators(self) -> Mapping[str, tuple[str, ...]]:
        """Where their replicas are that are ready. One that has no Service isn't installed."""
        found = {each: self._replicas(each) for each in self._services}
        return {service: addresses for service, addresses in found.items() if addresses is not None}

    def _replicas(self, service: str) -> tuple[str, ...] | None:
        """What belongs to an LLMDeployment of that name says nothing about the activator."""
        labelled = self._store.labelled(ENDPOINT_SLICE, service, self._home)
        slices = [each for each in labelled if OWNER_LABEL not in each["metadata"]["labels"]]
        endpoints = [endpoint for each in slices for endpoint in each.get("endpoints") or []]
        ready = [each for each in endpoints if (each.get("conditions") or {}).get("ready", True)]
        return tuple(sorted({address for each in ready for address in each["addresses"]})) if slices else None

    def _scaler_is_there(self, scaled_object: Object) -> bool:
        service, _, _ = scaler.address_of(scaled_object).partition(".")
        return bool(self._replicas(service))

    def _activator_answers(self, key: Key) -> bool | None:
        namespace, name = key
        if not self._activators():
            return None
        extra = self._store.get(ENDPOINT_SLICE, activator_slice(name), namespace)
        extra = self._ledger.newest(ENDPOINT_SLICE, key, extra)
        return bool(extra and extra.get("endpoints"))

    def forget(self, key: Key) -> None:
        self._ports.forget(key)
        self._places.pop(key, None)
        self._scaler_fails.pop(key, None)

    def begin_anew(self) -> None:
        """Somebody else may have given ports away meanwhile, and pods have come and gone."""
        self._ports.begin_anew()
        self._places.clear()
        self._scaler_fails.clear()

    def _nodes_of(self, pods: tuple[Object, ...]) -> dict[str, Object]:
        names = {pod["spec"].get("nodeName") or "" for pod in pods}
        found = {name: self._store.get(NODE, name) for name in names}
        return {name: node for name, node in found.items() if node}

    def _labelled(self, kind: Kind, key: Key) -> list[Object]:
        return self._store.labelled(kind, key[1], key[0])

    def _runtime(self, name: str, namespace: str) -> Object | None:
        """As KServe looks for it."""
        ours = self._runtimes.get(name)
        name = ours["metadata"]["name"] if ours else name
        there = self._store.get(SERVING_RUNTIME, name, namespace) or self._store.get(CLUSTER_SERVING_RUNTIME, name)
        return there or ours

    def _profiles(self) -> Iterable[AcceleratorProfile]:
        for raw in self._store.all(ACCELERATOR_PROFILE):
            if profile := self._profile(raw):
                yield profile

    def _profile(self, raw: Object) -> AcceleratorProfile | None:
        """Read once for each version; one that can't be read isn't there."""
        name, version = raw["metadata"]["name"], raw["metadata"]["resourceVersion"]
        known = self._read.get(name)
        if known and known[0] == version:
            return known[1]
        try:
            profile = AcceleratorProfile.model_validate(raw)
        except ValidationError as error:
            logger.warning("AcceleratorProfile %s is left out, because it can't be read: %s", name, error)
            profile = None
        self._read[name] = version, profile
        return profile


def weight(pod: Object) -> tuple[bool, str]:
    """The greatest are looked at, where a deployment has more pods than it can have replicas."""
    return is_true(pod, "Ready"), str(pod["metadata"].get("creationTimestamp"))
