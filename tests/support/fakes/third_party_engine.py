"""A stand-in for a third-party engine, as a program: it loads, responds, counts and exits as that engine does.

It has the engine's name, and exits if a required flag is missing. The format of each engine's metrics, and its
peculiarities, are from the sources that docs/engines.md names. It also runs in pods, so it needs nothing but Python.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ALL = 1e9  # seconds: as long as requests run
NAME = "m"  # the model's name


@dataclass
class Counts:
    """Counters of requests; `looks` counts readiness probes."""

    running: int = 0
    waiting: int = 0
    done: int = 0
    looks: int = 0

    @property
    def has_begun(self) -> bool:
        return bool(self.running or self.waiting or self.done)


# --- metrics ---------------------------------------------------------------------------------------------------------


def _sglang(counts: Counts) -> str:
    """A health check generates a token, unless a variable switches that off."""
    scheduler = f'engine_type="unified",model_name="{NAME}",pp_rank="0",tp_rank="0"'
    makes_tokens = os.environ.get("SGLANG_ENABLE_HEALTH_ENDPOINT_GENERATION", "true") == "true"
    tokens = 40 * counts.done + (counts.looks if makes_tokens else 0)
    return f"""# HELP sglang:num_running_reqs The number of running requests.
# TYPE sglang:num_running_reqs gauge
sglang:num_running_reqs{{{scheduler}}} {counts.running}.0
# TYPE sglang:num_queue_reqs gauge
sglang:num_queue_reqs{{{scheduler}}} {counts.waiting}.0
# TYPE sglang:token_usage gauge
sglang:token_usage{{{scheduler}}} 0.28
# TYPE sglang:prompt_tokens_total counter
sglang:prompt_tokens_total{{model_name="{NAME}"}} {7 * counts.done}.0
# TYPE sglang:generation_tokens_total counter
sglang:generation_tokens_total{{model_name="{NAME}"}} {tokens}.0
# TYPE sglang:time_to_first_token_seconds histogram
sglang:time_to_first_token_seconds_bucket{{le="0.001",model_name="{NAME}"}} 0.0
"""


def _tgi(counts: Counts) -> str:
    """No metric exists before the first request."""
    if not counts.has_begun:
        return ""
    return f"""# TYPE tgi_request_count counter
tgi_request_count {counts.done + counts.running + counts.waiting}
# TYPE tgi_batch_inference_count counter
tgi_batch_inference_count{{method="prefill"}} {counts.done + counts.running}
tgi_batch_inference_count{{method="decode"}} {40 * counts.done}
# TYPE tgi_queue_size gauge
tgi_queue_size {counts.waiting}
# TYPE tgi_batch_current_size gauge
tgi_batch_current_size {counts.running}
# TYPE tgi_batch_current_max_tokens gauge
tgi_batch_current_max_tokens 4096
# TYPE tgi_request_generated_tokens histogram
tgi_request_generated_tokens_bucket{{le="1"}} 0
tgi_request_generated_tokens_sum {40 * counts.done}
"""


def _lmdeploy(counts: Counts) -> str:
    of = f'{{engine="0",model_name="{NAME}"}}'
    return f"""# TYPE lmdeploy:num_requests_finished gauge
lmdeploy:num_requests_finished{of} {counts.done}.0
# TYPE lmdeploy:num_requests_running gauge
lmdeploy:num_requests_running{of} {counts.running}.0
# TYPE lmdeploy:num_requests_waiting gauge
lmdeploy:num_requests_waiting{of} {counts.waiting}.0
# TYPE lmdeploy:prompt_tokens_total counter
lmdeploy:prompt_tokens_total{of} {7 * counts.done}.0
# TYPE lmdeploy:generation_tokens_total counter
lmdeploy:generation_tokens_total{of} {40 * counts.done}.0
# TYPE lmdeploy:iteration_tokens_total histogram
lmdeploy:iteration_tokens_total_bucket{{engine="0",le="1.0",model_name="{NAME}"}} 3.0
"""


def _triton(counts: Counts) -> str:
    """The last scheduled number stays in the metrics when nothing runs any more."""
    of = 'model="tensorrt_llm"'
    last = counts.running or int(counts.has_begun)
    return f"""# TYPE nv_trt_llm_request_metrics gauge
nv_trt_llm_request_metrics{{{of},request_type="context",version="1"}} {last}
nv_trt_llm_request_metrics{{{of},request_type="scheduled",version="1"}} {last}
nv_trt_llm_request_metrics{{{of},request_type="max",version="1"}} 512
nv_trt_llm_request_metrics{{{of},request_type="active",version="1"}} {counts.running}
# TYPE nv_trt_llm_general_metrics gauge
nv_trt_llm_general_metrics{{general_type="timestamp",{of},version="1"}} 1700074049
# TYPE nv_inference_request_success counter
nv_inference_request_success{{{of},version="1"}} {counts.done}
# TYPE nv_inference_request_failure counter
nv_inference_request_failure{{{of},version="1"}} 0
# TYPE nv_inference_pending_request_count gauge
nv_inference_pending_request_count{{{of},version="1"}} {counts.waiting}
# TYPE nv_gpu_utilization gauge
nv_gpu_utilization{{gpu_uuid="GPU-0"}} 0.5
"""


def _nim(counts: Counts, prefix: str = "vllm:") -> str:
    of = f'{{engine="0",model_name="{NAME}"}}'
    return f"""# TYPE {prefix}num_requests_running gauge
{prefix}num_requests_running{of} {counts.running}.0
# TYPE {prefix}num_requests_waiting gauge
{prefix}num_requests_waiting{of} {counts.waiting}.0
# TYPE {prefix}prompt_tokens_total counter
{prefix}prompt_tokens_total{of} {7 * counts.done}.0
# TYPE {prefix}generation_tokens_total counter
{prefix}generation_tokens_total{of} {40 * counts.done}.0
process_cpu_seconds_total {time.monotonic():.2f}
"""


def _nim_1(counts: Counts) -> str:
    return _nim(counts, prefix="")


def _ovms(counts: Counts) -> str:
    """Readiness checks are counted among the successful requests."""
    of = f'interface="REST",method="Unary",name="{NAME}"'
    in_process = counts.running + counts.waiting
    return f"""# TYPE ovms_current_graphs gauge
ovms_current_graphs{{name="{NAME}"}} {in_process}
# TYPE ovms_requests_success counter
ovms_requests_success{{api="KServe",interface="REST",method="ModelReady",name="{NAME}"}} {counts.looks}
ovms_requests_success{{api="KServe",interface="REST",method="ModelMetadata",name="{NAME}"}} 0
# TYPE ovms_requests_accepted counter
ovms_requests_accepted{{api="V3",{of}}} {counts.done + in_process}
# TYPE ovms_responses counter
ovms_responses{{api="V3",{of}}} {counts.done}
"""


# --- the engines -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Engine:
    metrics: Callable[[Counts], str]
    port: str  # the argument or variable that sets it
    metrics_port: str = ""  # the same for the metrics' port, where it is separate
    switch: str = ""  # the flag without which there are no metrics
    health: str
    metrics_path: str = "/metrics"
    asked: str = "/v1/chat/completions"
    not_ready: int = 503
    drains_for: float = ALL  # seconds after SIGTERM


ENGINES: Mapping[str, Engine] = {
    "sglang": Engine(metrics=_sglang, port="--port", switch="--enable-metrics", health="/health"),
    "tgi": Engine(metrics=_tgi, port="--port", health="/health", drains_for=90),
    "lmdeploy": Engine(metrics=_lmdeploy, port="--server-port", health="/health"),
    "triton": Engine(
        metrics=_triton,
        port="--http-port",
        metrics_port="--metrics-port",
        health="/v2/health/ready",
        asked="/v2/models/ensemble/generate",
        not_ready=400,
    ),
    "nim": Engine(
        metrics=_nim,
        port="NIM_SERVER_PORT",
        health="/v1/health/ready",
        metrics_path="/v1/metrics",
        drains_for=0,
    ),
    "ovms": Engine(
        metrics=_ovms,
        port="--rest_port",
        switch="--metrics_enable",
        health="/v2/health/ready",
        asked="/v3/chat/completions",
        drains_for=0,
    ),
}
OLDER = {"nim-1": Engine(metrics=_nim_1, port="NIM_SERVER_PORT", health="/v1/health/ready", metrics_path="/v1/metrics")}
"""Older versions, whose metrics Slipway also understands."""


class Scripted:
    """A running engine. It becomes ready after `loading` seconds, or when a test sets `is_ready`."""

    def __init__(self, engine: Engine, port: int, metrics_port: int, *, loading: float = 0.0) -> None:
        self.engine, self.counts = engine, Counts()
        self.port, self.metrics_port = port, metrics_port
        self.is_ready = threading.Event()
        self._lock = threading.Lock()
        self._servers: list[ThreadingHTTPServer] = []
        if loading:
            threading.Timer(loading, self.is_ready.set).start()

    def start(self) -> None:
        for port in {self.port, self.metrics_port}:
            server = ThreadingHTTPServer(("", port), _handler(self))
            self._servers.append(server)
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def drain(self) -> None:
        end = time.monotonic() + self.engine.drains_for
        while self.counts.running and time.monotonic() < end:
            time.sleep(0.05)

    def get(self, path: str) -> tuple[int, str]:
        if path == self.engine.metrics_path:
            return 200, self.engine.metrics(self.counts)
        if path.endswith("/live"):
            return 200, ""
        if path == self.engine.health:
            self.counts.looks += 1
            return (200 if self.is_ready.is_set() else self.engine.not_ready), ""
        return 404, ""

    def post(self, path: str, body: bytes) -> tuple[int, str]:
        """Takes as long as the request says."""
        if path != self.engine.asked:
            return 404, ""
        if not self.is_ready.is_set():
            return 500, "the request came before it was ready"
        time.sleep(float(json.loads(body).get("seconds", 0)))
        return 200, json.dumps({"done": self.counts.done})

    @contextmanager
    def running(self) -> Iterator[None]:
        """Counts a request as running until its response is written."""
        self._count(1, 0)
        try:
            yield
        finally:
            self._count(-1, 1)

    def _count(self, running: int, done: int) -> None:
        with self._lock:
            self.counts.running += running
            self.counts.done += done


def _handler(scripted: Scripted) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(*scripted.get(self.path.partition("?")[0]))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            with scripted.running():
                self._answer(*scripted.post(self.path, body))

        def _answer(self, status: int, text: str) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())
            self.wfile.flush()

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def main(name: str, arguments: Sequence[str]) -> None:
    engine = ENGINES[name]
    given = {**os.environ, **{flag: value for flag, _, value in (each.partition("=") for each in arguments)}}
    if engine.switch and engine.switch not in given:
        sys.exit(f"{name} has no metrics without {engine.switch}")
    port = int(given[engine.port])
    metrics_port = int(given[engine.metrics_port]) if engine.metrics_port else port
    scripted = Scripted(engine, port, metrics_port, loading=float(given["LOADING"]))
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    scripted.start()
    ended.wait()
    scripted.drain()
    os._exit(0)  # running requests are cut off


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
