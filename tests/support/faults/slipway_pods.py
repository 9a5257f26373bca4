"""Faults on a cluster where all of Slipway runs as pods: its programs, KEDA, the API server, the objects of a model."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

from slipway.api.names import activator_slice_name
from slipway_devcluster.cluster import Cluster
from slipway_devcluster.components import SLIPWAY_NAMESPACE

from support.builders.objects import Object
from support.cluster.kube import Kube, is_ready
from support.faults import components
from support.load.sleeping_models import SleepingModel

MEASURE = """
for group in $(grep -l "$1" /proc/[0-9]*/cgroup); do
    folder=${group%/cgroup}
    [ "$(readlink $folder/exe)" = /node ] && continue
    echo $(awk '$1 == "VmRSS:" { print $2 }' $folder/status) $(ls $folder/fd | wc -l)
done
"""


@dataclass(frozen=True)
class Use:
    megabytes: float
    files: int


@dataclass(frozen=True)
class PodFaults:
    cluster: Cluster
    kube: Kube

    @property
    def slipway(self) -> Kube:
        return self.kube.within(SLIPWAY_NAMESPACE)

    # --- programs ---------------------------------------------------------------------------------------------------

    async def crash(self, pod: Object) -> None:
        await components.crash(self.cluster, pod)

    async def kill(self, pod: Object) -> None:
        """Deletes a pod immediately, and however often; it is replaced by another."""
        await components.kill_pod(self.kube.within(pod["metadata"]["namespace"]), pod["metadata"]["name"])

    async def leader(self) -> Object:
        """Returns the operator that leads."""
        lease = await self.slipway.get("lease", "slipway-operator")
        return await self.slipway.get("pod", lease["spec"]["holderIdentity"].rpartition("_")[0])

    async def keda(self) -> Object:
        """Returns KEDA's operator; its successor, if it was just killed."""
        return await self.kube.within("keda").wait_for_any(
            "pods", "app=keda-operator", lambda pod: "deletionTimestamp" not in pod["metadata"]
        )

    async def restart_api_server(self, *, seconds: float = 2) -> None:
        async with components.without(self.cluster, "kube-apiserver", killed=True):
            await asyncio.sleep(seconds)

    async def activators(self) -> list[Object]:
        """Returns both activators once they are ready."""
        both = 2
        await self.slipway.wait_for(
            "deployment", "slipway-activator", lambda found: found["status"].get("readyReplicas") == both, timeout=120
        )
        found = await self.slipway.select("pods", "app.kubernetes.io/name=slipway-activator")
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"] and is_ready(pod)]

    async def use(self, pod: Object) -> Use:
        """Measures the memory of a pod's program, and how many files and sockets it has open."""
        measured = await asyncio.to_thread(
            self.cluster.namespaces.run, ["sh", "-c", MEASURE, "use", pod["metadata"]["uid"]]
        )
        kilobytes, files = map(int, measured.split())
        return Use(kilobytes / 1024, files)

    # --- a model ----------------------------------------------------------------------------------------------------

    async def delete_scaled_object(self, sleeper: SleepingModel) -> None:
        await self.kube.delete("scaledobject", sleeper.name)

    async def delete_slice(self, sleeper: SleepingModel) -> None:
        """Deletes the activator's EndpointSlice; until the operator has made it again, connections may be refused."""
        name = activator_slice_name(sleeper.name)
        await self.kube.delete("endpointslice", name)
        await self.kube.wait_for("endpointslice", name, lambda _: True)

    async def scale_to_zero(self, sleeper: SleepingModel) -> None:
        await self.kube.scale("deployment", sleeper.predictor, 0)

    async def evict(self, pod: Object) -> None:
        metadata = {key: pod["metadata"][key] for key in ("name", "namespace")}
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
        where = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/eviction"
        await self.kube.run("create", "--raw", where, "--filename=-", stdin=json.dumps(eviction))


async def own_url(sleeper: SleepingModel, activator: Object) -> str:
    """Returns the URL of a model at this one activator."""
    extra = await sleeper.kube.get("endpointslice", activator_slice_name(sleeper.name))
    port = extra["ports"][0]["port"]
    return f"http://{activator['status']['podIP']}:{port}"
