"""What a model's API answers: the pieces of a streamed answer, and why a request was refused. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from slipway_cli.problems import NOT_WELL, USAGE, Problem

OF_KEYS = ("missing_api_key", "invalid_api_key")
GIVE_A_KEY = "Give a key by --key-secret NAME, or in the environment variable {variable}."
NO_ENDPOINTS = "no endpoints available for service"
UNREACHABLE = "error trying to reach service"
KEY_VARIABLE = "SLIPWAY_API_KEY"
DATA, COMMENT, DONE = "data:", ":", "[DONE]"


class Refusal(Problem):
    """A request without an answer, for want of a right or a key."""


class Unwell(Refusal):
    """The model, or what is before it, can't answer now."""

    exit_code = NOT_WELL


class Asleep(Unwell):
    """The API server knows no replica."""


class WrongRequest(Refusal):
    """The same request is refused again."""

    exit_code = USAGE


@dataclass(frozen=True)
class Piece:
    """`text`: of the answer; `thought`: of a reasoning model; `progress`: of a request that is held."""

    text: str = ""
    thought: str = ""
    progress: str = ""


@dataclass
class Summary:
    """Filled in as an answer arrives."""

    finish: str = ""
    usage: dict[str, int] = field(default_factory=dict)


def refusal_of(status: int, body: str, service: str) -> Refusal:
    """`service`: NAMESPACE/NAME."""
    found = _parsed(body)
    if found.get("kind") == "Status":
        return _of_api_server(status, str(found.get("message") or ""), service)
    error = found.get("error")
    said = error if isinstance(error, dict) else found
    message = str(said.get("message") or body.strip() or f"it answered {status} without a text")
    code = str(said.get("code") or "")
    hint = f" {GIVE_A_KEY.format(variable=KEY_VARIABLE)}" if code in OF_KEYS or status == 401 else ""
    return _kind(status)(f"{service} answered {status}{f' {code}' if code else ''}: {message}{hint}")


def _parsed(text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _kind(status: int) -> type[Refusal]:
    if status in (401, 403):
        return Refusal
    return WrongRequest if 400 <= status < 500 and status != 429 else Unwell


def _of_api_server(status: int, message: str, service: str) -> Refusal:
    namespace = service.partition("/")[0]
    if NO_ENDPOINTS in message:
        return Asleep(f"{service} has no ready replica.")
    if status == 403:
        return Refusal(
            f"You may not send requests to Services through the API server: ask for create on services/proxy in "
            f"namespace {namespace}, which the role edit includes ({message})."
        )
    if UNREACHABLE in message:
        return Refusal(
            f"The API server reaches no replica of {service} ({message}): if spec.access.allowFrom is set, the network "
            "may keep it out; send the request from a pod that is allowed."
        )
    return Refusal(f"The API server answered {status}: {message}")


# --- streams ---------------------------------------------------------------------------------------------------------


def pieces_of(lines: Iterable[str], summary: Summary, service: str) -> Iterator[Piece]:
    """Of an event stream, chat or completion; raises Refusal for an error in it."""
    for line in lines:
        if line.startswith(COMMENT):
            yield Piece(progress=line.removeprefix(COMMENT).strip())
        if not line.startswith(DATA):
            continue
        data = line.removeprefix(DATA).strip()
        if data == DONE:
            return
        event = _parsed(data)
        if "error" in event:
            raise refusal_of(_status_in(event["error"]), data, service)
        summary.usage = _usage(event) or summary.usage
        for choice in event.get("choices") or []:
            summary.finish = str(choice.get("finish_reason") or summary.finish)
            yield _piece(choice)


def whole(body: str, summary: Summary) -> Piece:
    """Of an answer that is no stream."""
    found = _parsed(body)
    summary.usage = _usage(found)
    choices = found.get("choices") or [{}]
    summary.finish = str(choices[0].get("finish_reason") or "")
    return _piece(choices[0])


def _status_in(error: Any) -> int:
    """Errors in a stream have no status of their own."""
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, int) else 503


def _piece(choice: Mapping[str, Any]) -> Piece:
    delta = choice.get("delta") or choice.get("message") or {}
    thought = delta.get("reasoning_content") or delta.get("reasoning") or ""
    return Piece(text=str(delta.get("content") or choice.get("text") or ""), thought=str(thought))


def _usage(found: Mapping[str, Any]) -> dict[str, int]:
    usage = found.get("usage") or {}
    return {name: value for name, value in usage.items() if isinstance(value, int)}


def shown(text: str) -> str:
    """Without what would control a terminal. Letters that join others stay, which `visible` removes: a model writes in
    every language."""
    return "".join(letter for letter in text if letter in "\n\t" or (letter >= " " and not "\x7f" <= letter <= "\x9f"))
