"""Keeps the state of each model current: computes it again after a change, and when time alone changes something."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from slipway.activator.shared.by_times import ByTimes
from slipway.activator.shared.model_state import ModelStates
from slipway.activator.tracking.engine_metrics import MetricsReading
from slipway.activator.tracking.following_times import FollowedTimes, Followers, followed, replicas_of, targets_of
from slipway.activator.tracking.idleness import ModelActivity
from slipway.activator.tracking.metrics_poller import MetricsPoller
from slipway.activator.tracking.pod_summary import PodSummary, summary_of, those_that_count, those_worth_reading
from slipway.activator.tracking.poller import PollTarget
from slipway.activator.tracking.readiness_poller import ReadinessPoller
from slipway.activator.tracking.refresh_queue import RefreshQueue
from slipway.activator.tracking.view import (
    ModelView,
    concurrency_of,
    engine_port,
    least_replicas,
    model_state,
    next_moment,
    scaling_of,
)
from slipway.api import names
from slipway.api.model_key import ModelKey
from slipway.api.scaling import ScalingSpec
from slipway.kube.store import Store
from slipway.objects.kinds import ENDPOINT_SLICE, LLM_DEPLOYMENT, POD, SERVICE, Object
from slipway.observing.porttable import Claim, claim_of
from slipway.observing.wake_estimate import last_cold_start

logger = logging.getLogger(__name__)

STARTS_REMEMBERED = 5
LONGEST_CAUSE = 256
REFRESH_AGAIN_AFTER = 1.0  # seconds, for a model whose pods aren't ready: then it matters for how long they aren't


class Tracker:
    """`port_of`: our port that belongs to a model; `now`: the time of day, `clock`: the event loop's."""

    def __init__(
        self,
        store: Store,
        states: ModelStates,
        *,
        port_of: Callable[[Claim], int | None],
        now: Callable[[], datetime],
        clock: Callable[[], float],
    ) -> None:
        self._store, self._states, self._port_of = store, states, port_of
        self._now, self._clock = now, clock
        self._activities: defaultdict[ModelKey, ModelActivity] = defaultdict(ModelActivity)
        self._starts: defaultdict[ModelKey, deque[float]] = defaultdict(lambda: deque(maxlen=STARTS_REMEMBERED))
        self._counted: defaultdict[ModelKey, set[str]] = defaultdict(set)  # uids of pods whose start is in `_starts`
        self._answered_ready: defaultdict[ModelKey, set[PollTarget]] = defaultdict(set)
        self._followers = Followers()
        self._times: dict[ModelKey, FollowedTimes] = {}  # of those whose replicas follow times
        self._starting: set[ModelKey] = set()  # their pods aren't ready
        self._due: dict[ModelKey, datetime] = {}  # when time alone changes something next
        self._logged: dict[ModelKey, tuple[str, str]] = {}
        self._queue = RefreshQueue(self.refresh, clock)
        store.keep_briefs(POD, summary_of)
        self.metrics_poller = MetricsPoller(self.record_reading)
        self.readiness_poller = ReadinessPoller(self.record_ready)

    def refresh_all(self) -> None:
        for deployment in self._store.all(LLM_DEPLOYMENT):
            self.refresh(ModelKey.of(deployment))

    def refresh(self, key: ModelKey) -> None:
        """Computes the model's state from what the caches show.

        Much of that is written by the model's tenant. Whatever error it causes here concerns that model alone: it is
        unknown, so that no request is sent anywhere, until a refresh succeeds.
        """
        try:
            self._refresh(key)
        except Exception as error:
            self._forget(key)
            self._starting.add(key)
            self._log_once(key, error)
        else:
            self._logged.pop(key, None)

    def _refresh(self, key: ModelKey) -> None:
        deployment = self._store.get(LLM_DEPLOYMENT, key.name, key.namespace)
        if deployment is None or "deletionTimestamp" in deployment["metadata"]:
            self._forget(key)
            return
        pods = self._pods_of(key)
        self._remember_starts(key, pods)
        self._poll_readiness(key, pods)
        view = self._view(key, deployment, pods)
        self._poll_metrics(key, view)
        if state := model_state(view):
            self._states.update(state)
        else:
            self._states.forget(key)
        if due := next_moment(view):
            self._due[key] = due
        else:
            self._due.pop(key, None)
        is_starting = bool(pods) and not any(pod.is_ready for pod in pods)
        (self._starting.add if is_starting else self._starting.discard)(key)

    def record_reading(self, key: ModelKey, uid: str, reading: MetricsReading) -> None:
        """What an engine reports of itself."""
        now, activity = self._clock(), self._activities[key]
        activity.record(uid, reading, now)
        if times := self._times.get(key):
            times.record(uid, reading, activity.in_flight, now)
        self.changed(key)

    def record_ready(self, target: PollTarget) -> None:
        """The pod answers that it is ready, before the API server knows."""
        self._answered_ready[target.key].add(target)
        self.changed(target.key)

    def changed(self, key: ModelKey, *, urgently: bool = False) -> None:
        """Something about the model has changed: it is refreshed in its turn."""
        self._queue.changed(key, urgently=urgently)

    async def keep_refreshing(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._queue.run(), name="refreshing")
            group.create_task(self._refresh_when_due(), name="refreshing when due")

    # --- inside ------------------------------------------------------------------------------------------------------

    async def _refresh_when_due(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_AGAIN_AFTER)
            now = self._now()
            due = [key for key, at in self._due.items() if at <= now]
            for key in {*self._starting, *due}:
                self.changed(key)

    def _pods_of(self, key: ModelKey) -> Sequence[PodSummary]:
        pods: list[PodSummary] = self._store.briefs(POD, key.name, key.namespace)
        if not all(pods):
            raise ValueError("one of its pods can't be read")
        return those_that_count(pods)

    def _pods_worth_reading(self, namespace: str, pods: Sequence[PodSummary]) -> Iterator[Object]:
        for name in those_worth_reading(pods):
            if pod := self._store.get(POD, name, namespace):
                yield pod

    def _log_once(self, key: ModelKey, error: Exception) -> None:
        """Once for each cause, because the refresh is tried again and again."""
        cause = type(error).__name__, str(error)[:LONGEST_CAUSE]
        if self._logged.get(key) != cause:
            self._logged[key] = cause
            message = "This model can't be read, so requests for it fail. Please report this bug: %s: %s"
            logger.error(message, *cause, exc_info=error, extra={"key": str(key)})

    def _view(self, key: ModelKey, deployment: Object, pods: Sequence[PodSummary]) -> ModelView:
        namespace, name = key
        activity = self._activities[key]
        ready = {pod.uid for pod in pods if pod.is_ready}
        activity.keep_only(ready)
        return ModelView(
            deployment=deployment,
            port=self._port_of(claim_of(deployment)),
            service=self._store.get(SERVICE, name, namespace),
            pods=pods,
            read_pods=tuple(self._pods_worth_reading(namespace, pods)),
            extra_slice=self._store.get(ENDPOINT_SLICE, names.activator_slice_name(name), namespace),
            answered_ready=frozenset(each.uid for each in self._answered_ready[key]),
            now=self._now(),
            starts=self._starts_of(key, deployment),
            use=activity.use_of(ready, self._clock()),
            running=activity.in_flight,
            by_times=self._by_times(key, deployment, pods),
        )

    def _by_times(self, key: ModelKey, deployment: Object, pods: Sequence[PodSummary]) -> ByTimes | None:
        has_target = bool((deployment["spec"].get("scaling") or {}).get("target"))
        scaling = scaling_of(deployment) if has_target else ScalingSpec()
        names = {name for name, _ in followed(deployment, scaling)}
        if not names:
            self._followers.forget(key)
        if not names or not self._followers.may_follow(deployment, self._clock()):
            self._times.pop(key, None)
            return None
        times = self._times.setdefault(key, FollowedTimes())
        targets = {name: target for name, target in targets_of(scaling).items() if name in names}
        ready = frozenset(pod.uid for pod in pods if pod.is_ready)
        return times.decide(targets, replicas_of(deployment, pods, concurrency_of(deployment)), ready, self._clock())

    def _poll_metrics(self, key: ModelKey, view: ModelView) -> None:
        """Only where the load of the engines decides anything."""
        scaling = scaling_of(view.deployment)
        decides = scaling.autoscaler == "KEDA" and scaling.max_replicas > least_replicas(view, scaling)
        port = engine_port(view.service)
        times = followed(view.deployment, scaling) if view.by_times else ()
        targets = [
            PollTarget(key, pod.uid, pod.address, port, metrics=pod.metrics, times=times)
            for pod in view.pods
            if decides and pod.is_ready and pod.metrics
        ]
        self.metrics_poller.follow(key, targets)

    def _poll_readiness(self, key: ModelKey, pods: Sequence[PodSummary]) -> None:
        """An answer counts only until the API server knows better, or another container runs."""
        starting = {
            PollTarget(key, pod.uid, pod.address, pod.probe.port, pod.container, path=pod.probe.path)
            for pod in pods
            if pod.container and pod.probe
        }
        self._answered_ready[key] &= starting
        self.readiness_poller.follow(key, starting)

    def _remember_starts(self, key: ModelKey, pods: Sequence[PodSummary]) -> None:
        counted = self._counted[key]
        for pod in pods:
            if pod.start is not None and pod.uid not in counted:
                counted.add(pod.uid)
                self._starts[key].append(pod.start)
        counted &= {pod.uid for pod in pods}

    def _starts_of(self, key: ModelKey, deployment: Object) -> tuple[float, ...]:
        if key in self._starts:
            return tuple(self._starts[key])
        last = last_cold_start(deployment)
        return () if last is None else (last,)

    def _forget(self, key: ModelKey) -> None:
        self._states.forget(key)
        self.metrics_poller.follow(key, ())
        self.readiness_poller.follow(key, ())
        self._starting.discard(key)
        self._due.pop(key, None)
        self._followers.forget(key)
        for memory in (self._activities, self._times, self._starts, self._counted, self._answered_ready):
            memory.pop(key, None)
