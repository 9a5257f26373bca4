"""What has happened to requests since the activator started, as plain numbers; `metrics` exports them. Pure.

Numbers of single models are kept for those alone for which a request was held or refused, and for so many of them that
no tenant can fill the page of metrics, or take the places of others. The rest are counted together.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from slipway.activator.proxy.fair_limit import FairLimit, Share
from slipway.api.model_key import ModelKey
from slipway.api.reasons import Reason

MOST_MODELS = 1000  # with numbers of their own; one namespace leaves as many places to others as it has
HOLD_BOUNDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)  # seconds


class CloseReason(StrEnum):
    """Why a connection was closed without a response, or without the rest of one. An idle one isn't counted, nor one
    whose client has gone."""

    SILENT = "Silent"  # nothing was received in the time for a head, or nothing that was authorized
    HEAD_TOO_SLOW = "HeadTooSlow"  # a head was received in part only
    MADE_ROOM = "MadeRoom"  # it was silent or idle, and another one needed its place
    ANSWER_NOT_TAKEN = "AnswerNotTaken"  # the client read nothing for too long, or there was no place for the rest


def _of_holds() -> Counter[str]:
    """There from the first hold on: Prometheus sees no increase in the first value of a series."""
    return Counter({str(Reason.HOLD_TIMEOUT): 0, str(Reason.HOLD_FULL): 0})


@dataclass(slots=True)
class ModelCounters:
    """Of one model, or of all that have none of their own."""

    refused: Counter[str] = field(default_factory=_of_holds)  # by the reason that the client was sent, or `CloseReason`
    holds: list[int] = field(default_factory=lambda: [0] * (len(HOLD_BOUNDS) + 1))  # that ended at a replica
    held_seconds: float = 0.0  # the sum of these holds

    def count_hold(self, seconds: float) -> None:
        self.holds[bisect_left(HOLD_BOUNDS, seconds)] += 1
        self.held_seconds += seconds


@dataclass
class ProxyCounters:
    connections: int = 0  # that are open
    wakes: int = 0  # requests that found no replica and no wake in progress
    forwarded: int = 0  # requests that were sent to a replica, each once
    retries: int = 0  # of them, sent again after a try that failed
    models: dict[ModelKey, ModelCounters] = field(default_factory=dict)
    rest: ModelCounters = field(default_factory=ModelCounters)
    in_rest: int = 0  # how often something was counted there for want of a place
    _places: FairLimit = field(default_factory=lambda: FairLimit(MOST_MODELS))

    def of(self, key: ModelKey) -> ModelCounters:
        """Its own, from now on until `forget`, or those of the rest."""
        if known := self.models.get(key):
            return known
        if not self._places.admits(_shares(key), 1):
            self.in_rest += 1
            return self.rest
        self._places.take(_shares(key), 1)
        return self.models.setdefault(key, ModelCounters())

    def forget(self, key: ModelKey) -> None:
        """The model is deleted."""
        if self.models.pop(key, None):
            self._places.give_back(_shares(key), 1)


def _shares(key: ModelKey) -> tuple[Share, ...]:
    return ((("namespace", key.namespace), 1.0),)
