"""In what state a pod is, and what follows from each event: one table, and nothing that acts."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class State(StrEnum):
    STARTING = "Starting"  # the engine loads
    READY = "Ready"
    LEAVING = "Leaving"  # told to stop; still serves, until no Service leads here any more
    DRAINING = "Draining"  # refuses what is new, finishes what is in flight
    CUTTING = "Cutting"  # what is still in flight is ended with an error
    STOPPING = "Stopping"  # the engine is told to end, or killed
    ENDED = "Ended"

    @property
    def admits(self) -> bool:
        """Whether requests that come now are served."""
        return self in (State.READY, State.LEAVING)


class Event(StrEnum):
    ANSWERS = "Answers"  # the engine has answered its health check and the warm-up
    STOP = "Stop"  # SIGTERM or SIGINT
    TIME_UP = "TimeUp"  # the state has lasted as long as it may
    IDLE = "Idle"  # nothing is in flight
    STUCK = "Stuck"  # the engine makes no progress
    ENGINE_ENDED = "EngineEnded"
    UNLIMITED = "Unlimited"  # the engine's web server would take anything from anybody
    FUTILE = "Futile"  # the engine is tried once more, for nothing: what it has failed of will be the same


class Action(StrEnum):
    REFUSE = "Refuse"  # the guard answers what is new with 503
    CUT = "Cut"  # the guard ends what is in flight
    TERMINATE = "Terminate"  # the engine may end by itself
    KILL = "Kill"  # the engine and all that it started
    BLAME_THE_START = "BlameTheStart"  # it took too long
    BLAME_THE_SERVER = "BlameTheServer"  # it has no limits
    BLAME_THE_ENGINE = "BlameTheEngine"  # it ended, failed, or got stuck, and nobody had asked for that


Step = tuple[State, tuple[Action, ...]]

TABLE: Mapping[tuple[State, Event], Step] = {
    (State.STARTING, Event.ANSWERS): (State.READY, ()),
    (State.STARTING, Event.STOP): (State.STOPPING, (Action.KILL,)),  # nothing is in flight, and vLLM would not listen
    (State.STARTING, Event.TIME_UP): (State.STOPPING, (Action.BLAME_THE_START, Action.KILL)),
    (State.STARTING, Event.ENGINE_ENDED): (State.ENDED, (Action.BLAME_THE_ENGINE,)),
    (State.STARTING, Event.UNLIMITED): (State.STOPPING, (Action.BLAME_THE_SERVER, Action.KILL)),
    (State.STARTING, Event.FUTILE): (State.STOPPING, (Action.BLAME_THE_ENGINE, Action.KILL)),
    (State.READY, Event.STOP): (State.LEAVING, ()),
    (State.READY, Event.STUCK): (State.STOPPING, (Action.BLAME_THE_ENGINE, Action.KILL)),
    (State.READY, Event.ENGINE_ENDED): (State.ENDED, (Action.BLAME_THE_ENGINE,)),
    (State.LEAVING, Event.TIME_UP): (State.DRAINING, (Action.REFUSE,)),
    (State.LEAVING, Event.STOP): (State.CUTTING, (Action.REFUSE, Action.CUT)),
    (State.LEAVING, Event.STUCK): (State.STOPPING, (Action.BLAME_THE_ENGINE, Action.KILL)),
    (State.LEAVING, Event.ENGINE_ENDED): (State.ENDED, (Action.BLAME_THE_ENGINE,)),
    (State.DRAINING, Event.IDLE): (State.STOPPING, (Action.TERMINATE,)),
    (State.DRAINING, Event.TIME_UP): (State.CUTTING, (Action.CUT,)),
    (State.DRAINING, Event.STOP): (State.CUTTING, (Action.CUT,)),
    (State.DRAINING, Event.STUCK): (State.STOPPING, (Action.BLAME_THE_ENGINE, Action.KILL)),
    (State.DRAINING, Event.ENGINE_ENDED): (State.ENDED, (Action.BLAME_THE_ENGINE,)),
    (State.CUTTING, Event.IDLE): (State.STOPPING, (Action.TERMINATE,)),
    (State.CUTTING, Event.TIME_UP): (State.STOPPING, (Action.TERMINATE,)),
    (State.CUTTING, Event.STOP): (State.STOPPING, (Action.KILL,)),
    (State.CUTTING, Event.ENGINE_ENDED): (State.ENDED, (Action.BLAME_THE_ENGINE,)),
    (State.STOPPING, Event.TIME_UP): (State.STOPPING, (Action.KILL,)),
    (State.STOPPING, Event.STOP): (State.STOPPING, (Action.KILL,)),
    (State.STOPPING, Event.ENGINE_ENDED): (State.ENDED, ()),
}


def step(state: State, event: Event) -> Step:
    """The state that follows, and what to do; an event that means nothing in a state changes nothing."""
    return TABLE.get((state, event), (state, ()))
