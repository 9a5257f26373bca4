"""Two clusters run at the same time, each with the same addresses inside, and don't affect each other."""

import asyncio

from support.builders import objects
from support.cluster import AnyCluster, Kube, Neighbour, Settings, is_ready
from support.cluster.clusters import EmbeddedCluster
from support.cluster.services import until_only

ADDRESS = "198.19.100.100"


async def test_the_same_address_leads_to_each_clusters_own_pod(
    cluster: AnyCluster, neighbour: Neighbour, kube: Kube, neighbour_kube: Kube, settings: Settings
) -> None:
    both = {
        "here": (kube, EmbeddedCluster(cluster.devcluster(), settings)),
        "beside": (neighbour_kube, EmbeddedCluster(neighbour.cluster, settings)),
    }
    await asyncio.gather(*(serve(own, name, place.python_image()) for name, (own, place) in both.items()))
    for name, (own, place) in both.items():
        async with place.access(own) as access, access.session() as session:
            await until_only(session, f"http://{ADDRESS}", name)


async def serve(kube: Kube, name: str, image: str) -> None:
    service = objects.service("web", selector={"app": "web"})
    service["spec"]["clusterIP"] = ADDRESS
    await kube.apply(service, objects.web_server(name, image, labels={"app": "web"}))
    await kube.wait_for("pod", name, is_ready)
