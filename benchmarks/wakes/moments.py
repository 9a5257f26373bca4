"""When each step of a wake happened: observed by watches of the benchmark, or reported by the pod itself.

All times are of the monotonic clock. The pod runs on this machine, so its times of day can be converted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import aiohttp
from slipway.activator.keda.scaler import PUSHED
from slipway.contract.pod import RUNTIME_PORT
from slipway.objects.kinds import Object

STEPS: Mapping[str, str] = {
    "told": "KEDA was notified",
    "scaled": "… and has scaled the Deployment",
    "created": "its pod was made",
    "scheduled": "… and bound to the node",
    "started": "… and process 1 of its container runs",
    "ready": "… and it is ready: the model is loaded",
    "answered": "the first token came",
}
"""In order; the duration of each is counted from the one before it."""


@dataclass
class Moments:
    """The moments of one wake; they are cleared before the next one."""

    at: dict[str, float] = field(default_factory=dict)
    replicas: int | None = None
    pods: set[str] = field(default_factory=set)
    _address: str = ""  # of the newest pod that has one
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def hear_deployment(self, arrived: float, type_: str, thing: Object) -> None:
        self.replicas = None if type_ == "DELETED" else thing["spec"].get("replicas", 1)
        if self.replicas:
            self._reached("scaled", arrived)
        self._changed.set()

    def hear_pod(self, arrived: float, type_: str, thing: Object) -> None:
        name = thing["metadata"]["name"]
        (self.pods.discard if type_ == "DELETED" else self.pods.add)(name)
        if type_ != "DELETED" and "deletionTimestamp" not in thing["metadata"]:
            for step, is_reached in _PODS_STEPS.items():
                if is_reached(thing):
                    self._reached(step, arrived)
            self._address = thing.get("status", {}).get("podIP") or self._address
        self._changed.set()

    def read_the_log(self, lines: Iterable[str], asked: float) -> None:
        """Read from the activators' log when they notified KEDA; each line starts with its time."""
        told = [_moment(line.split()[0]) for line in lines if PUSHED in line]
        if since := [moment for moment in told if moment >= asked]:
            self._reached("told", min(since))

    async def ask_the_pod(self, session: aiohttp.ClientSession) -> None:
        """Ask the pod when its process started and when it was ready; no other source is earlier or more exact."""
        async with session.get(f"http://{self._address}:{RUNTIME_PORT}/info") as answer:
            answer.raise_for_status()
            phases = {each["name"]: each["at"] for each in (await answer.json())["phases"]}
        for step in ("started", "ready"):
            self._reached(step, _moment(phases[step]))

    def _reached(self, step: str, arrived: float) -> None:
        self.at.setdefault(step, arrived)

    def steps(self, asked: float, *, first: float) -> dict[str, float]:
        """The seconds of each step since the one before it, and in total; `first` is when the first token arrived."""
        at = {**self.at, "answered": asked + first}
        before, row = asked, {"whole": first}
        for step in STEPS:
            moment = max(at.get(step, before), before)  # events of two watches may arrive in any order
            row[step], before = moment - before, moment
        return row

    def asleep(self) -> bool:
        return self.replicas == 0 and not self.pods

    async def until(self, holds: Callable[[], bool], *, within: float) -> None:
        async with asyncio.timeout(within):
            while not holds():
                self._changed.clear()
                await self._changed.wait()


def _moment(time_of_day: str) -> float:
    return datetime.fromisoformat(time_of_day).timestamp() - (time.time() - time.monotonic())


_PODS_STEPS: Mapping[str, Callable[[Object], bool]] = {
    "created": lambda thing: True,
    "scheduled": lambda thing: bool(thing["spec"].get("nodeName")),
}
