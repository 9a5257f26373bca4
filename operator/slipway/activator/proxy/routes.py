"""The paths that Slipway's engines serve, and which requests wake a model. Pure.

The guard in the pods has the same table (`slipway_runtime.guard.routes`), in a distribution of its own; a test compares
them.
"""

from __future__ import annotations

from slipway.activator.shared import request_line
from slipway.activator.shared.request_line import RequestLine
from slipway.activator.shared.request_rules import RequestRules

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
_PATTERNS = {line: request_line.pattern(line) for line in (MODEL, *STORED)}
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def find(asked: RequestLine) -> str | None:
    """The line of the table; None where there is none, so that nobody is answered by an engine of ours."""
    return _find("GET" if asked.method == "HEAD" else asked.method, asked)


def exists(asked: RequestLine) -> bool:
    """By any method: what browsers ask for with OPTIONS before they send a request."""
    return any(_find(method, asked) for method in METHODS)


def takes_no_body(asked: RequestLine) -> bool:
    """Though it is served: the guard refuses one there."""
    return exists(asked) if asked.method == "OPTIONS" else (find(asked) or "").startswith("GET ")


def wakes(rules: RequestRules, asked: RequestLine) -> bool:
    """Whether the request may wait for a replica, and start one."""
    if rules.waking is not None:
        return rules.waking.any_fits(asked)
    return asked.method == "POST" and (find(asked) in WAKE if rules.is_ours else True)


def needs_key(rules: RequestRules, asked: RequestLine) -> bool:
    """Whether a key must be shown where the deployment has any: for all that wakes, and for what is told of the model.

    What isn't served has nothing to protect.
    """
    if wakes(rules, asked):
        return True
    if asked.method == "OPTIONS" or (found := find(asked)) == HEALTH:
        return False
    return found is not None or not rules.is_ours


def _find(method: str, asked: RequestLine) -> str | None:
    line = f"{method} {asked.path}"
    if line in SERVED and "*" not in line:
        return line
    return next(
        (each for each, pattern in _PATTERNS.items() if pattern.method == method and pattern.fits_path(asked)), None
    )
