"""Where spans are sent, and in whose name: by the options and OpenTelemetry's own variables.

Modules for HTTP are imported on demand: a pod without traces must not wait for them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import SplitResult, unquote, urlsplit

PATH = "/v1/traces"
LATER = (429, 502, 503, 504)
"""Statuses after which a retry may succeed."""
PATIENCE = 5.0  # seconds for a response
SERVICE = "slipway-runtime"

Environment = Mapping[str, str]


@dataclass(frozen=True)
class ExportOutcome:
    trouble: str = ""
    again: bool = False
    """A retry may succeed."""


@dataclass(frozen=True)
class Collector:
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    certificate: str = ""
    """The file of the collector's CA certificate; by default the system's."""

    @classmethod
    def of(cls, url: str, environment: Environment = os.environ) -> Self:
        return cls(url, _pairs(_named(environment, "HEADERS")), _named(environment, "CERTIFICATE"))

    def take(self, body: bytes) -> ExportOutcome:
        from http.client import HTTPException  # noqa: PLC0415 - see above

        try:
            status = self._post(body)
        except (OSError, HTTPException, ValueError) as error:
            return ExportOutcome(f"{type(error).__name__}: {error}", again=True)
        return (
            ExportOutcome()
            if 200 <= status < 300
            else ExportOutcome(f"it answered with {status}", again=status in LATER)
        )

    def _post(self, body: bytes) -> int:
        from http.client import HTTPConnection, HTTPSConnection  # noqa: PLC0415 - see above

        to = urlsplit(self.url)
        if not to.hostname:
            raise ValueError(f"{self.url!r} names no host")
        if to.scheme == "https":
            import ssl  # noqa: PLC0415 - see above

            context = ssl.create_default_context(cafile=self.certificate or None)
            connection: HTTPConnection = HTTPSConnection(to.hostname, to.port, timeout=PATIENCE, context=context)
        else:
            connection = HTTPConnection(to.hostname, to.port, timeout=PATIENCE)
        try:
            connection.request("POST", _target(to), body, {"Content-Type": "application/json", **self.headers})
            return connection.getresponse().status
        finally:
            connection.close()


def endpoint(text: str) -> str:
    """Returns the URL to send traces to; for a collector without a path, that of the standard."""
    url = urlsplit(text)
    if url.scheme not in ("http", "https") or not url.hostname or url.port == 0 or url.username or " " in text:
        raise ValueError(f"{text!r} is not the URL of a collector, such as http://otel-collector.monitoring:4318")
    return url._replace(path=PATH).geturl() if url.path in ("", "/") else text


def resource(environment: Environment = os.environ, *, host: str) -> dict[str, str]:
    """Returns the attributes of the sender."""
    named = _pairs(environment.get("OTEL_RESOURCE_ATTRIBUTES", ""))
    service = environment.get("OTEL_SERVICE_NAME") or named.get("service.name") or SERVICE
    return {"host.name": host, "telemetry.sdk.name": "slipway", "telemetry.sdk.language": "python", **named} | {
        "service.name": service
    }


def _named(environment: Environment, what: str) -> str:
    """Reads one of OpenTelemetry's variables: the one for traces, or the one for all signals."""
    return environment.get(f"OTEL_EXPORTER_OTLP_TRACES_{what}") or environment.get(f"OTEL_EXPORTER_OTLP_{what}") or ""


def _pairs(text: str) -> dict[str, str]:
    """Parses `key=value,key=value`, as in W3C baggage; other parts are ignored."""
    parts = (part.partition("=") for part in text.split(","))
    return {unquote(key.strip()): unquote(value.strip()) for key, equals, value in parts if equals and key.strip()}


def _target(url: SplitResult) -> str:
    return (url.path or "/") + (f"?{url.query}" if url.query else "")
