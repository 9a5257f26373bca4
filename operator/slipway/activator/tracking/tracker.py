"""Keeps what the data path knows true: looks at a deployment when something of it changes, and when time alone does."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from slipway.activator.shared.model_key import ModelKey
from slipway.activator.shared.model_state import ModelStates
from slipway.activator.tracking.engine_metrics import MetricsReading
from slipway.activator.tracking.idleness import ModelActivity
from slipway.activator.tracking.metrics_poller import MetricsPoller
from slipway.activator.tracking.pod_summary import PodSummary, summary_of, those_that_count, those_that_tell
from slipway.activator.tracking.poller import PollTarget
from slipway.activator.tracking.readiness_poller import ReadinessPoller
from slipway.activator.tracking.refresh_queue import RefreshQueue
from slipway.activator.tracking.view import (
    ModelView,
    deployment_of,
    engine_port,
    last_cold_start,
    model_state,
    next_moment,
    scaling_of,
)
from slipway.api import names
from slipway.kube.kinds import ENDPOINT_SLICE, LLM_DEPLOYMENT, POD, SERVICE, Object
from slipway.kube.store import Store
from slipway.observing.porttable import Claim, claim_of

log = logging.getLogger(__name__)

STARTS_REMEMBERED = 5
LONGEST_CAUSE = 256
LOOK_AGAIN_AFTER = 1.0  # seconds, at a deployment whose pods aren't ready: how long they aren't matters then


class Tracker:
    """`port_of`: our port that belongs to a deployment; `now`: the time of day, `clock`: the event loop's."""

    def __init__(
        self,
        store: Store,
        deployments: ModelStates,
        *,
        port_of: Callable[[Claim], int | None],
        now: Callable[[], datetime],
        clock: Callable[[], float],
    ) -> None:
        self._store, self._deployments, self._port_of = store, deployments, port_of
        self._now, self._clock = now, clock
        self._activities: defaultdict[ModelKey, ModelActivity] = defaultdict(ModelActivity)
        self._starts: defaultdict[ModelKey, deque[float]] = defaultdict(lambda: deque(maxlen=STARTS_REMEMBERED))
        self._counted: defaultdict[ModelKey, set[str]] = defaultdict(set)  # uids of pods whose start is remembered
        self._greeted: defaultdict[ModelKey, set[PollTarget]] = defaultdict(set)
        self._restless: set[ModelKey] = set()
        self._due: dict[ModelKey, datetime] = {}  # when time alone changes something next
        self._complaints: dict[ModelKey, tuple[str, str]] = {}
        self._looking = RefreshQueue(self.look, clock)
        store.keep_briefs(POD, summary_of)
        self.scraping = MetricsPoller(self.hear)
        self.greeting = ReadinessPoller(self.greet)

    def look_at_all(self) -> None:
        for thing in self._store.all(LLM_DEPLOYMENT):
            self.look(deployment_of(thing))

    def look(self, deployment: ModelKey) -> None:
        """What the caches show of it goes to the data path.

        Much of that is its owner's to write. Whatever it makes us fail at, it stays that deployment's own affair: it
        is unknown, so that nothing leads anywhere, until a look succeeds.
        """
        try:
            self._look(deployment)
        except Exception as error:
            self._forget(deployment)
            self._restless.add(deployment)
            self._complain(deployment, error)
        else:
            self._complaints.pop(deployment, None)

    def _look(self, deployment: ModelKey) -> None:
        namespace, name = deployment
        thing = self._store.get(LLM_DEPLOYMENT, name, namespace)
        if thing is None or "deletionTimestamp" in thing["metadata"]:
            self._forget(deployment)
            return
        pods = self._pods_of(deployment)
        self._remember_starts(deployment, pods)
        self._greet_who_starts(deployment, pods)
        sight = self._sight(deployment, thing, pods)
        self._follow(deployment, sight)
        if told := model_state(sight):
            self._deployments.tell(told)
        else:
            self._deployments.forget(deployment)
        if due := next_moment(sight):
            self._due[deployment] = due
        else:
            self._due.pop(deployment, None)
        waits = bool(pods) and not any(pod.is_ready for pod in pods)
        (self._restless.add if waits else self._restless.discard)(deployment)

    def hear(self, deployment: ModelKey, uid: str, reading: MetricsReading) -> None:
        """What an engine says of itself."""
        self._activities[deployment].hear(uid, reading, self._clock())
        self.changed(deployment)

    def greet(self, target: PollTarget) -> None:
        """It says itself that it is ready, before the API server knows."""
        self._greeted[target.deployment].add(target)
        self.changed(target.deployment)

    def changed(self, deployment: ModelKey, *, urgently: bool = False) -> None:
        """Something of it has: it will be looked at, in its turn."""
        self._looking.changed(deployment, urgently=urgently)

    async def keep_looking(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._looking.run(), name="looking")
            group.create_task(self._look_again(), name="looking again")

    # --- inside ------------------------------------------------------------------------------------------------------

    async def _look_again(self) -> None:
        while True:
            await asyncio.sleep(LOOK_AGAIN_AFTER)
            now = self._now()
            due = [deployment for deployment, at in self._due.items() if at <= now]
            for deployment in {*self._restless, *due}:
                self.changed(deployment)

    def _pods_of(self, deployment: ModelKey) -> Sequence[PodSummary]:
        pods: list[PodSummary] = self._store.briefs(POD, deployment.name, deployment.namespace)
        if not all(pods):
            raise ValueError("one of its pods can't be read")
        return those_that_count(pods)

    def _shown(self, namespace: str, pods: Sequence[PodSummary]) -> Iterator[Object]:
        for name in those_that_tell(pods):
            if pod := self._store.get(POD, name, namespace):
                yield pod

    def _complain(self, deployment: ModelKey, error: Exception) -> None:
        """Once of each cause: it is looked at again and again."""
        cause = type(error).__name__, str(error)[:LONGEST_CAUSE]
        if self._complaints.get(deployment) != cause:
            self._complaints[deployment] = cause
            told = "It can't be read, so nobody can ask for it here, which is a bug worth a report: %s: %s"
            log.error(told, *cause, exc_info=error, extra={"key": str(deployment)})

    def _sight(self, deployment: ModelKey, thing: Object, pods: Sequence[PodSummary]) -> ModelView:
        namespace, name = deployment
        activity = self._activities[deployment]
        ready = {pod.uid for pod in pods if pod.is_ready}
        activity.keep_only(ready)
        return ModelView(
            deployment=thing,
            port=self._port_of(claim_of(thing)),
            service=self._store.get(SERVICE, name, namespace),
            pods=pods,
            shown=tuple(self._shown(namespace, pods)),
            extra_slice=self._store.get(ENDPOINT_SLICE, names.activator_slice(name), namespace),
            greeted=frozenset(each.uid for each in self._greeted[deployment]),
            now=self._now(),
            starts=self._starts_of(deployment, thing),
            use=activity.use_of(ready, self._clock()),
            running=activity.in_flight,
        )

    def _follow(self, deployment: ModelKey, sight: ModelView) -> None:
        """Engines are asked only where their load decides anything."""
        scaling = scaling_of(sight.deployment)
        decides = scaling.autoscaler == "KEDA" and scaling.max_replicas > scaling.min_replicas
        port = engine_port(sight.service)
        targets = [
            PollTarget(deployment, pod.uid, pod.address, port, metrics=pod.metrics)
            for pod in sight.pods
            if decides and pod.is_ready and pod.metrics
        ]
        self.scraping.follow(deployment, targets)

    def _greet_who_starts(self, deployment: ModelKey, pods: Sequence[PodSummary]) -> None:
        """What was said counts only until the API server knows better, or another container runs."""
        starting = {
            PollTarget(deployment, pod.uid, pod.address, pod.question.port, pod.container, path=pod.question.path)
            for pod in pods
            if pod.container and pod.question
        }
        self._greeted[deployment] &= starting
        self.greeting.follow(deployment, starting)

    def _remember_starts(self, deployment: ModelKey, pods: Sequence[PodSummary]) -> None:
        counted = self._counted[deployment]
        for pod in pods:
            if pod.start is not None and pod.uid not in counted:
                counted.add(pod.uid)
                self._starts[deployment].append(pod.start)
        counted &= {pod.uid for pod in pods}

    def _starts_of(self, deployment: ModelKey, thing: Object) -> tuple[float, ...]:
        if deployment in self._starts:
            return tuple(self._starts[deployment])
        last = last_cold_start(thing)
        return () if last is None else (last,)

    def _forget(self, deployment: ModelKey) -> None:
        self._deployments.forget(deployment)
        self.scraping.follow(deployment, ())
        self.greeting.follow(deployment, ())
        self._restless.discard(deployment)
        self._due.pop(deployment, None)
        for memory in (self._activities, self._starts, self._counted, self._greeted):
            memory.pop(deployment, None)
