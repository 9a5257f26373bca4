"""Decides about one request, from facts alone."""

from dataclasses import dataclass
from math import ceil

from slipway_runtime.contract.tasks import another_task, serves
from slipway_runtime.control import GuardMode
from slipway_runtime.guard import errors
from slipway_runtime.guard.errors import ErrorResponse
from slipway_runtime.guard.routes import BodyKind, Route, RouteKind
from slipway_runtime.guard.settings import GuardSettings


@dataclass(slots=True)
class RequestFacts:
    method: str
    path: str
    route: Route | None
    preflight: bool = False
    """A CORS preflight request of a browser; it never has a key."""
    supervisor: bool = False
    """It has the supervisor's secret."""
    key_shown: bool = False
    owner: str | None = None
    """The owner of its key; None for a key that isn't valid."""
    wait_for_keys: float = 0.0
    """Seconds for which its client's keys aren't checked."""
    foreign: bool = False
    """It names a stored response of another owner, or one whose owner isn't known."""
    content_length: int = 0
    chunked: bool = False
    """It has a body of unknown length."""
    mode: int = GuardMode.SERVING
    retry_after: int = 5
    in_flight: int = 0
    in_flight_of_owner: int = 0
    has_others: bool = False
    """Other owners have keys, too."""
    wait: float = 0.0
    """Seconds until the owner's rate admits another request."""
    wait_for_tokens: float = 0.0
    """Seconds until the owner has tokens again."""


def decide(facts: RequestFacts, settings: GuardSettings) -> ErrorResponse | None:
    """Returns why the request is refused; None to admit it. A client without rights learns nothing about the engine's
    state."""
    if facts.supervisor:
        return None
    return _not_for_them(facts, settings) or _not_now(facts, settings)


def _not_for_them(facts: RequestFacts, settings: GuardSettings) -> ErrorResponse | None:
    if facts.route is None and not facts.preflight:
        return errors.not_served(facts.method, facts.path)
    if facts.route and settings.keys and facts.owner is None and facts.route.kind is not RouteKind.OPEN:
        return _no_owner(facts)
    if facts.foreign:
        return errors.no_such_response(facts.path.split("/")[3])
    if facts.route and not serves(facts.route.path, task=settings.task, engine=settings.engine):
        why = another_task(facts.method, facts.route.path, task=settings.task, engine=settings.engine)
        return errors.wrong_task(why)
    return None


def _no_owner(facts: RequestFacts) -> ErrorResponse:
    if facts.wait_for_keys:
        return errors.too_many_wrong_keys(ceil(facts.wait_for_keys))
    return errors.WRONG_KEY if facts.key_shown else errors.NO_KEY


def most_bytes(route: Route | None, settings: GuardSettings) -> int:
    """Returns the most bytes that its body may have."""
    if route is None or route.takes is BodyKind.NOTHING:
        return 0
    return min(route.most_bytes, settings.max_body_bytes)


def _not_now(facts: RequestFacts, settings: GuardSettings) -> ErrorResponse | None:
    if facts.mode != GuardMode.SERVING:
        return errors.draining(facts.retry_after)
    most = most_bytes(facts.route, settings)
    if facts.content_length > most or (facts.chunked and not most):
        return errors.too_large(most) if most else errors.NO_BODY
    if facts.route and facts.route.kind in (RouteKind.WORK, RouteKind.LIMITED):
        return _within_limits(facts, settings)
    return None


def decide_again(facts: RequestFacts, settings: GuardSettings) -> ErrorResponse | None:
    """Decides again about an admitted request when its body is complete: others may have taken its place meanwhile."""
    if facts.mode != GuardMode.SERVING:
        return errors.draining(facts.retry_after)
    return _within_limits(facts, settings)


def _within_limits(facts: RequestFacts, settings: GuardSettings) -> ErrorResponse | None:
    if 0 < _most_of_owner(facts, settings) <= facts.in_flight_of_owner:
        return errors.TOO_MANY_AT_ONCE
    if facts.wait > 0:
        return errors.too_fast(ceil(facts.wait))
    if facts.wait_for_tokens > 0:
        return errors.too_many_tokens(settings.tokens_per_minute_per_key, ceil(facts.wait_for_tokens))
    if 0 < settings.max_in_flight <= facts.in_flight:
        return errors.overloaded(1)
    return None


def _most_of_owner(facts: RequestFacts, settings: GuardSettings) -> int:
    """Returns an owner's limit of requests in flight; 0 if there is none. An owner leaves a quarter of the places to
    others."""
    if settings.max_in_flight_per_key or not facts.has_others or not settings.max_in_flight:
        return settings.max_in_flight_per_key
    return max(1, settings.max_in_flight * 3 // 4)
