"""The paths that engines serve, and who may ask for which. What isn't listed here doesn't exist for anyone outside."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    OPEN = "open"
    """For everybody, without a key."""
    KEYED = "keyed"
    """With a key; costs next to nothing."""
    LIMITED = "limited"
    """With a key; the front end computes, so it is limited as work is, but isn't the engine's."""
    WORK = "work"
    """With a key; the engine computes, so it is limited, counted and measured."""


class Takes(Enum):
    """The body of a request."""

    NOTHING = "nothing"
    JSON = "JSON"
    ANYTHING = "anything"


TOKENIZER_BYTES = 1 << 20
"""Of a body of which only tokens are made, by the process that all requests come to."""


@dataclass(frozen=True)
class Route:
    method: str
    path: str
    """A * stands for one part between slashes."""
    kind: Kind
    takes: Takes = Takes.NOTHING
    most_bytes: int = 1 << 62
    """Of a body, if the guard's limit isn't lower."""


_WORK = """
    /v1/chat/completions /v1/completions /v1/responses /v1/messages /v1/embeddings
    /v1/rerank /v2/rerank /rerank /v1/score /score /classify /pooling
"""
_AUDIO = "/v1/audio/transcriptions /v1/audio/translations"
_TOKENIZER = "/tokenize /detokenize /v1/messages/count_tokens"
MODELS, ONE_MODEL = "/v1/models", "/v1/models/*"
SERVED = (
    Route("GET", "/health", Kind.OPEN),
    Route("GET", MODELS, Kind.KEYED),
    Route("GET", ONE_MODEL, Kind.KEYED),
    Route("GET", "/v1/responses/*", Kind.KEYED),
    Route("POST", "/v1/responses/*/cancel", Kind.LIMITED, Takes.ANYTHING, TOKENIZER_BYTES),
    *(Route("POST", path, Kind.LIMITED, Takes.JSON, TOKENIZER_BYTES) for path in _TOKENIZER.split()),
    *(Route("POST", path, Kind.WORK, Takes.JSON) for path in _WORK.split()),
    *(Route("POST", path, Kind.WORK, Takes.ANYTHING) for path in _AUDIO.split()),
)


class Routes:
    def __init__(self, more: Iterable[str] = ()) -> None:
        """`more` is allowed besides what is served: "POST /path"."""
        added = (_added(*rule.partition(" ")[::2]) for rule in more)
        self._exact: dict[tuple[str, str], Route] = {}
        self._patterns: list[tuple[tuple[str, ...], Route]] = []
        for route in (*SERVED, *added):
            if "*" in route.path:
                self._patterns.append((tuple(route.path.split("/")), route))
            else:
                self._exact[route.method, route.path] = route

    def find(self, method: str, path: str) -> Route | None:
        """The route of a decoded path, compared as it is: what an engine would forgive in it, the guard doesn't."""
        if method == "HEAD":
            method = "GET"
        return self._exact.get((method, path)) or self._by_pattern(method, path)

    def exists(self, path: str) -> bool:
        """By any method: what browsers ask for with OPTIONS before they send a request."""
        return any(self.find(method, path) for method in ("GET", "POST", "PUT", "DELETE"))

    def _by_pattern(self, method: str, path: str) -> Route | None:
        parts = path.split("/")
        for pattern, route in self._patterns:
            if route.method == method and len(pattern) == len(parts) and all(map(_fits, pattern, parts)):
                return route
        return None


def _added(method: str, path: str) -> Route:
    if method in ("GET", "HEAD", "OPTIONS"):
        return Route(method, path, Kind.KEYED)
    return Route(method, path, Kind.LIMITED, Takes.ANYTHING)


def _fits(wanted: str, part: str) -> bool:
    return wanted == part or (wanted == "*" and part not in ("", ".", ".."))
