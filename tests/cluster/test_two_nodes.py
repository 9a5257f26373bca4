"""A devcluster with a second real node: pods, Services and volumes work on both, and one can be taken away."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from slipway_devcluster.addresses import FIRST, Node
from slipway_devcluster.cluster import Cluster
from slipway_devcluster.images import BASE_IMAGE, ensure_base_image
from slipway_devcluster.volumes import SHARED_CLASS, STORAGE_CLASS
from support.builders import objects
from support.cluster import Kube, Object, Predicate, Settings, is_ready, own_namespace
from support.cluster.fixtures import kubectl_for
from support.cluster.pods import is_running, run_python, run_to_end, why_unschedulable
from support.faults.components import without_power

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400, func_only=True)]

SECOND = Node(2)
BOTH = (FIRST.name, SECOND.name)
GET = "import urllib.request as http; print(http.urlopen('http://{name}', timeout=5).read().decode())"


@pytest.fixture(scope="module")
def whole(two_nodes: Cluster, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Kube:
    two_nodes.load_image(ensure_base_image(settings.cache, settings.steps))
    return kubectl_for(two_nodes, tmp_path_factory)


@pytest.fixture
async def kube(whole: Kube) -> AsyncIterator[Kube]:
    async with own_namespace(whole) as kube:
        yield kube


def on(node: str, pod: Object) -> Object:
    return {**pod, "spec": {**pod["spec"], "nodeSelector": {"kubernetes.io/hostname": node}}}


def mounting(pod: Object, claim: str) -> Object:
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": claim}}
    [container] = pod["spec"]["containers"]
    mounted = {**container, "volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    return {**pod, "spec": {**pod["spec"], "containers": [mounted], "volumes": [volume]}}


def is_ready_is(status: str) -> Predicate:
    return lambda node: any(
        each["type"] == "Ready" and each["status"] == status for each in node["status"]["conditions"]
    )


@pytest.mark.parametrize(("server", "client"), [BOTH, BOTH[::-1]])
async def test_a_pod_reaches_a_pod_on_the_other_node_by_its_services_name(kube: Kube, server: str, client: str) -> None:
    await kube.apply(
        objects.service("web", selector={"app": "web"}),
        on(server, objects.web_server("web", BASE_IMAGE, labels={"app": "web"})),
    )
    await kube.wait_for("pod", "web", is_ready)
    service = objects.pod("client", BASE_IMAGE, objects.python(GET.format(name="web")))
    assert (await run_to_end(kube, on(client, service))).strip() == "web"


async def test_pods_of_each_node_have_addresses_of_their_own_range(kube: Kube) -> None:
    for node in (FIRST, SECOND):
        await kube.apply(on(node.name, objects.pod(node.name, objects.PAUSE, [])))
        pod = await kube.wait_for("pod", node.name, is_running)
        assert pod["status"]["podIP"].rpartition(".")[0] == node.pod_range.rpartition(".")[0]
        assert pod["status"]["hostIP"] == node.ip


async def test_a_pod_on_the_second_node_reaches_the_api_server(kube: Kube) -> None:
    connects = "import socket; socket.create_connection(('kubernetes.default.svc', 443), timeout=5); print('reached')"
    pod = objects.pod("client", BASE_IMAGE, objects.python(connects))
    assert (await run_to_end(kube, on(SECOND.name, pod))).strip() == "reached"


async def test_what_a_pod_writes_to_a_shared_volume_is_read_on_the_other_node(kube: Kube) -> None:
    await kube.apply(
        objects.claim("shared", storage="1Mi", storageClassName=SHARED_CLASS, accessModes=["ReadWriteMany"])
    )
    write, read = "open('/data/file', 'w').write('seen')", "print(open('/data/file').read())"
    for node, program in zip(BOTH, (write, read), strict=True):
        pod = mounting(objects.pod(node, BASE_IMAGE, objects.python(program)), "shared")
        said = await run_to_end(kube, on(node, pod))
    assert said.strip() == "seen"


async def test_a_volume_of_one_node_keeps_its_pods_there(kube: Kube) -> None:
    await kube.apply(objects.claim("local", storage="1Mi", storageClassName=STORAGE_CLASS))
    await kube.apply(on(SECOND.name, mounting(objects.pod("there", objects.PAUSE, []), "local")))
    await kube.wait_for("pod", "there", is_running)
    await kube.apply(on(FIRST.name, mounting(objects.pod("here", objects.PAUSE, []), "local")))
    waits = await kube.wait_for("pod", "here", lambda pod: bool(why_unschedulable(pod)))
    assert "didn't match PersistentVolume's node affinity" in why_unschedulable(waits)


async def test_a_node_whose_power_fails_is_not_ready_and_runs_pods_again_when_it_is_back(
    kube: Kube, two_nodes: Cluster
) -> None:
    async with without_power(two_nodes, SECOND.name):
        await kube.wait_for("node", SECOND.name, is_ready_is("Unknown"), timeout=120)
        assert await run_python(kube, BASE_IMAGE, "print('still here')", name="first") == "still here\n"
    pod = objects.pod("again", BASE_IMAGE, objects.python(GET.format(name="127.0.0.1:10248/healthz")))
    said = await run_to_end(kube, on(SECOND.name, {**pod, "spec": {**pod["spec"], "hostNetwork": True}}))
    assert said.strip() == "ok"
