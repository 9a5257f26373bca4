"""A tenant may do anything in a namespace of their own: requests for another one's model don't become theirs."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
from slipway_devcluster.cluster import Cluster
from slipway_devcluster.components import SLIPWAY_NAMESPACE
from slipway_devcluster.slipway import OPERATOR_IMAGE
from support.builders import objects
from support.builders.llmdeployments import llmdeployment
from support.cluster import Kube, Object, is_ready
from support.cluster.model_at_zero import ModelAtZero, is_answered, model_at_zero
from support.cluster.pods import run_to_end
from support.waiting import until

ACTIVATORS = "app.kubernetes.io/name=slipway-activator"
TRAP, PORT = "trap", 8080
LABELS = {"slipway.dev/llmdeployment": TRAP, "app.kubernetes.io/managed-by": "slipway"}
ENGINE = objects.python(
    f"""
import http.server
class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{{}}")
    def do_POST(self):
        print(self.path, flush=True)
        self.answer()
    do_GET = answer
    def log_message(self, *_):
        pass
class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_):
        pass
Server(("", {PORT}), Answer).serve_forever()
"""
)
"""Responds with 200 to everything, and logs only POST requests. The readiness poller of the tenant's own model may
disconnect after the status line, so that error is not logged."""


@pytest.fixture
async def between(operator_pods: Cluster, neighbour_kube: Kube) -> AsyncIterator[ModelAtZero]:
    """A sleeping model; the second namespace is the tenant's."""
    async with model_at_zero(neighbour_kube) as model:
        yield model


@pytest.mark.parametrize(
    "when", ["while it is served", pytest.param("before a restart of the activators", marks=pytest.mark.slow)]
)
async def test_requests_for_a_model_are_held_for_that_model_whatever_a_tenant_claims(
    between: ModelAtZero, when: str
) -> None:
    address, _, port = (await between.activators_port()).rpartition(":")
    await between.other.apply(*claims(port=int(port), activator=address))
    await between.other.wait_for("pod", TRAP, is_ready)
    if when == "before a restart of the activators":
        await restart_activators(between.own.within(SLIPWAY_NAMESPACE))
        await until(lambda: is_answered(between.request("GET /v1/models"), 200))
    for _ in range(3):
        await between.wakes()
    assert await between.other.logs(TRAP) == ""


CALLS = (
    "rpc.ExternalScalerStub(channel).IsActive(ref)",
    "rpc.ExternalScalerStub(channel).GetMetricSpec(ref)",
    "rpc.ExternalScalerStub(channel).GetMetrics(pb.GetMetricsRequest(scaledObjectRef=ref, metricName='any'))",
    "next(rpc.ExternalScalerStub(channel).StreamIsActive(ref))",
    "next(peers.PeersStub(channel).Follow(peers_pb.Follower()))",
)


async def test_a_tenants_pod_gets_no_data_on_kedas_port_whatever_its_labels_are(between: ModelAtZero) -> None:
    labels = {"app": "keda-operator", "app.kubernetes.io/name": "slipway-activator"}
    assert await answers_of_kedas_port(between, labels) == ["PERMISSION_DENIED"] * len(CALLS)


# --- a tenant's objects ----------------------------------------------------------------------------------------------


def claims(*, port: int, activator: str) -> tuple[Object, ...]:
    """All objects that could claim a port: an LLMDeployment, a Service, a slice, and a ready pod behind them."""
    fields = {"metadata": {"name": TRAP, "labels": LABELS, "annotations": {"slipway.dev/activator-port": str(port)}}}
    service = objects.service(TRAP, selector=LABELS, target_port=PORT) | fields
    slice_of_it: Object = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{TRAP}-activator", "labels": {**LABELS, "kubernetes.io/service-name": TRAP}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
        "endpoints": [{"addresses": [activator], "conditions": {"ready": True}}],
    }
    probe = {"readinessProbe": {"httpGet": {"path": "/ready", "port": PORT}, "periodSeconds": 1}}
    engine = objects.pod(TRAP, OPERATOR_IMAGE.name, ENGINE, labels=LABELS, container=probe)
    return not_renderable(), service, slice_of_it, engine


def not_renderable() -> Object:
    """The operator renders nothing for this deployment, so it doesn't repair the tenant's objects."""
    return llmdeployment(TRAP, {"model": {"uri": "pvc://none/"}, "engine": {"name": "nope"}})


# --- Slipway's pods --------------------------------------------------------------------------------------------------


async def restart_activators(home: Kube) -> None:
    """Deletes all at once: at a start, the first program to bind a port would get it."""
    before = {pod["metadata"]["uid"] for pod in await home.select("pods", ACTIVATORS)}
    await home.run("delete", "pods", f"--selector={ACTIVATORS}", "--grace-period=1")

    async def are_new() -> bool:
        pods = await home.select("pods", ACTIVATORS)
        return len(pods) == 2 and all(is_ready(pod) and pod["metadata"]["uid"] not in before for pod in pods)

    await until(are_new)


async def answers_of_kedas_port(between: ModelAtZero, labels: dict[str, str]) -> list[str]:
    """What a pod of the tenant's receives: the names of the errors, or the responses."""
    program = f"""
import grpc, json
from slipway.activator.keda._generated import externalscaler_pb2 as pb, externalscaler_pb2_grpc as rpc
from slipway.activator.keda._generated import peers_pb2 as peers_pb, peers_pb2_grpc as peers
ref = pb.ScaledObjectRef(name="gemma", namespace={between.own.namespace!r})
def answer(call):
    try:
        return str(eval(call))
    except grpc.RpcError as error:
        return error.code().name
with grpc.insecure_channel("slipway-activator.{SLIPWAY_NAMESPACE}.svc:9090") as channel:
    grpc.channel_ready_future(channel).result(timeout=30)
    print(json.dumps([answer(call) for call in {CALLS!r}]))
"""
    command = ["/opt/slipway/venv/bin/python", "-c", program]
    output = await run_to_end(between.other, objects.pod("stranger", OPERATOR_IMAGE.name, command, labels=labels))
    answers: list[str] = json.loads(output)
    return answers
