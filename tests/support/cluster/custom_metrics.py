"""The custom metrics API as prometheus-adapter would serve it; each query is answered by scraping the pods.

The real HorizontalPodAutoscaler controller queries it, and the values are those of the pods' own /metrics.
"""

from __future__ import annotations

import re
import ssl
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
from aiohttp import web
from slipway.contract.pod import RUNTIME_PORT
from slipway_devcluster.pki import Authority

from support.builders.objects import Object
from support.cluster.access import FromTheNode
from support.cluster.kube import Kube, is_ready
from support.cluster.tester import ReachableServer

GROUP, VERSION = "custom.metrics.k8s.io", "v1beta2"
ROOT = f"/apis/{GROUP}/{VERSION}"
ASKED = re.compile(rf"{ROOT}/namespaces/(?P<namespace>[^/]+)/pods/\*/(?P<metric>[^/]+)")
API_SERVICE = f"{VERSION}.{GROUP}"


@asynccontextmanager
async def served(kube: Kube, tester: ReachableServer) -> AsyncGenerator[None]:
    """Serves the pods of kube's namespace. The API belongs to the entire cluster, so one test at a time can serve
    it."""

    async def answer(request: web.Request) -> web.Response:
        asked = ASKED.fullmatch(request.path)
        if not asked:
            return web.json_response(_discovery(), status=200 if request.path == ROOT else 404)
        pods = await kube.within(asked["namespace"]).select("pods", request.query.get("labelSelector", ""))
        async with FromTheNode(kube, tester.enter).session() as session:
            values = [await _value(session, pod, asked["metric"]) for pod in pods if is_ready(pod)]
        return web.json_response(_as_list([each for each in values if each]))

    async with tester.http(answer, tls=_tls(tester.address)) as port:
        await kube.apply(*tester.service("custom-metrics", port), _api_service(kube.namespace, port))
        try:
            await kube.wait_for_condition("apiservice", API_SERVICE, "Available")
            yield
        finally:
            await kube.delete("apiservice", API_SERVICE)


async def _value(session: aiohttp.ClientSession, pod: Object, metric: str) -> Object | None:
    async with session.get(f"http://{pod['status']['podIP']}:{RUNTIME_PORT}/metrics") as answer:
        text = await answer.text()
    samples = re.findall(rf"^{re.escape(metric)}(?:\{{.*\}})? ([0-9.e+]+)$", text, re.MULTILINE)
    if not samples:
        return None
    namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    return {
        "describedObject": {"kind": "Pod", "apiVersion": "/v1", "namespace": namespace, "name": name},
        "metric": {"name": metric, "selector": None},
        "timestamp": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "value": str(int(sum(map(float, samples)))),
    }


def _as_list(items: list[Object]) -> Object:
    return {"kind": "MetricValueList", "apiVersion": f"{GROUP}/{VERSION}", "metadata": {}, "items": items}


def _discovery() -> Object:
    any_of_pods = {"name": "pods/any", "singularName": "", "namespaced": True, "kind": "MetricValueList"}
    resources = [any_of_pods | {"verbs": ["get"]}]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{GROUP}/{VERSION}", "resources": resources}


def _api_service(namespace: str, port: int) -> Object:
    return {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": API_SERVICE},
        "spec": {
            "group": GROUP,
            "version": VERSION,
            "service": {"namespace": namespace, "name": "custom-metrics", "port": port},
            "insecureSkipTLSVerify": True,
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
        },
    }


def _tls(address: str) -> ssl.SSLContext:
    certificate = Authority("custom-metrics").issue("custom-metrics", hosts=[address])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "both.pem"
        path.write_bytes(certificate.certificate + certificate.key)
        context.load_cert_chain(path)
    return context
