"""What the activator takes a model to be for: of the object as it stores it."""

from __future__ import annotations

from typing import Any

import pytest
from slipway.activator.tracking.rules_from_spec import rules_of
from slipway.activator.tracking.watches import needed_of_deployment


def task(told: str | None, planned: str | None) -> str:
    model: dict[str, Any] = {"uri": "hf://org/model", **({"task": told} if told else {})}
    status = {"plan": {"task": planned} if planned else {}}
    metadata = {"namespace": "team", "name": "model"}
    return rules_of(needed_of_deployment({"metadata": metadata, "spec": {"model": model}, "status": status})).task


@pytest.mark.parametrize(
    ("told", "planned", "expected"),
    [
        pytest.param("Embed", None, "Embed", id="the spec's"),
        pytest.param("Generate", "Embed", "Generate", id="the spec's before the plan's"),
        pytest.param("Auto", "Rerank", "Rerank", id="the plan's"),
        pytest.param(None, "Embed", "Embed", id="the plan's, of an older object"),
        pytest.param("Auto", "Generate", "", id="unknown, since only the pod sees whether it was made for embeddings"),
        pytest.param("Auto", None, "", id="unknown"),
        pytest.param("Auto", "Paint", "", id="unknown, of a newer operator"),
    ],
)
def test_it_is_the_specs_or_the_plans(told: str | None, planned: str | None, expected: str) -> None:
    assert task(told, planned) == expected
