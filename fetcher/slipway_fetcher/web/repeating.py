"""Tries a request again until it succeeds, or until nothing at all has arrived for a given time."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from slipway_fetcher.problem import FetchError, Reason, StoppedError, TemporaryError
from slipway_fetcher.web.call import Call, shown
from slipway_fetcher.web.client import Client, Response

LARGEST_ANSWER = 64 << 20  # bytes, of lists and manifests
LONGEST_PAUSE = 30.0  # seconds
T = TypeVar("T")


@dataclass(frozen=True)
class Answer:
    """A response with its body, which is small."""

    call: Call
    status: int
    headers: Any
    content: bytes

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    def json(self) -> Any:
        try:
            return json.loads(self.content)
        except (ValueError, RecursionError) as error:
            raise FetchError(
                Reason.FAILED,
                f"The response of {shown(self.call.url)} is not JSON.",
                "Check that the endpoint is right, and that no proxy answers instead of it.",
            ) from error


class Patience:
    """How long this program goes on without receiving a single byte. Shared by all threads."""

    def __init__(self, give_up_after: float, stop: threading.Event) -> None:
        self._limit, self._stop = give_up_after, stop
        self.last_byte = time.monotonic()

    def received(self) -> None:
        self.last_byte = time.monotonic()

    def repeat(self, attempt: Callable[[], T], says: Callable[[str], None] = lambda _: None) -> T:
        failures, started = 0, time.monotonic()
        while True:
            before = self.last_byte
            try:
                return attempt()
            except TemporaryError as error:
                failures = failures + 1 if self.last_byte == before else 0
                silent = time.monotonic() - max(self.last_byte, started)
                if silent > self._limit:
                    raise self._given_up(error, silent) from error
                says(f"{error}")
                pause = min(LONGEST_PAUSE, 0.5 * 2.0 ** min(failures, 10)) * random.uniform(0.5, 1.0)
                if self._stop.wait(pause):
                    raise StoppedError from error

    def _given_up(self, error: TemporaryError, silent: float) -> FetchError:
        return FetchError(
            Reason.FAILED,
            f"Nothing has arrived for {silent:,.0f} s; at last, {error}.",
            "Check the server and the network; the next start goes on where this one ends.",
        )


def ask(client: Client, patience: Patience, call: Call) -> Answer:
    """Sends a request whose response is small, again if necessary."""

    def attempt() -> Answer:
        with client.send(call) as response:
            return Answer(response.call, response.status, response.headers, _all(response))

    answer = patience.repeat(attempt)
    patience.received()
    return answer


def _all(response: Response) -> bytes:
    content = bytearray()
    while piece := response.read(1 << 16):
        content += piece
        if len(content) > LARGEST_ANSWER:
            raise FetchError(
                Reason.FAILED,
                f"The response of {shown(response.call.url)} is larger than {LARGEST_ANSWER:,} bytes.",
                "Check that the endpoint is right.",
            )
    return bytes(content)
