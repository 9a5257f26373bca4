"""A simulation of hours of load on a model whose replicas follow its times: the deciding code is real.

Real: what an activator measures from the readings of its polls, how many replicas it wants, and what it answers KEDA.
Simulated, in steps of a half second: clients, the queue and the slots of each replica, how long a replica loads, and
the HorizontalPodAutoscaler, with the rules of Kubernetes (15 s, tolerance 10 %, doubling, 5 minutes of stabilization)
and the ScaledObject's own (one replica less per minute).
"""

from __future__ import annotations

import math
import random
from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import accumulate

from slipway.activator.shared.demand import ModelDemand
from slipway.activator.tracking.engine_metrics import MetricsReading
from slipway.activator.tracking.following_times import FollowedTimes
from slipway.activator.tracking.scaling_by_times import Replicas
from slipway.contract.buckets import FIRST_TOKEN_BUCKETS

STEP, POLL, SYNC = 0.5, 3.0, 15.0  # seconds
STABILIZATION, REMOVES_EVERY = 300.0, 60.0
BOUNDARIES = (*FIRST_TOKEN_BUCKETS, math.inf)
PREFILL = 0.1  # seconds from a free slot to the first token


@dataclass(eq=False)
class SimulatedReplica:
    """`slots` requests at a time, each for `takes` seconds; others wait in its queue."""

    name: str
    ready_at: float
    queue: deque[float] = field(default_factory=deque)  # when each request arrived
    ends: list[float] = field(default_factory=list)  # when each running one is done
    counts: list[float] = field(default_factory=lambda: [0.0] * len(BOUNDARIES))  # in each bucket alone

    @property
    def in_flight(self) -> int:
        return len(self.queue) + len(self.ends)

    def work(self, now: float, slots: int, takes: Callable[[], float], prefill: float) -> list[float]:
        """The times to first token of those that have started."""
        self.ends = [end for end in self.ends if end > now]
        started = []
        while self.queue and len(self.ends) < slots:
            arrived = self.queue.popleft()
            self.ends.append(now + takes())
            started.append(now - arrived + prefill)
        for seconds in started:
            self.counts[bisect_left(BOUNDARIES, seconds)] += 1
        return started

    def reading(self) -> MetricsReading:
        return MetricsReading(self.in_flight, 0, {"ttft": dict(zip(BOUNDARIES, accumulate(self.counts), strict=True))})


class SimulatedAutoscaler:
    """A HorizontalPodAutoscaler that compares a metric with the target 1 for each replica."""

    def __init__(self, at_least: int, at_most: int) -> None:
        self._at_least, self._at_most = at_least, at_most
        self._recommended: deque[tuple[float, int]] = deque()
        self._removed_at = -math.inf

    def sync(self, value: float, replicas: int, now: float) -> int:
        ratio = value / replicas
        desired = replicas if abs(1 - ratio) <= 0.1 else math.ceil(value)
        self._recommended.append((now, desired))
        while self._recommended[0][0] <= now - STABILIZATION:
            self._recommended.popleft()
        if desired > replicas:
            return min(desired, max(2 * replicas, replicas + 4), self._at_most)
        stable = max(number for _, number in self._recommended)
        if stable < replicas and now - self._removed_at >= REMOVES_EVERY:
            self._removed_at = now
            return max(self._at_least, replicas - 1)
        return replicas


@dataclass
class ScalingSimulation:
    """`arrivals`: requests per second at a time; `clients`: instead, so many that send one request after the other."""

    arrivals: Callable[[float], float] = lambda now: 0.0
    clients: int = 0
    target: float = 0.5
    slots: int = 4
    takes: float = 2.0  # seconds of one request in its slot
    loads_for: float = 30.0
    prefill: float = PREFILL
    at_least: int = 1
    at_most: int = 20
    concurrency: int = 64  # by the plan
    activators: int = 1
    seed: int = 1
    now: float = 0.0
    history: list[tuple[float, int]] = field(default_factory=list)  # the number of replicas, at each change
    first_tokens: list[tuple[float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)
        self._followed = [FollowedTimes() for _ in range(self.activators)]
        self._autoscaler = SimulatedAutoscaler(self.at_least, self.at_most)
        self._replicas = [SimulatedReplica(str(number), 0.0) for number in range(self.at_least)]
        self._made, self._leaving = self.at_least, list[SimulatedReplica]()
        self.history.append((0.0, self.at_least))

    def run(self, *, hours: float) -> ScalingSimulation:
        end = self.now + hours * 3600
        while self.now < end:
            self._step()
            self.now += STEP
        return self

    def restart_activators(self) -> None:
        self._followed = [FollowedTimes() for _ in range(self.activators)]

    def replace_pod(self) -> None:
        """A new one takes the place of the first, at once."""
        self._leaving.append(self._replicas.pop(0))
        self._replicas.append(SimulatedReplica(str(self._made), self.now))
        self._made += 1

    @property
    def replicas(self) -> int:
        return len(self._replicas)

    @property
    def most(self) -> int:
        return max(number for _, number in self.history)

    def changes(self, *, since: float = 0.0) -> int:
        """Hours."""
        return sum(at >= since * 3600 for at, _ in self.history[1:])

    def share_within(self, *, since: float, until: float = math.inf) -> float:
        """Of the requests between these hours, how many met the target."""
        found = [seconds for at, seconds in self.first_tokens if since * 3600 <= at < until * 3600]
        return sum(seconds <= self.target for seconds in found) / len(found)

    # --- one step ----------------------------------------------------------------------------------------------------

    def _step(self) -> None:
        ready = [each for each in self._replicas if each.ready_at <= self.now]
        for _ in range(self._new_requests()):
            self._chance.choice(ready).queue.append(self.now)
        for replica in (*ready, *self._leaving):
            started = replica.work(self.now, self.slots, self._takes, self.prefill)
            self.first_tokens += [(self.now, seconds) for seconds in started]
        for number, followed in enumerate(self._followed):
            if (self.now + number * STEP) % POLL == 0:
                self._poll(followed, ready)
        if self.now % SYNC == 0:
            self._sync(ready)

    def _new_requests(self) -> int:
        if self.clients:
            return self.clients - sum(each.in_flight for each in self._replicas)
        expected, number, product = math.exp(-self.arrivals(self.now) * STEP), 0, self._chance.random()
        while product > expected:
            number, product = number + 1, product * self._chance.random()
        return number

    def _takes(self) -> float:
        return self._chance.uniform(0.5, 1.5) * self.takes

    def _poll(self, followed: FollowedTimes, ready: list[SimulatedReplica]) -> None:
        self._decide(followed, ready)
        for replica in ready:
            followed.record(replica.name, replica.reading(), sum(each.in_flight for each in ready), self.now)

    def _decide(self, followed: FollowedTimes, ready: list[SimulatedReplica]) -> float:
        replicas = Replicas(ready=len(ready), wanted=len(self._replicas), concurrency=self.concurrency)
        names = frozenset(each.name for each in ready)
        demand = ModelDemand(
            active=True,
            waiting=0,
            target_per_replica=self.concurrency,
            running=sum(each.in_flight for each in ready),
            by_times=followed.decide({"ttft": self.target}, replicas, names, self.now),
        )
        return demand.replicas

    def _sync(self, ready: list[SimulatedReplica]) -> None:
        """KEDA calls any of the activators."""
        value = self._decide(self._chance.choice(self._followed), ready)
        wanted = self._autoscaler.sync(value, len(self._replicas), self.now)
        if wanted == len(self._replicas):
            return
        while len(self._replicas) < wanted:
            self._replicas.append(SimulatedReplica(str(self._made), self.now + self.loads_for))
            self._made += 1
        while len(self._replicas) > wanted:
            self._leaving.append(self._replicas.pop())
        self.history.append((self.now, wanted))
