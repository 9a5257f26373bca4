"""The paths that Slipway's engines serve, and which requests wake a model. Pure.

The guard in the pods has the same table (`slipway_runtime.guard.routes`), in a distribution of its own; a test compares
them.
"""

from __future__ import annotations

from slipway.activator.shared import request_line
from slipway.activator.shared.request_line import RequestLine
from slipway.activator.shared.request_rules import RequestRules
from slipway.contract.tasks import serves

HEALTH, MODELS, MODEL = "GET /health", "GET /v1/models", "GET /v1/models/*"  # the first needs no key
STORED = ("GET /v1/responses/*", "POST /v1/responses/*/cancel")  # responses that an engine stores while it runs
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


def find(line: RequestLine) -> str | None:
    """The row of the table; None: an engine of ours doesn't serve it."""
    return _find("GET" if line.method == "HEAD" else line.method, line)


def exists(line: RequestLine) -> bool:
    """By any method. Browsers check this with OPTIONS before they send a request."""
    return any(_find(method, line) for method in METHODS)


def takes_no_body(line: RequestLine) -> bool:
    """Whether it is served and the guard refuses a body there."""
    return exists(line) if line.method == "OPTIONS" else (find(line) or "").startswith("GET ")


def wakes(rules: RequestRules, line: RequestLine) -> bool:
    """Whether the request may wait for a replica, and start one."""
    if rules.waking is not None:
        return rules.waking.any_fits(line) and fits_task(rules, line)
    return line.method == "POST" and (find(line) in WAKE and fits_task(rules, line) if rules.is_ours else True)


def fits_task(rules: RequestRules, line: RequestLine) -> bool:
    """Whether the model and its engine do what the request is for. Of other engines than ours, nothing is known."""
    return line.method != "POST" or not rules.is_ours or serves(line.path, task=rules.task, engine=rules.engine)


def needs_key(rules: RequestRules, line: RequestLine) -> bool:
    """Whether the request must have a key, if the model has any: if it wakes the model, or reads something about it.

    What isn't served has nothing to protect.
    """
    if wakes(rules, line):
        return True
    if line.method == "OPTIONS" or (found := find(line)) == HEALTH:
        return False
    return found is not None or not rules.is_ours


def _find(method: str, line: RequestLine) -> str | None:
    row = f"{method} {line.path}"
    if row in SERVED and "*" not in row:
        return row
    return next(
        (each for each, pattern in _PATTERNS.items() if pattern.method == method and pattern.fits_path(line)), None
    )
