"""The URLs under which the model is reached, and the proof in each response that it took the expected route. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from client import Completion, NoCompletionError
from slipway_devcluster.demo import HELD

COLD_START = "X-KEDA-HTTP-Cold-Start"
"""The interceptor adds this header to each response: whether the request had to wait for a replica."""

STRAIGHT = "straight from the replica"
HELD_BY_SLIPWAY = "held by Slipway"
HELD_BY_ADD_ON = "held by the add-on's interceptor"
THROUGH_ADD_ON = "through the add-on's interceptor"


@dataclass(frozen=True)
class Endpoint:
    name: str
    url: str
    expected: str  # the route that its responses take
    host: str | None = None

    def confirm(self, answer: Completion) -> Completion:
        if (route := route_of(answer)) != self.expected:
            raise NoCompletionError(f"the response came {route}, not {self.expected}")
        return answer


def route_of(answer: Completion) -> str:
    match answer.headers.get(COLD_START):
        case "true":
            return HELD_BY_ADD_ON
        case None:
            return HELD_BY_SLIPWAY if answer.comments or HELD in answer.headers else STRAIGHT
        case _:
            return THROUGH_ADD_ON
