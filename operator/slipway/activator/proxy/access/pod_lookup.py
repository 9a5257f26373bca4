"""Who has an address: asked of the API server when somebody's access depends on it, and remembered for a moment.

However many addresses ask, the API server is asked a bounded number of times a second, in turns: of the pods of one
namespace, and of strangers at the models of one namespace, each as often as of the others. Where a question has to
wait for its turn, the last answer that found somebody holds on.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from slipway.activator.proxy.access.query_limiter import QueryLimiter, QueryLimitError
from slipway.kube.client import KubeClient
from slipway.kube.errors import ForbiddenError, KubeError, NotFoundError, TooLargeError
from slipway.kube.kinds import NAMESPACE, POD, Object
from slipway.kube.retries import Patience

FRESH = 2.0  # seconds for which an answer holds, a bad one too
HOLDS = 10.0  # for which one that found somebody holds if there is no turn for another, or no answer
PER_SECOND, BURST, AT_ONCE = 50.0, 100, 16  # questions of all together
WAIT = 4.0  # seconds for which a question waits for its turn
AGAIN = (0.5, 1.5)  # seconds: the API server hears of a pod's address after the pod has begun
REMEMBERED = 4096  # answers, of each kind
QUICK = Patience(deadline=2.0, per_try=1.5)
ENDED = ("Succeeded", "Failed")
MOST_LABELS = 64  # of one pod
LARGEST = 256 << 10  # bytes of the pods at one address: reading them keeps everybody waiting, for some 5 ms
UNKNOWN_POD: Object = {
    "metadata": {"name": "", "namespace": "", "labels": {}},
    "spec": {"hostNetwork": True},
}
"""Who is at an address of which too much would have to be read. Not "can't be told": what was known before of the
address would hold on then, though it may be somebody else's now."""

T = TypeVar("T")


class PodLookup:
    """`clock` is the event loop's; `namespaces`: where we may look for pods, without any in all of the cluster.

    A pod in any other is to us nobody's, as is an address from outside of the cluster.
    """

    def __init__(
        self,
        client: KubeClient,
        *,
        clock: Callable[[], float],
        look_again: Sequence[float] = AGAIN,
        namespaces: Sequence[str] = (),
    ) -> None:
        self._client, self._clock, self._look_again = client.with_(patience=QUICK), clock, look_again
        self._where: Sequence[str | None] = namespaces or (None,)
        self._turns = QueryLimiter(PER_SECOND, BURST, at_once=AT_ONCE, clock=clock)
        self._pods: LookupCache[tuple[Object, ...]] = LookupCache(self._turns, clock=clock)
        self._namespaces: LookupCache[Mapping[str, str]] = LookupCache(self._turns, clock=clock)

    async def pods_at(self, address: str, *, asked: str = "") -> tuple[Object, ...] | None:
        """Those that haven't ended; several where nodes have the address. None: it can't be told now.

        `asked`: the namespace of the model that is asked, which has its own share of questions about strangers.
        """
        return await self._pods.of(address, lambda last: self._ask_pods(address, asked, last))

    async def labels_of(self, namespace: str) -> Mapping[str, str] | None:
        """None: it can't be told now."""
        return await self._namespaces.of(namespace, lambda _: self._ask_labels(namespace))

    async def close(self) -> None:
        await self._pods.close()
        await self._namespaces.close()

    async def _ask_pods(self, address: str, asked: str, last: tuple[Object, ...] | None) -> tuple[Object, ...] | None:
        until = self._clock() + WAIT
        found = await self._living_pods(address, _holder(last, asked), until)
        for pause in self._look_again:
            if found or found is None:
                break
            await asyncio.sleep(pause)
            until += pause
            found = await self._living_pods(address, _holder(found, asked), until)
        return found

    async def _living_pods(self, address: str, holder: Hashable, until: float) -> tuple[Object, ...] | None:
        try:
            async with self._turns.turn(holder, until=until):
                found = await asyncio.gather(*(self._pods_in(each, address) for each in self._where))
        except TooLargeError:
            return (UNKNOWN_POD,)
        except KubeError:
            return None
        pods = [pod for of_one in found for pod in of_one]
        return tuple(_who(pod) for pod in pods if pod.get("status", {}).get("phase") not in ENDED)

    async def _pods_in(self, namespace: str | None, address: str) -> Sequence[Object]:
        """None in a namespace that is closed to us: the others tell without it."""
        where = f"status.podIP={address}"
        try:
            return await self._client.list(POD, namespace, field_selector=where, at_most=LARGEST)
        except ForbiddenError:
            if namespace is None:
                raise
            return ()

    async def _ask_labels(self, namespace: str) -> Mapping[str, str] | None:
        try:
            async with self._turns.turn(_of_pods(namespace), until=self._clock() + WAIT):
                found = await self._client.get(NAMESPACE, namespace)
        except NotFoundError:
            return {}
        except KubeError:
            return None
        labels: Mapping[str, str] = found["metadata"].get("labels") or {}
        return labels


def _who(pod: Object) -> Object:
    """What is asked of a pod. One with more labels than anybody needs is, like one on its node's network, nobody: with
    some of them left out, it could be taken for one that hasn't a label."""
    labels = pod["metadata"].get("labels") or {}
    has_too_many = len(labels) > MOST_LABELS
    metadata = {name: pod["metadata"].get(name) for name in ("name", "namespace")}
    return {
        "metadata": {**metadata, "labels": {} if has_too_many else labels},
        "spec": {"hostNetwork": has_too_many or bool(pod["spec"].get("hostNetwork"))},
    }


def _holder(last: tuple[Object, ...] | None, asked: str) -> Hashable:
    """Whose turn a question takes, by what was last known of the address."""
    if last is None:
        return "stranger", asked
    return _of_pods(last[0]["metadata"]["namespace"]) if last else ("nobody", asked)


def _of_pods(namespace: str) -> Hashable:
    return "pods", namespace


@dataclass
class _CachedLookup(Generic[T]):
    value: T | None = None  # the last one that was got
    told_at: float = -math.inf
    failed_at: float = -math.inf


class LookupCache(Generic[T]):
    """Answers of the last moments; each question is asked once at a time, however many wait for its answer."""

    def __init__(self, turns: QueryLimiter, *, clock: Callable[[], float]) -> None:
        self._turns, self._clock = turns, clock
        self._answers: OrderedDict[str, _CachedLookup[T]] = OrderedDict()
        self._asking: dict[str, asyncio.Task[T | None]] = {}

    async def of(self, name: str, ask: Callable[[T | None], Awaitable[T | None]]) -> T | None:
        """`ask` hears the last answer. Its own is None, or NoTurnError raised, where it can't be told."""
        known, now = self._answers.get(name) or _CachedLookup(), self._clock()
        if now - known.told_at < FRESH:
            return known.value
        held = self._held(known)
        if now - known.failed_at < FRESH:
            return held
        must_wait = self._turns.is_busy
        if (task := self._asking.get(name)) is None:
            task = self._asking[name] = asyncio.create_task(self._learn(name, ask, known))
        return held if held and must_wait else await asyncio.shield(task)

    async def _learn(
        self, name: str, ask: Callable[[T | None], Awaitable[T | None]], known: _CachedLookup[T]
    ) -> T | None:
        answer: T | None = None
        try:
            answer = await ask(known.value)
        except QueryLimitError:
            return self._held(known)  # the next request may ask at once
        finally:
            del self._asking[name]
        if answer is None:
            known.failed_at = self._clock()
        else:
            known.value, known.told_at = answer, self._clock()
        self._remember(name, known)
        return answer if answer is not None else self._held(known)

    def _held(self, known: _CachedLookup[T]) -> T | None:
        """What holds on where no new answer is to be had: that nobody was there, doesn't."""
        return known.value or None if self._clock() - known.told_at < HOLDS else None

    def _remember(self, name: str, known: _CachedLookup[T]) -> None:
        self._answers[name] = known
        self._answers.move_to_end(name)
        if len(self._answers) > REMEMBERED:
            self._answers.popitem(last=False)

    async def close(self) -> None:
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
