"""JSON values are counted wherever the JSON is cut: never fewer than there are, and few more."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from slipway_runtime.guard.values import Values


def counted(data: bytes, size: int = 1 << 20) -> int:
    values = Values()
    for at in range(0, len(data), size):
        values.feed(data[at : at + size])
    return values.number


def expected_count(value: Any) -> int:
    """The count including members' names, and as if no container were empty."""
    if isinstance(value, dict):
        return 1 + max(1, sum(1 + expected_count(each) for each in value.values()))
    return 1 + max(1, sum(map(expected_count, value))) if isinstance(value, list) else 1


def random_value(rng: random.Random, depth: int = 0) -> Any:
    texts = ["", ",", '"', "\\", '\\"', '\\\\",[', "{:", "a" * 50, "ä\n"]
    match rng.randrange(6 if depth < 5 else 4):
        case 4:
            return [random_value(rng, depth + 1) for _ in range(rng.randrange(5))]
        case 5:
            return {rng.choice(texts) + str(n): random_value(rng, depth + 1) for n in range(rng.randrange(5))}
        case kind:
            return [rng.random(), None, rng.choice(texts), rng.choice(texts)][kind]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1 << 20])
@pytest.mark.parametrize("indent", [None, 1])
def test_all_values_are_counted_and_nothing_in_strings(size: int, indent: int | None) -> None:
    rng = random.Random(7)
    for _ in range(200):
        value = [random_value(rng), random_value(rng)]
        assert counted(json.dumps(value, indent=indent).encode(), size) == expected_count(value)


@pytest.mark.parametrize("size", [1, 2, 5, 1 << 20])
def test_a_string_of_quotation_marks_and_commas_is_one_value(size: int) -> None:
    assert counted(json.dumps('\\\\" , \\", [{:' * 50).encode(), size) == 1
