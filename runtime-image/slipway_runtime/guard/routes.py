"""The paths that engines serve, and who may call them. A path that isn't listed here doesn't exist for clients."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Self


class RouteKind(Enum):
    """Who may call a path, and what is counted; `callers` is the description in the reference."""

    callers: str

    def __new__(cls, value: str, callers: str) -> Self:
        kind = object.__new__(cls)
        kind._value_, kind.callers = value, callers
        return kind

    OPEN = "open", "everyone"
    KEYED = "keyed", "clients with a key"
    """Costs next to nothing."""
    LIMITED = "limited", "clients with a key, within the limits"
    """The front end computes, so it is limited as work is, but the engine isn't involved."""
    WORK = "work", "clients with a key, within the limits; counted and measured"
    """The engine computes."""


class BodyKind(Enum):
    """What the body of a request may be."""

    NOTHING = "nothing"
    JSON = "JSON"
    ANYTHING = "anything"


TOKENIZER_BYTES = 1 << 20
"""For bodies that are only tokenized, by the process that serves all requests."""


@dataclass(frozen=True)
class Route:
    method: str
    path: str
    """A * is one segment between slashes."""
    kind: RouteKind
    takes: BodyKind = BodyKind.NOTHING
    most_bytes: int = 1 << 62
    """The most bytes of a body, if the guard's limit isn't lower."""


_WORK = """
    /v1/chat/completions /v1/completions /v1/responses /v1/messages /v1/embeddings
    /v1/rerank /v2/rerank /rerank /v1/score /score /classify /pooling
"""
_AUDIO = "/v1/audio/transcriptions /v1/audio/translations"
_TOKENIZER = "/tokenize /detokenize /v1/messages/count_tokens"
MODELS, ONE_MODEL = "/v1/models", "/v1/models/*"
SERVED = (
    Route("GET", "/health", RouteKind.OPEN),
    Route("GET", MODELS, RouteKind.KEYED),
    Route("GET", ONE_MODEL, RouteKind.KEYED),
    Route("GET", "/v1/responses/*", RouteKind.KEYED),
    Route("POST", "/v1/responses/*/cancel", RouteKind.LIMITED, BodyKind.ANYTHING, TOKENIZER_BYTES),
    *(Route("POST", path, RouteKind.LIMITED, BodyKind.JSON, TOKENIZER_BYTES) for path in _TOKENIZER.split()),
    *(Route("POST", path, RouteKind.WORK, BodyKind.JSON) for path in _WORK.split()),
    *(Route("POST", path, RouteKind.WORK, BodyKind.ANYTHING) for path in _AUDIO.split()),
)


class Routes:
    def __init__(self, more: Iterable[str] = ()) -> None:
        """`more` are additional routes as "POST /path"."""
        added = (_added(*rule.partition(" ")[::2]) for rule in more)
        self._exact: dict[tuple[str, str], Route] = {}
        self._patterns: list[tuple[tuple[str, ...], Route]] = []
        for route in (*SERVED, *added):
            if "*" in route.path:
                self._patterns.append((tuple(route.path.split("/")), route))
            else:
                self._exact[route.method, route.path] = route

    def find(self, method: str, path: str) -> Route | None:
        """Returns the route of a decoded path, compared exactly: the guard tolerates none of what an engine would."""
        if method == "HEAD":
            method = "GET"
        return self._exact.get((method, path)) or self._by_pattern(method, path)

    def exists(self, path: str) -> bool:
        """Returns whether any method has the path: what a browser asks with OPTIONS before it sends a request."""
        return any(self.find(method, path) for method in ("GET", "POST", "PUT", "DELETE"))

    def _by_pattern(self, method: str, path: str) -> Route | None:
        parts = path.split("/")
        for pattern, route in self._patterns:
            if route.method == method and len(pattern) == len(parts) and all(map(_fits, pattern, parts)):
                return route
        return None


def _added(method: str, path: str) -> Route:
    if method in ("GET", "HEAD", "OPTIONS"):
        return Route(method, path, RouteKind.KEYED)
    return Route(method, path, RouteKind.LIMITED, BodyKind.ANYTHING)


def _fits(wanted: str, part: str) -> bool:
    return wanted == part or (wanted == "*" and part not in ("", ".", ".."))
