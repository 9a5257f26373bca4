"""However many models want to follow times, those that may are the oldest of their namespace, and each has some."""

from __future__ import annotations

from collections import Counter

import pytest
from slipway.api.model_key import ModelKey
from slipway.observing.following import IN_ALL, OF_NAMESPACE, those_that_follow


def models(number: int, namespace: str = "team") -> dict[ModelKey, str]:
    """The later ones are younger."""
    return {ModelKey(namespace, f"m{each:05}"): f"2026-11-30T{each:010}" for each in range(number)}


def test_few_models_all_may() -> None:
    wanting = models(OF_NAMESPACE)
    assert those_that_follow(wanting) == wanting.keys()


def test_of_many_models_of_a_namespace_the_oldest_may() -> None:
    wanting = models(OF_NAMESPACE + 50)
    assert those_that_follow(wanting) == set(list(wanting)[:OF_NAMESPACE])


@pytest.mark.parametrize("namespaces", [6, 50, IN_ALL])
def test_all_together_are_limited_and_every_namespace_has_the_same_part(namespaces: int) -> None:
    wanting = {key: at for number in range(namespaces) for key, at in models(OF_NAMESPACE, f"n{number}").items()}
    numbers = Counter(key.namespace for key in those_that_follow(wanting))
    assert numbers.total() <= IN_ALL
    assert set(numbers.values()) == {IN_ALL // namespaces}
    assert len(numbers) == namespaces


def test_a_namespace_with_few_keeps_them_whatever_others_do() -> None:
    wanting = {key: at for number in range(20) for key, at in models(1000, f"evil{number}").items()} | models(3)
    may = those_that_follow(wanting)
    assert models(3).keys() <= may
    assert len(may) <= IN_ALL


def test_with_more_namespaces_than_may_the_oldest_models_of_all_may() -> None:
    wanting = {
        ModelKey(f"n{number}", f"m{each}"): f"2026-11-30T{number:05}:{each}"
        for number in reversed(range(2 * IN_ALL))
        for each in range(2)
    }
    assert those_that_follow(wanting) == {ModelKey(f"n{number}", "m0") for number in range(IN_ALL)}
