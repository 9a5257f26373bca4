"""The node is Ready, resolves names, and keeps working when one of its programs doesn't."""

from slipway_devcluster.addresses import API_SERVICE_IP
from support.builders import objects
from support.cluster import AnyCluster, Kube, Neighbour, is_ready
from support.cluster.pods import is_running, run_python
from support.faults import components

API_SERVER = "kubernetes.default.svc.cluster.local"
LOOK_UP = "import socket; print(socket.gethostbyname({name!r}))"
LOOK_UP_UNKNOWN = """
import socket, time
started = time.monotonic()
try:
    print(socket.gethostbyname("example.com"))
except socket.gaierror as error:
    print("unknown" if error.errno == socket.EAI_NONAME else error)
assert time.monotonic() - started < 5
"""


async def test_every_node_is_ready(kube: Kube) -> None:
    nodes = await kube.select("nodes")
    assert nodes
    assert [node["metadata"]["name"] for node in nodes if not is_ready(node)] == []


async def test_a_pod_finds_services_by_their_full_names(kube: Kube, python_image: str) -> None:
    api_server = await kube.within("default").get("service", "kubernetes")
    found = await run_python(kube, python_image, LOOK_UP.format(name=API_SERVER))
    assert found.strip() == api_server["spec"]["clusterIP"]


async def test_a_pod_finds_services_of_its_namespace_by_their_names_alone(kube: Kube, python_image: str) -> None:
    await kube.apply(objects.service("neighbour", selector={"app": "nobody"}))
    service = await kube.get("service", "neighbour")
    found = await run_python(kube, python_image, LOOK_UP.format(name="neighbour"))
    assert found.strip() == service["spec"]["clusterIP"]


async def test_the_node_itself_finds_services_by_their_names(cluster: AnyCluster) -> None:
    found = cluster.devcluster().namespaces.run(["getent", "ahostsv4", API_SERVER])
    assert found.split()[0] == API_SERVICE_IP


async def test_external_names_are_unknown_immediately(cluster: AnyCluster, kube: Kube, python_image: str) -> None:
    cluster.devcluster()  # other clusters may have access to the internet
    assert (await run_python(kube, python_image, LOOK_UP_UNKNOWN)).strip() == "unknown"


async def test_a_killed_pod_of_a_deployment_is_replaced(kube: Kube, python_image: str) -> None:
    await kube.apply(objects.deployment("sleeper", python_image, ["sleep", "infinity"], replicas=1))
    victim = await kube.wait_for_any("pods", "app=sleeper", is_running)
    await components.kill_pod(kube, victim["metadata"]["name"])
    await kube.wait_for_any(
        "pods", "app=sleeper", lambda pod: is_running(pod) and pod["metadata"]["uid"] != victim["metadata"]["uid"]
    )


async def test_a_pod_waits_while_the_scheduler_hangs_and_starts_when_it_continues(
    neighbour_kube: Kube, neighbour: Neighbour
) -> None:
    async with components.paused(neighbour.cluster, "kube-scheduler"):
        await neighbour_kube.apply(objects.pod("patient", objects.PAUSE, []))
        await neighbour_kube.never("pods", lambda pod: "nodeName" in pod["spec"], seconds=2)
    await neighbour_kube.wait_for("pod", "patient", is_running)


async def test_a_pod_starts_after_the_kubelet_was_killed_and_started_again(
    neighbour_kube: Kube, neighbour: Neighbour
) -> None:
    async with components.without(neighbour.cluster, "kubelet", killed=True):
        await neighbour_kube.apply(objects.pod("patient", objects.PAUSE, []))
        await neighbour_kube.wait_for("pod", "patient", lambda pod: "nodeName" in pod["spec"])
        await neighbour_kube.never("pods", is_running, seconds=2)
    await neighbour_kube.wait_for("pod", "patient", is_running)
