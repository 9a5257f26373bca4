"""Who has an address: asked of the API server when somebody's access depends on it, and remembered for a moment.

However many addresses ask, the API server is asked a bounded number of times a second. Addresses at which there were
pods of late have a share of their own in that, so that a flood of others doesn't shut them out.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Generic, TypeVar

from slipway.activator.rates import Bucket
from slipway.kube.client import KubeClient
from slipway.kube.errors import KubeError, NotFoundError
from slipway.kube.kinds import NAMESPACE, POD, Object
from slipway.kube.retries import Patience

FRESH = 2.0  # seconds for which an answer holds, a bad one too
PER_SECOND, BURST = 20.0, 50  # names that are asked for, of strangers; and as many again of those known to be pods
AGAIN = (0.5, 1.5)  # seconds: the API server hears of a pod's address after the pod has begun
REMEMBERED = 4096  # answers, of each kind
QUICK = Patience(deadline=2.0, per_try=1.5)
ENDED = ("Succeeded", "Failed")
MOST_LABELS = 64  # of one pod

T = TypeVar("T")


class Lookups:
    """`clock` is the event loop's."""

    def __init__(self, client: KubeClient, *, clock: Callable[[], float], look_again: Sequence[float] = AGAIN) -> None:
        self._client, self._look_again = client.with_(patience=QUICK), look_again
        self._pods: Memory[tuple[Object, ...]] = Memory(self._ask_pods, clock=clock)
        self._namespaces: Memory[Mapping[str, str]] = Memory(self._ask_labels, clock=clock)

    async def pods_at(self, address: str) -> tuple[Object, ...] | None:
        """Those that haven't ended; several where nodes have the address. None: it can't be told now."""
        return await self._pods.of(address)

    async def labels_of(self, namespace: str) -> Mapping[str, str] | None:
        """None: it can't be told now."""
        return await self._namespaces.of(namespace)

    async def close(self) -> None:
        await self._pods.close()
        await self._namespaces.close()

    async def _ask_pods(self, address: str) -> tuple[Object, ...] | None:
        found = await self._living_pods(address)
        for pause in self._look_again:
            if found or found is None:
                break
            await asyncio.sleep(pause)
            found = await self._living_pods(address)
        return found

    async def _living_pods(self, address: str) -> tuple[Object, ...] | None:
        try:
            found = await self._client.list(POD, field_selector=f"status.podIP={address}")
        except KubeError:
            return None
        return tuple(_who(pod) for pod in found if pod.get("status", {}).get("phase") not in ENDED)

    async def _ask_labels(self, namespace: str) -> Mapping[str, str] | None:
        try:
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


class Memory(Generic[T]):
    """Answers of the last moments; each question is asked once at a time, however many wait for its answer."""

    def __init__(self, ask: Callable[[str], Awaitable[T | None]], *, clock: Callable[[], float]) -> None:
        self._ask, self._clock = ask, clock
        self._answers: OrderedDict[str, tuple[float, T | None]] = OrderedDict()
        self._asking: dict[str, asyncio.Task[T | None]] = {}
        self._strangers, self._familiar = (Bucket(PER_SECOND, BURST) for _ in range(2))

    async def of(self, name: str) -> T | None:
        if (task := self._asking.get(name)) is None:
            now = self._clock()
            asked_at, answer = self._answers.get(name, (-FRESH, None))
            if now - asked_at < FRESH:
                return answer
            if not (self._familiar if answer else self._strangers).take(now):
                return None
            task = self._asking[name] = asyncio.create_task(self._learn(name))
        return await asyncio.shield(task)

    async def _learn(self, name: str) -> T | None:
        answer: T | None = None
        try:
            answer = await self._ask(name)
        finally:
            del self._asking[name]
            self._remember(name, answer)
        return answer

    def _remember(self, name: str, answer: T | None) -> None:
        self._answers[name] = self._clock(), answer
        self._answers.move_to_end(name)
        if len(self._answers) > REMEMBERED:
            self._answers.popitem(last=False)

    async def close(self) -> None:
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
