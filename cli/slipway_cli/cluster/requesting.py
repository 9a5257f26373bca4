"""A request to a model, answered piece by piece. A model at zero replicas is woken first, and the caller sees why it
takes long."""

from __future__ import annotations

import base64
import binascii
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol
from urllib.parse import quote

from slipway.api.names import PORT_NAME
from slipway.objects.kinds import LLM_DEPLOYMENT, SECRET

from slipway_cli.cluster.acting import patch_of, wake
from slipway_cli.cluster.answers import KEY_VARIABLE, Asleep, Piece, Summary, Unwell, pieces_of, refusal_of, whole
from slipway_cli.cluster.kubectl import ApiError, Kubectl, Object
from slipway_cli.cluster.proxying import Answer, ApiProxy, Dropped
from slipway_cli.cluster.reading import NotThereError, read_one
from slipway_cli.cluster.state import State
from slipway_cli.cluster.watching import Lasting, Live
from slipway_cli.cluster.world import path_of
from slipway_cli.problems import Misused

PATIENCE = 10.0  # seconds for which it must be certain that waiting doesn't help
AGAIN = 0.5  # seconds after which a replica that isn't known everywhere yet is tried again


class Progress(Protocol):
    """Shows the wait."""

    def __call__(self, text: str) -> None: ...

    def over(self) -> None: ...


@dataclass
class Result:
    """What is known once an answer is over."""

    started: float = field(default_factory=time.monotonic)
    waited: float = 0.0  # for a replica, in seconds
    first: float | None = None  # until the first piece, without the wait
    ended: float | None = None
    summary: Summary = field(default_factory=Summary)

    @property
    def tokens_per_second(self) -> float | None:
        count = self.summary.usage.get("completion_tokens", 0)
        if self.first is None or self.ended is None or count < 2 or self.ended <= self.first:
            return None
        return (count - 1) / (self.ended - self.first)


def path_of_service(name: str, namespace: str) -> str:
    """Of a model's Service, through the API server."""
    return f"/api/v1/namespaces/{namespace}/services/{name}:{PORT_NAME}/proxy"


class Asker:
    """Sends requests to one model. `longest`: seconds to wait for a replica. `progress` gets each new sentence about
    the wait."""

    def __init__(
        self, kubectl: Kubectl, proxy: ApiProxy, llm: Object, *, key: str, longest: float, progress: Progress
    ) -> None:
        self._kubectl, self._proxy, self._state = kubectl, proxy, State(llm)
        self._path = path_of_service(self._state.name, self._state.namespace)
        self._headers = {"X-Api-Key": key} if key else {}  # the API server keeps Authorization for itself
        self._longest, self.progress = longest, progress

    @property
    def model(self) -> str:
        spec = self._state.llm.get("spec") or {}
        return str((spec.get("model") or {}).get("servedName") or self._state.name)

    @property
    def _place(self) -> str:
        return f"{self._state.namespace}/{self._state.name}"

    def ask(self, path: str, body: Mapping[str, Any], result: Result) -> Iterator[Piece]:
        """Raises Refusal, or ApiError; closing it ends the request."""
        answer = self._answered(path, {"model": self.model, **body}, result)
        started = time.monotonic()
        try:
            for piece in self._pieces(answer, result):
                if result.first is None and (piece.text or piece.thought):
                    result.first = time.monotonic() - started
                yield piece
        except Dropped as error:
            raise Unwell(f"The connection to {self._place} broke before its answer ended ({error}).") from None
        finally:
            result.ended = time.monotonic() - started
            answer.close()

    def _pieces(self, answer: Answer, result: Result) -> Iterator[Piece]:
        if "text/event-stream" in answer.headers.get("Content-Type", ""):
            yield from pieces_of(answer.lines(), result.summary, self._place)
        else:
            yield whole(answer.text(), result.summary, self._place)

    def _answered(self, path: str, body: Mapping[str, Any], result: Result) -> Answer:
        """By a replica; wakes the model if there is none."""
        start = time.monotonic()
        while True:
            try:
                answer = self._proxy.post(self._path + path, body, self._headers)
                if answer.status < 300:
                    return answer
                refusal = refusal_of(answer.status, answer.text(), self._place)
            except Dropped as error:
                raise Unwell(f"No answer of {self._place}: {error}.") from None
            answer.close()
            if not isinstance(refusal, Asleep):
                raise refusal
            self._until_ready(start)
            result.waited = time.monotonic() - start

    # --- the wait ----------------------------------------------------------------------------------------------------

    def _until_ready(self, start: float) -> None:
        state = State(read_one(self._kubectl, self._state.name, self._state.namespace))
        if state.ready:
            self._settle(start)
            return
        self._wake(state)
        for state in self._states(self._longest - (time.monotonic() - start)):
            waited = time.monotonic() - start
            self.progress(f"{state.name} is {state.word} ({waited:.0f} s): {state.message}")
            if state.ready:
                return
        raise Unwell(
            f"{self._place} had no ready replica within {self._longest:.0f} s: {state.word}: {state.message} "
            f"{self._kubectl.ours('why', state.name, state.namespace)} says why."
        )

    def _settle(self, start: float) -> None:
        """The status reports a replica, and the API server doesn't know it yet, or no longer."""
        if time.monotonic() - start > self._longest:
            raise Unwell(f"{self._place} has a ready replica that the API server doesn't find.")
        self.progress(f"{self._state.name} has a ready replica, which the API server doesn't know yet")
        time.sleep(AGAIN)

    def _wake(self, state: State) -> None:
        if state.desired:
            return  # one is on its way
        change = wake(state, datetime.now(UTC))
        if change.useless:
            raise Unwell(change.useless)
        arguments = patch_of(state.llm, change)
        try:
            self._kubectl.run(*arguments)
        except ApiError as error:
            if error.word != "Forbidden":
                raise
            raise ApiError(
                "Forbidden",
                f"{self._place} is at zero replicas, and you may not wake it: ask for patch on llmdeployments in "
                f"namespace {state.namespace}, which the role edit includes ({error.message})",
            ) from None

    def _states(self, seconds: float) -> Iterator[State]:
        """Until the time is over; raises Refusal if a person has to act first."""
        hopeless = Lasting(PATIENCE)
        name, namespace = self._state.name, self._state.namespace
        with Live(self._kubectl, {LLM_DEPLOYMENT: path_of(name, namespace)}) as live:
            for world in live.worlds(max(1.0, seconds)):
                if world is None:
                    raise NotThereError(f"{self._place} has been deleted.")
                state = State(world.llm)
                if hopeless.is_so(state.is_stalled):
                    runbook = state.status.get("runbook")
                    where = f" Runbook: {runbook}" if runbook else ""
                    raise Unwell(
                        f"{self._place} can't start, {state.reason}: {state.message} "
                        f"{self._kubectl.ours('why', name, namespace)} says what to do.{where}"
                    )
                yield state


# --- keys ------------------------------------------------------------------------------------------------------------


def key_of(kubectl: Kubectl, secret: str | None, namespace: str) -> str:
    """`secret`: NAME, or NAME/ENTRY, of a Secret as in spec.access.apiKeysSecret; None: the environment's, if any."""
    if not secret:
        return _first_in(os.environ.get(KEY_VARIABLE, ""), KEY_VARIABLE)
    name, _, entry = secret.partition("/")
    try:
        found = kubectl.get(SECRET.path(namespace, quote(name, safe="")))
    except ApiError as error:
        if error.word == "NotFound":
            raise Misused(f"--key-secret {secret}: there is no Secret {name} in namespace {namespace}.") from None
        if error.word == "Forbidden":
            raise ApiError(
                "Forbidden",
                f"You may not read Secret {name} in namespace {namespace}: put the key into {KEY_VARIABLE} instead "
                f"({error.message})",
            ) from None
        raise
    entries = found.get("data") or {}
    if entry and entry not in entries:
        raise Misused(f"--key-secret {secret}: the Secret has no entry {entry}, but {', '.join(entries) or 'none'}.")
    for each in [entry] if entry else sorted(entries):
        if key := _first_in(_decoded(entries[each]), f"--key-secret {secret}: entry {each}"):
            return key
    raise Misused(f"--key-secret {secret}: there is no key in it; it has one in each line of its entries.")


def _first_in(text: str, where: str) -> str:
    """`text`: a key a line. The others, and a key that is none, are in no message: they are secret, too."""
    key = next((line.strip() for line in text.splitlines() if line.strip()), "")
    if not (key.isascii() and key.isprintable()):
        raise Misused(
            f"{where} has no key in its first line: there are characters that an HTTP header can't have. A key is of "
            "letters, digits and signs of ASCII, one key a line."
        )
    return key


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return ""
