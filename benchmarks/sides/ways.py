"""The ways by which a request comes to a replica, and the proof in each answer that it came by that way. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from asking import Answer, NotAnsweredError
from slipway_devcluster.demo import HELD

COLD_START = "X-KEDA-HTTP-Cold-Start"
"""The interceptor writes it into each answer: whether the request had to wait for a replica."""

STRAIGHT = "straight from the replica"
HELD_BY_SLIPWAY = "held by Slipway"
HELD_BY_ADD_ON = "held by the add-on's interceptor"
THROUGH_ADD_ON = "through the add-on's interceptor"


@dataclass(frozen=True)
class Way:
    name: str
    url: str
    comes: str  # how its answers come
    host: str | None = None

    def confirm(self, answer: Answer) -> Answer:
        if (came := how_it_came(answer)) != self.comes:
            raise NotAnsweredError(f"the answer came {came}, not {self.comes}")
        return answer


def how_it_came(answer: Answer) -> str:
    match answer.headers.get(COLD_START):
        case "true":
            return HELD_BY_ADD_ON
        case None:
            return HELD_BY_SLIPWAY if answer.comments or HELD in answer.headers else STRAIGHT
        case _:
            return THROUGH_ADD_ON
