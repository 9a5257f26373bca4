"""What has to work for a model to be served, each found out by doing it. A check returns what is wrong, in a sentence.

Nothing of it needs a model, and nothing stays: KServe is asked on trial, and what KEDA is given to scale has no pods.
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
    kind_of,
)
from slipway.observing import platform
from slipway.observing.snapshot import PlatformPart
from slipway.operator.reconciling.platform import KEDA, KSERVE
from slipway.process.flags import MANAGEMENT_PORT
from slipway.selftest.options import Options

LEASE_HOLDS = 20.0  # seconds: a leader that crashed is replaced within them
KEDA_ANSWERS = 60.0
GONE_WITHIN = 20.0
OFTEN = 0.5
SOURCES = {
    LLM_DEPLOYMENT: "install the chart slipway-crds",
    ACCELERATOR_PROFILE: "install the chart slipway-crds",
    INFERENCE_SERVICE: "install KServe 0.20, as with the chart slipway-platform",
    CLUSTER_SERVING_RUNTIME: "install KServe 0.20, as with the chart slipway-platform",
    SCALED_OBJECT: "install KEDA 2.21 or later, as with the chart slipway-platform",
}
NAME = "slipway-selftest"


class Cluster(Protocol):
    """What is asked of the API server."""

    async def serves(self, kind: Kind) -> bool: ...

    async def get(self, kind: Kind, name: str, namespace: str | None = None) -> Object: ...

    async def create(self, thing: Object, *, dry_run: bool = False) -> Object: ...

    async def delete(self, kind: Kind, name: str, namespace: str | None = None) -> bool: ...


Ask = Callable[[str], Awaitable[tuple[int, str]]]
"""GET of a URL: the status and the text. OSError, with words, if nobody answers."""


@dataclass(frozen=True)
class Check:
    promise: str
    look: Callable[[], Awaitable[str | None]]


class Checks:
    """`clock` is monotonic."""

    def __init__(
        self,
        options: Options,
        cluster: Cluster,
        ask: Ask,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._options, self._cluster, self._ask = options, cluster, ask
        self._clock, self._sleep = clock, sleep

    def all(self) -> Sequence[Check]:
        activators = self._options.activators
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
        told = [f"it has no {kind} ({kind.api_version}): {SOURCES[kind]}" for kind in missing]
        return "; ".join(told) or None

    async def leader(self) -> str | None:
        """No time of day is compared: whoever leads renews the Lease while it is looked at."""
        name, namespace = self._options.lease_name, self._options.namespace
        see = f"see kubectl --namespace {namespace} logs deployment/{self._options.lease_name} --all-pods"
        first: Object | None = None
        end = self._clock() + LEASE_HOLDS
        while self._clock() < end:
            try:
                lease = await self._cluster.get(LEASE, name, namespace)
            except NotFoundError:
                lease = None
            first = first or lease
            if lease and first and lease["spec"].get("holderIdentity") and _version(lease) != _version(first):
                return None
            await self._sleep(OFTEN)
        if first is None:
            return f"there is no Lease {namespace}/{name}, so that no operator has ever led: {see}"
        holder = first["spec"].get("holderIdentity") or "nobody"
        return f"Lease {namespace}/{name} is held by {holder}, who doesn't renew it: {see}"

    async def activator(self, service: str) -> str | None:
        url = f"http://{service}.{self._options.namespace}.svc:{MANAGEMENT_PORT.default}/readyz"
        try:
            code, text = await self._ask(url)
        except OSError as error:
            code, text = 0, str(error)
        if code == 200:
            return None
        told = f"answers {code} ({' '.join(text.split())})" if code else f"can't be asked ({text})"
        see = f"kubectl --namespace {self._options.namespace} describe pods -l app.kubernetes.io/name={service}"
        return f"{url} {told}: see {see}"

    async def keda_version(self) -> str | None:
        namespace = self._options.keda_namespace
        try:
            controller = await self._cluster.get(DEPLOYMENT, KEDA.controller, namespace)
        except NotFoundError:
            return (
                f"there is no Deployment {namespace}/{KEDA.controller}: install KEDA, or name its namespace with the "
                "value platform.kedaNamespace"
            )
        return next(platform.remarks(PlatformPart(namespace=namespace, controller=controller)), None)

    async def scaler(self, number: int, service: str) -> str | None:
        """By something that it is to scale: it asks the activator then what to measure, and notes the answer."""
        name = name_of(number)
        address = f"{service}.{self._options.namespace}:{ACTIVATOR_GRPC_PORT}"
        made = target(name, self._options), scaled_object(name, address, self._options)
        try:
            for thing in made:
                await self._make(thing)
            return await self._told(name, address)
        finally:
            await self._end(*reversed(made))

    async def kserve(self) -> str | None:
        try:
            await self._cluster.create(model(self._options), dry_run=True)
        except UnavailableError as error:
            return (
                f"{error.words}: KServe's webhook has to answer, so see whether its controller, Deployment "
                f"{KSERVE.controller}, runs"
            )
        except KubeError as error:
            return f"{error.words}: Slipway goes with KServe 0.20 in Standard mode"
        return None

    # --- inside -----------------------------------------------------------------------------------------------------

    async def _make(self, thing: Object) -> None:
        """A test that was cut off may have left it, and then it is about to go."""
        end = self._clock() + GONE_WITHIN
        while True:
            try:
                await self._cluster.create(thing)
            except ConflictError:
                if self._clock() > end:
                    raise
                await self._end(thing)
                await self._sleep(OFTEN)
            else:
                return

    async def _end(self, *things: Object) -> None:
        """What can't be deleted goes with our pod."""
        for thing in things:
            with suppress(KubeError):
                await self._cluster.delete(kind_of(thing), thing["metadata"]["name"], self._options.namespace)

    async def _told(self, name: str, address: str) -> str | None:
        end, found = self._clock() + KEDA_ANSWERS, Object()
        while self._clock() < end:
            found = await self._cluster.get(SCALED_OBJECT, name, self._options.namespace)
            if (found.get("status") or {}).get("externalMetricNames"):
                return None
            await self._sleep(OFTEN)
        ready = condition(found, "Ready")
        if ready is None:
            return (
                f"KEDA has made nothing of a ScaledObject within {KEDA_ANSWERS:.0f} s: see whether its operator, "
                f"Deployment {self._options.keda_namespace}/{KEDA.controller}, runs"
            )
        return (
            f"KEDA can't ask the activator at {address} ({ready.get('message', '')}): the value platform.kedaNamespace "
            f"(now {self._options.keda_namespace}) has to name the namespace of KEDA's operator, and no "
            "NetworkPolicy may keep it from that port"
        )


def _version(thing: Object) -> str:
    return str(thing["metadata"]["resourceVersion"])


# --- what is made ----------------------------------------------------------------------------------------------------


def name_of(number: int) -> str:
    """Of what is made for one of the activators; the chart's Role names it, too."""
    return f"{NAME}-{number}"


def _metadata(name: str, options: Options) -> Object:
    owner = {"apiVersion": "v1", "kind": "Pod", "name": options.pod, "uid": options.pod_uid}
    owners = {"ownerReferences": [owner]} if options.pod and options.pod_uid else {}
    return {"name": name, "namespace": options.namespace, "labels": {"app.kubernetes.io/name": NAME}, **owners}


def target(name: str, options: Options) -> Object:
    """No pod is ever made of it."""
    labels = {"slipway.dev/selftest": name}
    container = {"name": "none", "image": "none"}
    return {
        "apiVersion": DEPLOYMENT.api_version,
        "kind": DEPLOYMENT.name,
        "metadata": _metadata(name, options),
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def scaled_object(name: str, address: str, options: Options) -> Object:
    """An activator tells of models alone that replicas are wanted, so it stays at zero."""
    return {
        "apiVersion": SCALED_OBJECT.api_version,
        "kind": SCALED_OBJECT.name,
        "metadata": _metadata(name, options),
        "spec": {
            "scaleTargetRef": {"apiVersion": DEPLOYMENT.api_version, "kind": DEPLOYMENT.name, "name": name},
            "minReplicaCount": 0,
            "maxReplicaCount": 1,
            "triggers": [{"type": "external-push", "metadata": {"scalerAddress": address}}],
        },
    }


def model(options: Options) -> Object:
    """As the operator asks for one."""
    annotations = {
        "serving.kserve.io/deploymentMode": "Standard",
        "serving.kserve.io/autoscalerClass": "external",
    }
    asked = {"modelFormat": {"name": "selftest"}, "storageUri": "pvc://selftest/"}
    return {
        "apiVersion": INFERENCE_SERVICE.api_version,
        "kind": INFERENCE_SERVICE.name,
        "metadata": {"name": NAME, "namespace": options.namespace, "annotations": annotations},
        "spec": {"predictor": {"minReplicas": 0, "model": asked}},
    }
