"""What must work for a model to be served; each check tries it out, and returns what is wrong, in a sentence.

No check needs a model, and none leaves objects behind: KServe gets a dry run, and what KEDA is to scale has no pods.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from slipway.api.names import ACTIVATOR_GRPC_PORT
from slipway.kube.errors import ConflictError, KubeError, NotFoundError, UnavailableError
from slipway.objects.conditions import condition
from slipway.objects.kinds import (
    ACCELERATOR_PROFILE,
    CLUSTER_SERVING_RUNTIME,
    DEPLOYMENT,
    INFERENCE_SERVICE,
    LEASE,
    LLM_DEPLOYMENT,
    SCALED_OBJECT,
    Kind,
    Object,
)
from slipway.observing import platform
from slipway.observing.snapshot import PlatformPart
from slipway.operator.reconciling.platform import KEDA, KSERVE
from slipway.process.flags import MANAGEMENT_PORT
from slipway.selftest.flags import SelftestSettings

LEASE_RENEWED_WITHIN = 20.0  # seconds: a leader that crashed is replaced within them
KEDA_REACTS_WITHIN = 60.0
DELETED_WITHIN = 20.0
POLL_INTERVAL = 0.5
SOURCES = {
    LLM_DEPLOYMENT: "install the chart slipway-crds",
    ACCELERATOR_PROFILE: "install the chart slipway-crds",
    INFERENCE_SERVICE: "install KServe 0.20, as with the chart slipway-platform",
    CLUSTER_SERVING_RUNTIME: "install KServe 0.20, as with the chart slipway-platform",
    SCALED_OBJECT: "install KEDA 2.21 or later, as with the chart slipway-platform",
}
NAME = "slipway-selftest"


class ApiServer(Protocol):
    """The calls to the API server that the checks need."""

    async def serves(self, kind: Kind) -> bool: ...

    async def get(self, kind: Kind, name: str, namespace: str | None = None) -> Object: ...

    async def create(self, kind: Kind, manifest: Object, *, dry_run: bool = False) -> Object: ...

    async def delete(self, kind: Kind, name: str, namespace: str | None = None) -> bool: ...


Get = Callable[[str], Awaitable[tuple[int, str]]]
"""GET of a URL: the status and the body. OSError, with words, if no response arrives."""


@dataclass(frozen=True)
class Check:
    promise: str
    find_problem: Callable[[], Awaitable[str | None]]


class Checks:
    """`clock` is monotonic."""

    def __init__(
        self,
        settings: SelftestSettings,
        cluster: ApiServer,
        get: Get,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._settings, self._cluster, self._get = settings, cluster, get
        self._clock, self._sleep = clock, sleep

    def all(self) -> Sequence[Check]:
        activators = self._settings.activators
        return [
            Check("the API server has all types", self.types),
            Check("an operator leads", self.leader),
            *(Check(f"{each} answers", partial(self.activator, each)) for each in activators),
            Check("KEDA is recent enough", self.keda_version),
            *(
                Check(f"KEDA reaches its scaler {each}", partial(self.scaler, number, each))
                for number, each in enumerate(activators)
            ),
            Check("KServe takes a model", self.kserve),
        ]

    # --- the checks -------------------------------------------------------------------------------------------------

    async def types(self) -> str | None:
        missing = [kind for kind in SOURCES if not await self._cluster.serves(kind)]
        problems = [f"it has no {kind} ({kind.api_version}): {SOURCES[kind]}" for kind in missing]
        return "; ".join(problems) or None

    async def leader(self) -> str | None:
        """Compares no time of day: the leader must renew the Lease while this waits."""
        name, namespace = self._settings.lease_name, self._settings.namespace
        see = f"see kubectl --namespace {namespace} logs deployment/{self._settings.lease_name} --all-pods"
        first: Object | None = None
        end = self._clock() + LEASE_RENEWED_WITHIN
        while self._clock() < end:
            try:
                lease = await self._cluster.get(LEASE, name, namespace)
            except NotFoundError:
                lease = None
            first = first or lease
            if lease and first and lease["spec"].get("holderIdentity") and _version(lease) != _version(first):
                return None
            await self._sleep(POLL_INTERVAL)
        if first is None:
            return f"there is no Lease {namespace}/{name}, so no operator has ever led: {see}"
        holder = first["spec"].get("holderIdentity")
        state = f"is held by {holder}, which doesn't renew it" if holder else "has no holder"
        return f"Lease {namespace}/{name} {state}: {see}"

    async def activator(self, service: str) -> str | None:
        url = f"http://{service}.{self._settings.namespace}.svc:{MANAGEMENT_PORT}/readyz"
        try:
            code, text = await self._get(url)
        except OSError as error:
            code, text = 0, str(error)
        if code == 200:
            return None
        found = f"answers {code} ({' '.join(text.split())})" if code else f"doesn't answer ({text})"
        see = f"kubectl --namespace {self._settings.namespace} describe pods -l app.kubernetes.io/name={service}"
        return f"{url} {found}: see {see}"

    async def keda_version(self) -> str | None:
        namespace = self._settings.keda_namespace
        try:
            controller = await self._cluster.get(DEPLOYMENT, KEDA.controller, namespace)
        except NotFoundError:
            return (
                f"there is no Deployment {namespace}/{KEDA.controller}: install KEDA, or name its namespace with the "
                "value platform.kedaNamespace"
            )
        return next(platform.remarks(PlatformPart(namespace=namespace, controller=controller)), None)

    async def scaler(self, number: int, service: str) -> str | None:
        """Gives KEDA a ScaledObject: KEDA then queries the activator for its metrics, and notes them in the status."""
        name = objects_name(number)
        address = f"{service}.{self._settings.namespace}:{ACTIVATOR_GRPC_PORT}"
        objects = {
            DEPLOYMENT: target(name, self._settings),
            SCALED_OBJECT: scaled_object(name, address, self._settings),
        }
        try:
            for kind, manifest in objects.items():
                await self._create(kind, manifest)
            return await self._keda_problem(name, address)
        finally:
            for kind in reversed(objects):
                await self._delete(kind, name)

    async def kserve(self) -> str | None:
        try:
            await self._cluster.create(INFERENCE_SERVICE, model(self._settings), dry_run=True)
        except UnavailableError as error:
            return (
                f"{error.words}: KServe's webhook must answer, so see whether its controller, Deployment "
                f"{KSERVE.controller}, runs"
            )
        except KubeError as error:
            return f"{error.words}: Slipway needs KServe 0.20 in Standard mode"
        return None

    # --- inside -----------------------------------------------------------------------------------------------------

    async def _create(self, kind: Kind, manifest: Object) -> None:
        """A self-test that was killed may have left such an object, which is deleted first."""
        end = self._clock() + DELETED_WITHIN
        while True:
            try:
                await self._cluster.create(kind, manifest)
            except ConflictError:
                if self._clock() > end:
                    raise
                await self._delete(kind, manifest["metadata"]["name"])
                await self._sleep(POLL_INTERVAL)
            else:
                return

    async def _delete(self, kind: Kind, name: str) -> None:
        """What can't be deleted now is deleted with our pod, its owner."""
        with suppress(KubeError):
            await self._cluster.delete(kind, name, self._settings.namespace)

    async def _keda_problem(self, name: str, address: str) -> str | None:
        end, found = self._clock() + KEDA_REACTS_WITHIN, Object()
        while self._clock() < end:
            found = await self._cluster.get(SCALED_OBJECT, name, self._settings.namespace)
            if (found.get("status") or {}).get("externalMetricNames"):
                return None
            await self._sleep(POLL_INTERVAL)
        ready = condition(found, "Ready")
        if ready is None:
            return (
                f"KEDA has not reacted to a ScaledObject within {KEDA_REACTS_WITHIN:.0f} s: see whether its operator, "
                f"Deployment {self._settings.keda_namespace}/{KEDA.controller}, runs"
            )
        return (
            f"KEDA can't reach the activator at {address} ({ready.get('message', '')}): the value "
            f"platform.kedaNamespace (now {self._settings.keda_namespace}) must name the namespace of KEDA's operator, "
            "and no NetworkPolicy may keep it from that port"
        )


def _version(thing: Object) -> str:
    return str(thing["metadata"]["resourceVersion"])


# --- the objects that are created -------------------------------------------------------------------------------------


def objects_name(number: int) -> str:
    """Of the objects for one of the activators; the chart's Role has the same names."""
    return f"{NAME}-{number}"


def _metadata(name: str, settings: SelftestSettings) -> Object:
    owner = {"apiVersion": "v1", "kind": "Pod", "name": settings.pod, "uid": settings.pod_uid}
    owners = {"ownerReferences": [owner]} if settings.pod and settings.pod_uid else {}
    return {"name": name, "namespace": settings.namespace, "labels": {"app.kubernetes.io/name": NAME}, **owners}


def target(name: str, settings: SelftestSettings) -> Object:
    """Has no pods."""
    labels = {"slipway.dev/selftest": name}
    container = {"name": "none", "image": "none"}
    return {
        "apiVersion": DEPLOYMENT.api_version,
        "kind": DEPLOYMENT.name,
        "metadata": _metadata(name, settings),
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def scaled_object(name: str, address: str, settings: SelftestSettings) -> Object:
    """Stays at zero: an activator reports demand for models alone."""
    return {
        "apiVersion": SCALED_OBJECT.api_version,
        "kind": SCALED_OBJECT.name,
        "metadata": _metadata(name, settings),
        "spec": {
            "scaleTargetRef": {"apiVersion": DEPLOYMENT.api_version, "kind": DEPLOYMENT.name, "name": name},
            "minReplicaCount": 0,
            "maxReplicaCount": 1,
            "triggers": [{"type": "external-push", "metadata": {"scalerAddress": address}}],
        },
    }


def model(settings: SelftestSettings) -> Object:
    """An InferenceService like the operator's."""
    annotations = {
        "serving.kserve.io/deploymentMode": "Standard",
        "serving.kserve.io/autoscalerClass": "external",
    }
    spec = {"modelFormat": {"name": "selftest"}, "storageUri": "pvc://selftest/"}
    return {
        "apiVersion": INFERENCE_SERVICE.api_version,
        "kind": INFERENCE_SERVICE.name,
        "metadata": {"name": NAME, "namespace": settings.namespace, "annotations": annotations},
        "spec": {"predictor": {"minReplicas": 0, "model": spec}},
    }
