"""Which models may follow times, where more want to than the activator keeps readings for. Pure.

It keeps histograms of a few minutes for each model that follows times, and a namespace can have very many models. So
there is a limit for each namespace and one for all of them, up to which the oldest models follow their times; the
others follow the requests in flight. The activator and the operator compute the same, and so the status can say it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from slipway.api.model_key import ModelKey

OF_NAMESPACE, IN_ALL = 100, 500
"""Models. The largest takes a third of a megabyte of the activator: 16 replicas, each with 10 readings of 2 histograms
of 64 boundaries."""


def those_that_follow(wanting: Mapping[ModelKey, str]) -> frozenset[ModelKey]:
    """`wanting`: those that want to, with the times at which they were created."""
    of_namespaces: dict[str, list[ModelKey]] = {}
    for key in wanting:
        of_namespaces.setdefault(key.namespace, []).append(key)

    def age(key: ModelKey) -> tuple[str, ModelKey]:
        return wanting[key], key

    share = share_of(wanting)
    oldest = (key for each in of_namespaces.values() for key in sorted(each, key=age)[:share])
    return frozenset(sorted(oldest, key=age)[:IN_ALL])  # with more namespaces than that, some have none


def share_of(wanting: Iterable[ModelKey]) -> int:
    """How many of each namespace may: the same number for all, and at least one."""
    numbers = Counter(key.namespace for key in wanting).values()
    shares = range(OF_NAMESPACE, 1, -1)
    return next((share for share in shares if sum(min(number, share) for number in numbers) <= IN_ALL), 1)
