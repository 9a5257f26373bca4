"""The decision about one request, from facts alone."""

from dataclasses import dataclass
from math import ceil

from slipway_runtime.control import State
from slipway_runtime.guard import errors
from slipway_runtime.guard.errors import Refusal
from slipway_runtime.guard.routes import Kind, Route
from slipway_runtime.guard.settings import Settings


@dataclass(slots=True)
class Facts:
    method: str
    path: str
    route: Route | None
    preflight: bool = False
    """A browser asks with OPTIONS whether it may ask; it never shows a key."""
    supervisor: bool = False
    """It has shown the supervisor's secret."""
    key_shown: bool = False
    owner: str | None = None
    """Whose key it is; None for a key of nobody."""
    content_length: int = 0
    state: int = State.SERVING
    retry_after: int = 5
    in_flight: int = 0
    in_flight_of_owner: int = 0
    wait: float = 0.0
    """Seconds until the owner's rate lets one more through."""
    wait_for_tokens: float = 0.0
    """Seconds until the owner has tokens again."""


def decide(facts: Facts, settings: Settings) -> Refusal | None:
    """Why the request is refused; None to let it through. Who may not ask learns nothing about the engine's state."""
    if facts.supervisor:
        return None
    return _not_for_them(facts, settings) or _not_now(facts, settings)


def _not_for_them(facts: Facts, settings: Settings) -> Refusal | None:
    if facts.route is None:
        return None if facts.preflight else errors.not_served(facts.method, facts.path)
    if settings.keys and facts.owner is None and facts.route.kind is not Kind.OPEN:
        return errors.WRONG_KEY if facts.key_shown else errors.NO_KEY
    return None


def _not_now(facts: Facts, settings: Settings) -> Refusal | None:
    if facts.state != State.SERVING:
        return errors.draining(facts.retry_after)
    if facts.content_length > settings.max_body_bytes:
        return errors.too_large(settings.max_body_bytes)
    return _within_limits(facts, settings) if facts.route and facts.route.kind is Kind.WORK else None


def _within_limits(facts: Facts, settings: Settings) -> Refusal | None:
    if 0 < settings.max_in_flight_per_key <= facts.in_flight_of_owner:
        return errors.TOO_MANY_AT_ONCE
    if facts.wait > 0:
        return errors.too_fast(ceil(facts.wait))
    if facts.wait_for_tokens > 0:
        return errors.too_many_tokens(settings.tokens_per_minute_per_key, ceil(facts.wait_for_tokens))
    if 0 < settings.max_in_flight <= facts.in_flight:
        return errors.overloaded(1)
    return None
