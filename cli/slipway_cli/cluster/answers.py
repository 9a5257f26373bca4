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
MOST = 1 << 53  # tokens; JSON has greater numbers, with which nothing can be computed
LOOKED_AT, SHOWN = 1000, 100  # characters of an answer that isn't understood


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
        return _of_api_server(status, _text(found.get("message")), service)
    error = found.get("error")
    said = error if isinstance(error, dict) else found
    message = _text(said.get("message")) or _text(error) or body.strip() or "without a text"
    code = _code(said.get("code"))
    hint = f" {GIVE_A_KEY.format(variable=KEY_VARIABLE)}" if code in OF_KEYS or status == 401 else ""
    return _kind(status)(f"{service} answered {status}{f' {code}' if code else ''}: {message}{hint}")


# What answers may be any program: each value can have another type than it should.


def _parsed(text: str) -> Mapping[str, Any]:
    try:
        return _mapping(json.loads(text))
    except (ValueError, RecursionError):
        return {}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    """JSON can have halves of letters, which no output takes."""
    if not isinstance(value, str):
        return ""
    return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _code(value: Any) -> str:
    return str(value) if isinstance(value, int) and 0 < value < 1000 else _text(value)


def _kind(status: int) -> type[Refusal]:
    if status in (401, 403):
        return Refusal
    return WrongRequest if 400 <= status < 500 and status != 429 else Unwell


def _of_api_server(status: int, message: str, service: str) -> Refusal:
    namespace = service.partition("/")[0]
    if status == 503 and NO_ENDPOINTS in message:
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
    """Of an event stream, chat or completion; raises Refusal for an error in it, or if it isn't complete."""
    is_answer = False
    for line in lines:
        if line.startswith(COMMENT):
            yield Piece(progress=line.removeprefix(COMMENT).strip())
        if not line.startswith(DATA):
            continue
        data = line.removeprefix(DATA).strip()
        if data == DONE:
            break
        for choice in _choices(data, summary, service):
            is_answer = True
            yield _piece(choice)
    else:
        if is_answer and not summary.finish:
            ended = f"its stream ended without a finish_reason or {DONE}"
            raise Unwell(f"The answer of {service} is not complete: {ended}.")
    if not is_answer:
        raise Unwell(f"{service} sent a stream without an answer in it.")


def whole(body: str, summary: Summary, service: str) -> Piece:
    """Of an answer that is no stream; raises Refusal if there is none in it."""
    if choices := _choices(body, summary, service):
        return _piece(choices[0])
    start = " ".join(body[:LOOKED_AT].split())[:SHOWN]
    raise Unwell(f"{service} answered with success, and there is no answer in it: {start or 'it is empty'}")


def _choices(text: str, summary: Summary, service: str) -> list[Mapping[str, Any]]:
    """Of one object; raises Refusal if it is an error."""
    found = _parsed(text)
    if error := found.get("error"):
        raise refusal_of(_status_in(error), text, service)
    summary.usage = _usage(found) or summary.usage
    listed = found.get("choices")
    choices: list[Mapping[str, Any]] = []
    if isinstance(listed, list):
        choices = [each for each in listed if isinstance(each, dict)]
    for each in choices:
        summary.finish = _text(each.get("finish_reason")) or summary.finish
    return choices


def _status_in(error: Any) -> int:
    """Errors in a stream have no status of their own."""
    code = _mapping(error).get("code")
    return code if isinstance(code, int) else 503


def _piece(choice: Mapping[str, Any]) -> Piece:
    delta = _mapping(choice.get("delta")) or _mapping(choice.get("message"))
    thought = _text(delta.get("reasoning_content")) or _text(delta.get("reasoning"))
    return Piece(text=_text(delta.get("content")) or _text(choice.get("text")), thought=thought)


def _usage(found: Mapping[str, Any]) -> dict[str, int]:
    usage = _mapping(found.get("usage"))
    return {_text(name): value for name, value in usage.items() if isinstance(value, int) and 0 <= value < MOST}


def shown(text: str) -> str:
    """Without what would control a terminal. Letters that join others stay, which `visible` removes: a model writes in
    every language."""
    return "".join(letter for letter in text if letter in "\n\t" or (letter >= " " and not "\x7f" <= letter <= "\x9f"))
