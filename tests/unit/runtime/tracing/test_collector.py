"""Where spans are sent, and the outcome of sending a batch."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar

import pytest
from slipway_runtime.tracing.collector import Collector, endpoint, resource
from support.ports import free_port


@pytest.mark.parametrize(
    ("configured", "address"),
    [
        ("http://otel:4318", "http://otel:4318/v1/traces"),
        ("http://otel:4318/", "http://otel:4318/v1/traces"),
        ("https://otel.example.com", "https://otel.example.com/v1/traces"),
        ("http://otel:4318/otlp/v1/traces", "http://otel:4318/otlp/v1/traces"),
        ("https://otel/api?tenant=a", "https://otel/api?tenant=a"),
        ("http://[::1]:4318", "http://[::1]:4318/v1/traces"),
    ],
)
def test_a_collector_without_a_path_gets_the_usual_one(configured: str, address: str) -> None:
    assert endpoint(configured) == address


@pytest.mark.parametrize(
    "configured", ["", "otel:4318", "grpc://otel:4317", "http://", "http://otel:0", "http://otel:99999", "http://o tel"]
)
def test_an_invalid_address_is_refused(configured: str) -> None:
    with pytest.raises(ValueError, match=r"not the URL|[Pp]ort"):
        endpoint(configured)


def test_the_variables_of_opentelemetry_set_headers_and_the_ca_certificate() -> None:
    collector = Collector.of(
        "http://otel/v1/traces",
        {
            "OTEL_EXPORTER_OTLP_HEADERS": "api-key=secret%20word, x=1,broken",
            "OTEL_EXPORTER_OTLP_CERTIFICATE": "/ca.pem",
        },
    )
    assert collector == Collector("http://otel/v1/traces", {"api-key": "secret word", "x": "1"}, "/ca.pem")


def test_variables_for_traces_alone_win() -> None:
    collector = Collector.of(
        "http://otel/", {"OTEL_EXPORTER_OTLP_HEADERS": "a=1", "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "b=2"}
    )
    assert collector.headers == {"b": "2"}


@pytest.mark.parametrize(
    ("environment", "service"),
    [
        ({}, "slipway-runtime"),
        ({"OTEL_SERVICE_NAME": "gemma"}, "gemma"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=from-attributes"}, "from-attributes"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=from-attributes", "OTEL_SERVICE_NAME": "gemma"}, "gemma"),
    ],
)
def test_the_service_has_the_name_that_it_is_given(environment: dict[str, str], service: str) -> None:
    assert resource(environment, host="pod-1")["service.name"] == service


def test_attributes_of_the_resource_are_taken_over() -> None:
    attributes = resource({"OTEL_RESOURCE_ATTRIBUTES": "k8s.namespace.name=chat"}, host="pod-1")
    assert (attributes["k8s.namespace.name"], attributes["host.name"]) == ("chat", "pod-1")


class Answering(BaseHTTPRequestHandler):
    status: ClassVar[int] = 200
    requests: ClassVar[list[tuple[str, str | None, bytes]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.requests.append((self.path, self.headers["Api-Key"], body))
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the library names it
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Answering.requests.clear()
    with HTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1/traces?tenant=a"
        server.shutdown()
        thread.join()


def test_a_batch_is_one_post(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Answering, "status", 202)
    assert not Collector(server, {"Api-Key": "secret"}).take(b"{}").trouble
    assert Answering.requests == [("/v1/traces?tenant=a", "secret", b"{}")]


@pytest.mark.parametrize(("status", "retries"), [(400, False), (404, False), (429, True), (500, False), (503, True)])
def test_the_response_says_whether_to_retry(
    server: str, monkeypatch: pytest.MonkeyPatch, status: int, retries: bool
) -> None:
    monkeypatch.setattr(Answering, "status", status)
    outcome = Collector(server).take(b"{}")
    assert (outcome.trouble, outcome.again) == (f"it answered with {status}", retries)


def test_an_unreachable_collector_is_retried() -> None:
    outcome = Collector(f"http://127.0.0.1:{free_port()}/v1/traces").take(b"{}")
    assert outcome.again
    assert "refused" in outcome.trouble
