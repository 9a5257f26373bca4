"""A webhook to which Alertmanager sends its notifications, and waiting for one of them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer

from support.builders.objects import Object
from support.monitoring.network import LOOPBACK, Network


@dataclass(frozen=True)
class Notification:
    """One alert of a notification, as the webhook got it."""

    content: Object

    @property
    def status(self) -> str:
        return str(self.content["status"])

    @property
    def name(self) -> str:
        return self.labels["alertname"]

    @property
    def labels(self) -> dict[str, str]:
        return dict(self.content["labels"])

    @property
    def annotations(self) -> dict[str, str]:
        return dict(self.content["annotations"])

    def has(self, name: str, labels: dict[str, str]) -> bool:
        return self.name == name and labels.items() <= self.labels.items()


@dataclass
class Receiver:
    """What has arrived so far, in order."""

    port: int
    notifications: list[Notification] = field(default_factory=list)
    _came: threading.Condition = field(default_factory=threading.Condition)

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}/"

    def note(self, alerts: list[Object]) -> None:
        with self._came:
            self.notifications += map(Notification, alerts)
            self._came.notify_all()

    def until(self, name: str, status: str, *, within: float, after: int = 0, **labels: str) -> Notification:
        """Waits for a notification, after the first `after` ones; returns it."""

        def found() -> Notification | None:
            return next(
                (each for each in self.notifications[after:] if each.has(name, labels) and each.status == status), None
            )

        with self._came:
            self._came.wait_for(found, timeout=within)
            notification = found()
        came = [f"{each.name} {each.status} {each.labels}" for each in self.notifications[after:]]
        assert notification, (
            f"no {name} {labels or ''} was {status} within {within:.0f} s; what came: {came or 'nothing'}"
        )
        return notification

    def until_ended(self, name: str, *, within: float, after: int = 0, **labels: str) -> Notification:
        """Waits until the last notification of the alert is its end; returns that."""

        def last() -> Notification | None:
            about = [each for each in self.notifications[after:] if each.has(name, labels)]
            return about[-1] if about else None

        def end() -> Notification | None:
            found = last()
            return found if found and found.status == "resolved" else None

        with self._came:
            self._came.wait_for(end, timeout=within)
            notification = end()
        assert notification, f"{name} {labels or ''} did not end within {within:.0f} s; the last was {last()}"
        return notification


@contextmanager
def receiving(network: Network) -> Iterator[Receiver]:
    listener = network.listener()
    receiver = Receiver(listener.getsockname()[1])
    server = HTTPServer((LOOPBACK, receiver.port), _handler(receiver.note), bind_and_activate=False)
    server.socket.close()
    server.socket = listener
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(note: Callable[[list[Object]], None]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            note(body["alerts"])
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    return Handler
