"""Models on an engine of the test's own: a small web server that starts as slowly, or fails, as the test says.

They cost little, so that a test can fail and repair one within seconds. The claim `weights` must exist.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

from support.builders.llmdeployments import NAME, on_own_engine, own_runtime
from support.builders.objects import Object, python
from support.cluster.kube import Kube, KubectlError
from support.monitoring.on_cluster import ClusterMonitoring

ANSWERS = """
import http.server, time
time.sleep({starts_for})
answered = []
class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        text = b'{{"choices": [{{"text": "1", "finish_reason": "stop"}}]}}'
        if self.command == "POST":
            time.sleep({takes})
            answered.append(1)
        elif self.path == "/metrics":
            text = b"vllm:num_requests_running 0\\nvllm:generation_tokens_total %d\\n" % len(answered)
        self.send_response({status})
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
    do_GET = do_POST = answer
http.server.ThreadingHTTPServer(("", 8080), Answer).serve_forever()
"""
READINESS = {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}


def answering(image: str, *, starts_for: float = 0, takes: float = 0, status: int = 200, **container: Any) -> Object:
    """A runtime whose pods are ready after `starts_for` seconds, and answer each request after `takes` seconds. Its
    metrics have the names of vLLM's: without any, it would never sleep."""
    program = python(ANSWERS.format(starts_for=starts_for, takes=takes, status=status))
    return own_runtime(
        image=image, command=program, readinessProbe=READINESS, ports=[{"containerPort": 8080}], **container
    )


@asynccontextmanager
async def scripted(
    alerts: ClusterMonitoring, kube: Kube, *objects: Object, name: str = NAME, **spec: Any
) -> AsyncGenerator[None]:
    """Creates these objects and the model, whose metrics are scraped; deletes it before its namespace goes."""
    model = on_own_engine(name, **spec)
    async with monitored_model(alerts, kube, *objects, model, name=name):
        yield


@asynccontextmanager
async def monitored_model(
    alerts: ClusterMonitoring, kube: Kube, *objects: Object, name: str = NAME
) -> AsyncGenerator[None]:
    """Creates the objects, with an LLMDeployment of this name among them, and scrapes its pods."""
    await kube.apply(*objects)
    try:
        await kube.wait_for("podmonitor", name, lambda _: True)
        await alerts.follow()
        yield
    finally:
        with suppress(KubectlError):  # the failed test says more
            await kube.delete("llmdeployment", name, wait=True)
