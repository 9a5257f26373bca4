"""Which pods have an address: read from the API server when access depends on it, and remembered for a moment.

However many addresses send requests, the API server gets a bounded number of queries per second, round-robin: about the
pods of one namespace, and about unknown addresses that call the models of one namespace, each as often as the others.
While a query waits for its turn, the last answer that found pods stays valid.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from slipway.activator.proxy.access.query_limiter import QueryLimiter, QueryLimitError
from slipway.kube.call_retries import Patience
from slipway.kube.client import KubeClient
from slipway.kube.errors import ForbiddenError, KubeError, NotFoundError, TooLargeError
from slipway.objects.kinds import NAMESPACE, POD, Object

FRESH = 2.0  # seconds for which an answer is valid, also one that found nothing
HOLDS = 10.0  # for which one that found pods stays valid if there is no turn for another, or no answer
PER_SECOND, BURST, AT_ONCE = 50.0, 100, 16  # queries of all together
WAIT = 4.0  # seconds for which a query waits for its turn
AGAIN = (0.5, 1.5)  # seconds: the API server learns a pod's address only after the pod has started
REMEMBERED = 4096  # answers, of each kind
QUICK = Patience(deadline=2.0, per_try=1.5)
ENDED = ("Succeeded", "Failed")
MOST_LABELS = 64  # of one pod
LARGEST = 256 << 10  # bytes of the pods at one address: reading them delays all requests, by some 5 ms
UNKNOWN_POD: Object = {
    "metadata": {"name": "", "namespace": "", "labels": {}},
    "spec": {"hostNetwork": True},
}
"""Stands for the pods at an address of which too much would have to be read. Not "can't be looked up": an earlier
answer would stay valid then, though the address may belong to another pod by now."""

T = TypeVar("T")


class PodLookup:
    """`clock` is the event loop's; `namespaces`: where we may list pods; without any, in the entire cluster.

    A pod in another namespace counts as no pod, as does an address outside of the cluster.
    """

    def __init__(
        self,
        client: KubeClient,
        *,
        clock: Callable[[], float],
        again_after: Sequence[float] = AGAIN,
        namespaces: Sequence[str] = (),
    ) -> None:
        self._client, self._clock, self._again_after = client.with_(patience=QUICK), clock, again_after
        self._where: Sequence[str | None] = namespaces or (None,)
        self._limiter = QueryLimiter(PER_SECOND, BURST, at_once=AT_ONCE, clock=clock)
        self._pods: LookupCache[tuple[Object, ...]] = LookupCache(self._limiter, clock=clock)
        self._namespaces: LookupCache[Mapping[str, str]] = LookupCache(self._limiter, clock=clock)

    async def pods_at(self, address: str, *, for_namespace: str = "") -> tuple[Object, ...] | None:
        """Those that haven't ended; several where nodes have the address. None: they can't be looked up now.

        `for_namespace`: of the model that is called, which has its own share of queries about unknown addresses.
        """
        return await self._pods.of(address, lambda last: self._query_pods(address, for_namespace, last))

    async def labels_of(self, namespace: str) -> Mapping[str, str] | None:
        """None: it can't be looked up now."""
        return await self._namespaces.of(namespace, lambda _: self._query_labels(namespace))

    async def close(self) -> None:
        await self._pods.close()
        await self._namespaces.close()

    async def _query_pods(
        self, address: str, for_namespace: str, last: tuple[Object, ...] | None
    ) -> tuple[Object, ...] | None:
        until = self._clock() + WAIT
        found = await self._living_pods(address, _holder(last, for_namespace), until)
        for pause in self._again_after:
            if found or found is None:
                break
            await asyncio.sleep(pause)
            until += pause
            found = await self._living_pods(address, _holder(found, for_namespace), until)
        return found

    async def _living_pods(self, address: str, holder: Hashable, until: float) -> tuple[Object, ...] | None:
        try:
            async with self._limiter.turn(holder, until=until):
                found = await asyncio.gather(*(self._pods_in(each, address) for each in self._where))
        except TooLargeError:
            return (UNKNOWN_POD,)
        except KubeError:
            return None
        pods = [pod for of_one in found for pod in of_one]
        return tuple(_what_is_needed(pod) for pod in pods if pod.get("status", {}).get("phase") not in ENDED)

    async def _pods_in(self, namespace: str | None, address: str) -> Sequence[Object]:
        """Empty for a namespace that we may not read: the others are enough then."""
        where = f"status.podIP={address}"
        try:
            return await self._client.list(POD, namespace, field_selector=where, at_most=LARGEST)
        except ForbiddenError:
            if namespace is None:
                raise
            return ()

    async def _query_labels(self, namespace: str) -> Mapping[str, str] | None:
        try:
            async with self._limiter.turn(_of_pods(namespace), until=self._clock() + WAIT):
                found = await self._client.get(NAMESPACE, namespace)
        except NotFoundError:
            return {}
        except KubeError:
            return None
        labels: Mapping[str, str] = found["metadata"].get("labels") or {}
        return labels


def _what_is_needed(pod: Object) -> Object:
    """Of a pod. One with too many labels counts as unknown, like one on its node's network: with some of the labels
    left out, it could be taken for a pod that doesn't have them."""
    labels = pod["metadata"].get("labels") or {}
    has_too_many = len(labels) > MOST_LABELS
    metadata = {name: pod["metadata"].get(name) for name in ("name", "namespace")}
    return {
        "metadata": {**metadata, "labels": {} if has_too_many else labels},
        "spec": {"hostNetwork": has_too_many or bool(pod["spec"].get("hostNetwork"))},
    }


def _holder(last: tuple[Object, ...] | None, for_namespace: str) -> Hashable:
    """Which holder's turn a query takes, by what was last known of the address."""
    if last is None:
        return "unknown", for_namespace
    return _of_pods(last[0]["metadata"]["namespace"]) if last else ("no pod", for_namespace)


def _of_pods(namespace: str) -> Hashable:
    return "pods", namespace


@dataclass
class _CachedLookup(Generic[T]):
    value: T | None = None  # the last one that was found
    answered_at: float = -math.inf
    failed_at: float = -math.inf


class LookupCache(Generic[T]):
    """Answers of the last moments. Each query is made once at a time, however many requests wait for its answer."""

    def __init__(self, limiter: QueryLimiter, *, clock: Callable[[], float]) -> None:
        self._limiter, self._clock = limiter, clock
        self._answers: OrderedDict[str, _CachedLookup[T]] = OrderedDict()
        self._querying: dict[str, asyncio.Task[T | None]] = {}

    async def of(self, name: str, query: Callable[[T | None], Awaitable[T | None]]) -> T | None:
        """`query` gets the last answer. It returns None, or raises QueryLimitError, if there is no new one."""
        cached, now = self._answers.get(name) or _CachedLookup(), self._clock()
        if now - cached.answered_at < FRESH:
            return cached.value
        still_valid = self._still_valid(cached)
        if now - cached.failed_at < FRESH:
            return still_valid
        must_wait = self._limiter.is_busy
        if (task := self._querying.get(name)) is None:
            task = self._querying[name] = asyncio.create_task(self._refresh(name, query, cached))
        return still_valid if still_valid and must_wait else await asyncio.shield(task)

    async def _refresh(
        self, name: str, query: Callable[[T | None], Awaitable[T | None]], cached: _CachedLookup[T]
    ) -> T | None:
        answer: T | None = None
        try:
            answer = await query(cached.value)
        except QueryLimitError:
            return self._still_valid(cached)  # the next request may query again immediately
        finally:
            del self._querying[name]
        if answer is None:
            cached.failed_at = self._clock()
        else:
            cached.value, cached.answered_at = answer, self._clock()
        self._remember(name, cached)
        return answer if answer is not None else self._still_valid(cached)

    def _still_valid(self, cached: _CachedLookup[T]) -> T | None:
        """What stays valid while there is no new answer: an answer that found nothing doesn't."""
        return cached.value or None if self._clock() - cached.answered_at < HOLDS else None

    def _remember(self, name: str, cached: _CachedLookup[T]) -> None:
        self._answers[name] = cached
        self._answers.move_to_end(name)
        if len(self._answers) > REMEMBERED:
            self._answers.popitem(last=False)

    async def close(self) -> None:
        tasks = list(self._querying.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
