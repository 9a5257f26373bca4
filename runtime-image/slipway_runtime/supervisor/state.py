"""The state machine of a pod: its states, the events, and one table of what follows from each. Nothing here acts."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Self


class PodState(StrEnum):
    """Where a pod is in its life, and what that means for its requests."""

    meaning: str

    def __new__(cls, value: str, meaning: str) -> Self:
        state = str.__new__(cls, value)
        state._value_, state.meaning = value, meaning
        return state

    STARTING = "Starting", "The engine loads."
    READY = "Ready", "Requests are answered."
    LEAVING = (
        "Leaving",
        "SIGTERM was received. Requests are still answered until no Service routes to this pod any more.",
    )
    DRAINING = "Draining", "New requests get 503; requests in flight are finished."
    CUTTING = "Cutting", "Requests that outlived the drain end with an error."
    STOPPING = "Stopping", "The engine is asked to end, or killed."
    ENDED = "Ended", "The engine has ended."


class Event(StrEnum):
    """What happens to a pod from outside."""

    ANSWERS = "Answers"  # the engine has answered its health check and the warm-up request
    STOP = "Stop"  # SIGTERM or SIGINT
    TIME_UP = "TimeUp"  # the state has lasted as long as it may
    IDLE = "Idle"  # nothing is in flight
    STUCK = "Stuck"  # the engine makes no progress
    ENGINE_ENDED = "EngineEnded"
    UNLIMITED = "Unlimited"  # the engine's web server accepts requests of any size from anyone
    FUTILE = "Futile"  # the engine starts a second time although the cause of its first failure remains


class Action(StrEnum):
    """What the supervisor does about an event."""

    REFUSE = "Refuse"  # the guard answers new requests with 503
    CUT = "Cut"  # the guard ends requests in flight with an error
    TERMINATE = "Terminate"  # SIGTERM: the engine may end on its own
    KILL = "Kill"  # SIGKILL for the engine and everything that it started
    BLAME_THE_START = "BlameTheStart"  # the failure is: the start took too long
    BLAME_THE_SERVER = "BlameTheServer"  # the failure is: the web server has no limits
    BLAME_THE_ENGINE = (
        "BlameTheEngine"  # the failure is: the engine ended, failed or got stuck without being asked to end
    )


Step = tuple[PodState, tuple[Action, ...]]

TABLE: Mapping[tuple[PodState, Event], Step] = {
    (PodState.STARTING, Event.ANSWERS): (PodState.READY, ()),
    # While it loads, nothing is in flight, and vLLM would ignore SIGTERM: so it is killed.
    (PodState.STARTING, Event.STOP): (PodState.STOPPING, (Action.KILL,)),
    (PodState.STARTING, Event.TIME_UP): (PodState.STOPPING, (Action.BLAME_THE_START, Action.KILL)),
    (PodState.STARTING, Event.ENGINE_ENDED): (PodState.ENDED, (Action.BLAME_THE_ENGINE,)),
    (PodState.STARTING, Event.UNLIMITED): (PodState.STOPPING, (Action.BLAME_THE_SERVER, Action.KILL)),
    (PodState.STARTING, Event.FUTILE): (PodState.STOPPING, (Action.BLAME_THE_ENGINE, Action.KILL)),
    (PodState.READY, Event.STOP): (PodState.LEAVING, ()),
    (PodState.READY, Event.STUCK): (PodState.STOPPING, (Action.BLAME_THE_ENGINE, Action.KILL)),
    (PodState.READY, Event.ENGINE_ENDED): (PodState.ENDED, (Action.BLAME_THE_ENGINE,)),
    (PodState.LEAVING, Event.TIME_UP): (PodState.DRAINING, (Action.REFUSE,)),
    (PodState.LEAVING, Event.STOP): (PodState.CUTTING, (Action.REFUSE, Action.CUT)),
    (PodState.LEAVING, Event.STUCK): (PodState.STOPPING, (Action.BLAME_THE_ENGINE, Action.KILL)),
    (PodState.LEAVING, Event.ENGINE_ENDED): (PodState.ENDED, (Action.BLAME_THE_ENGINE,)),
    (PodState.DRAINING, Event.IDLE): (PodState.STOPPING, (Action.TERMINATE,)),
    (PodState.DRAINING, Event.TIME_UP): (PodState.CUTTING, (Action.CUT,)),
    (PodState.DRAINING, Event.STOP): (PodState.CUTTING, (Action.CUT,)),
    (PodState.DRAINING, Event.STUCK): (PodState.STOPPING, (Action.BLAME_THE_ENGINE, Action.KILL)),
    (PodState.DRAINING, Event.ENGINE_ENDED): (PodState.ENDED, (Action.BLAME_THE_ENGINE,)),
    (PodState.CUTTING, Event.IDLE): (PodState.STOPPING, (Action.TERMINATE,)),
    (PodState.CUTTING, Event.TIME_UP): (PodState.STOPPING, (Action.TERMINATE,)),
    (PodState.CUTTING, Event.STOP): (PodState.STOPPING, (Action.KILL,)),
    (PodState.CUTTING, Event.ENGINE_ENDED): (PodState.ENDED, (Action.BLAME_THE_ENGINE,)),
    (PodState.STOPPING, Event.TIME_UP): (PodState.STOPPING, (Action.KILL,)),
    (PodState.STOPPING, Event.STOP): (PodState.STOPPING, (Action.KILL,)),
    (PodState.STOPPING, Event.ENGINE_ENDED): (PodState.ENDED, ()),
}


def step(state: PodState, event: Event) -> Step:
    """Returns the next state and the actions; an event without a row in the table changes nothing."""
    return TABLE.get((state, event), (state, ()))


def waits_for(state: PodState, event: Event) -> bool:
    """Returns whether the event changes anything in that state."""
    return (state, event) in TABLE
