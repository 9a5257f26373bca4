"""The paths that Slipway's engines serve, and which requests wake a model. Pure.

The guard in the pods has the same table (`slipway_runtime.guard.routes`), in a distribution of its own; a test compares
them.
"""

from __future__ import annotations

from urllib.parse import unquote

from slipway.activator.rules import Rules

HEALTH, MODELS, MODEL = "GET /health", "GET /v1/models", "GET /v1/models/*"  # of which the first takes no key
STORED = ("GET /v1/responses/*", "POST /v1/responses/*/cancel")  # of answers that an engine keeps as long as it runs
_WAKE = """
    /v1/chat/completions /v1/completions /v1/responses /v1/messages /v1/embeddings
    /v1/audio/transcriptions /v1/audio/translations
    /v1/rerank /v2/rerank /rerank /v1/score /score /classify /pooling
    /tokenize /detokenize /v1/messages/count_tokens
"""
WAKE = frozenset(f"POST {path}" for path in _WAKE.split())
SERVED = WAKE | {HEALTH, MODELS, MODEL, *STORED}
_PATTERNS = (MODEL, *STORED)
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def path_of(target: bytes) -> str:
    """As an engine's server reads it: without the query, and decoded once."""
    return unquote(target.partition(b"?")[0].decode("latin-1"))


def find(method: str, path: str) -> str | None:
    """The line of the table; None where there is none, so that nobody is answered by an engine of ours."""
    asked = f"{'GET' if method == 'HEAD' else method} {path}"
    if asked in SERVED and "*" not in asked:
        return asked
    parts = asked.split("/")
    return next((line for line in _PATTERNS if _fits(line.split("/"), parts)), None)


def exists(path: str) -> bool:
    """By any method: what browsers ask for with OPTIONS before they send a request."""
    return any(find(method, path) for method in METHODS)


def takes_no_body(method: str, path: str) -> bool:
    """Though it is served: the guard refuses one there."""
    return exists(path) if method == "OPTIONS" else (find(method, path) or "").startswith("GET ")


def wakes(rules: Rules, method: str, path: str) -> bool:
    """Whether the request may wait for a replica, and start one."""
    if rules.wake_on is not None:
        return any(_covers(pattern, f"{method} {path}") for pattern in rules.wake_on)
    return method == "POST" and (find(method, path) in WAKE if rules.is_ours else True)


def needs_key(rules: Rules, method: str, path: str) -> bool:
    """Whether a key must be shown where the deployment has any: for all that wakes, and for what is told of the model.

    What isn't served has nothing to protect.
    """
    if wakes(rules, method, path):
        return True
    if method == "OPTIONS" or (found := find(method, path)) == HEALTH:
        return False
    return found is not None or not rules.is_ours


def _covers(pattern: str, asked: str) -> bool:
    """A * stands for one part between slashes; at the end, for all that follows."""
    wanted, parts = pattern.split("/"), asked.split("/")
    return _fits(wanted, parts[: len(wanted)] if wanted[-1] == "*" else parts)


def _fits(wanted: list[str], parts: list[str]) -> bool:
    return len(wanted) == len(parts) and all(map(_is, wanted, parts))


def _is(wanted: str, part: str) -> bool:
    return wanted == part or (wanted == "*" and part not in ("", ".", ".."))
