"""Whether a model may follow times is known at once; it is queued when another one's coming or going changes that."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from slipway.api.model_key import ModelKey
from slipway.kube.store import Store
from slipway.objects.kinds import LLM_DEPLOYMENT
from slipway.observing.figures import figures_of
from slipway.observing.following import IN_ALL, OF_NAMESPACE
from slipway.operator.reconciling.following import Following
from support.builders.stored import llm

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


class Models:
    """In a store, as the operator has it."""

    def __init__(self) -> None:
        self.versions = itertools.count(1)
        self.store, self.changed = Store([LLM_DEPLOYMENT]), list[ModelKey]()
        self.store.keep_briefs(LLM_DEPLOYMENT, figures_of)
        self.following = Following(self.store)
        self.following.changed = self.changed.append

    def put(self, number: int, namespace: str = "team", **target: str) -> ModelKey:
        """Those with a larger number are younger."""
        return self._take("MODIFIED", number, namespace, target or {"ttftP95": "500ms"})

    def remove(self, number: int) -> None:
        self._take("DELETED", number, "team", {})

    def _take(self, change: str, number: int, namespace: str, target: dict[str, str]) -> ModelKey:
        name, created = f"m{number:03}", NOON + timedelta(seconds=number)
        found = llm(scaling={"target": target})
        metadata = {**found["metadata"], "namespace": namespace, "name": name, "uid": f"{namespace}-{number}"}
        metadata["resourceVersion"] = str(next(self.versions))
        metadata["creationTimestamp"] = f"{created:%Y-%m-%dT%H:%M:%SZ}"
        self.store.take(LLM_DEPLOYMENT, change, {**found, "metadata": metadata}, now=0)
        return ModelKey(namespace, name)

    def may(self, key: ModelKey, seconds: float = 0) -> bool:
        return self.following.may(key, NOON + timedelta(seconds=seconds))


@pytest.fixture
def models() -> Models:
    return Models()


def test_a_second_model_may_at_once(models: Models) -> None:
    assert models.may(models.put(0))
    assert models.may(models.put(1), 3)
    assert models.changed == []


def test_one_that_begins_to_want_times_may_at_once(models: Models) -> None:
    first, second = models.put(0), models.put(1, concurrency="8")
    assert [models.may(first), models.may(second)] == [True, False]
    models.put(1)
    assert models.may(second, 3)


def test_an_older_model_that_comes_takes_the_place_of_the_youngest_which_is_queued(models: Models) -> None:
    keys = [models.put(number) for number in range(1, OF_NAMESPACE + 1)]
    assert all(map(models.may, keys))
    assert models.may(models.put(0), 3)
    assert models.changed == [keys[-1]]
    assert not models.may(keys[-1], 3)


@pytest.mark.parametrize("goes", [True, False])
def test_the_place_of_one_that_goes_or_no_longer_wants_to_is_the_next_ones_which_is_queued(
    models: Models, goes: bool
) -> None:
    keys = [models.put(number) for number in range(OF_NAMESPACE + 1)]
    assert [models.may(key) for key in keys] == [True] * OF_NAMESPACE + [False]
    if goes:
        models.remove(0)
    else:
        models.put(0, concurrency="8")
    assert not models.may(keys[0], 3)
    assert models.changed == [keys[-1]]
    assert models.may(keys[-1], 3)


def test_those_that_may_not_are_queued_when_the_share_of_each_namespace_changes(models: Models) -> None:
    namespaces = IN_ALL // OF_NAMESPACE
    keys = [models.put(number, f"n{each}") for each in range(namespaces) for number in range(OF_NAMESPACE + 1)]
    assert sum(map(models.may, keys)) == IN_ALL
    assert models.following.share == OF_NAMESPACE
    assert models.may(models.put(0, "another"), 3)
    assert models.following.share == OF_NAMESPACE - 1
    assert set(models.changed) == {key for key in keys if key.name >= f"m{OF_NAMESPACE - 1:03}"}
