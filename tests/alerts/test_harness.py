"""The harness itself, without a cluster: a real Prometheus fires an alert, and the webhook gets it and its end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from slipway_devcluster.paths import default_cache
from slipway_devcluster.progress import Steps
from support.builders.objects import Object
from support.monitoring.programs import ensure
from support.monitoring.prometheus import monitoring
from support.ports import free_port

pytestmark = pytest.mark.timeout(900, func_only=True)

DOWN = {
    "alert": "TargetDown",
    "expr": 'up{job="target"} == 0',
    "labels": {"severity": "critical"},
    "annotations": {"summary": "{{ $labels.job }} is down, up is {{ $value }}"},
}
RULES: dict[str, Object] = {"rules.yaml": {"groups": [{"name": "own", "rules": [DOWN]}]}}


@contextmanager
def metrics_page(port: int) -> Iterator[None]:
    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"works 1\n")

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", port), Page) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1})
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def test_an_alert_of_prometheus_reaches_the_webhook_rendered_and_so_does_its_end(tmp_path: Path) -> None:
    cache = default_cache()
    port = free_port()
    scrapes: list[Object] = [{"job_name": "target", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}]
    with monitoring(ensure(cache, Steps(cache)), tmp_path, rules=RULES, scrapes=scrapes) as found:
        fired = found.receiver.until("TargetDown", "firing", within=20)
        assert fired.labels["severity"] == "critical"
        assert fired.annotations == {"summary": "target is down, up is 0"}
        with metrics_page(port):
            found.receiver.until("TargetDown", "resolved", within=20)
            assert found.value("works") == 1
