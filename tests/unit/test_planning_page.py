"""docs/planning.md: its examples are what the code plans, and it explains every field of `status.plan`."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import get_args

import pytest
from pydantic import BaseModel
from slipway.api.status import MeasuredStatus, PlanStatus

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs/planning.md").read_text()


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    specification = importlib.util.spec_from_file_location(
        "generate_examples", REPOSITORY / "operator/generate_examples.py"
    )
    assert specification
    assert specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_examples_are_what_is_planned_for_their_manifests(generator: ModuleType) -> None:
    assert generator.with_examples(PAGE) == PAGE, "run `make generate`"


def test_it_shows_a_plan_and_a_model_that_fits_nowhere(generator: ModuleType) -> None:
    examples = {name: text for _, name, text, _ in generator.EXAMPLE.findall(PAGE)}
    assert "kvTokens" in examples["assistant"]
    assert "vllm would not start" in examples["large"]


def fields_of(model: type[BaseModel], beginning: str = "") -> list[str]:
    """The paths of the fields, in the API's spelling; of a part, only those of its own fields."""
    found = []
    for info in model.model_fields.values():
        part = part_in(info.annotation)
        found += fields_of(part, f"{info.alias}.") if part else [f"{beginning}{info.alias}"]
    return found


def part_in(annotation: object) -> type[BaseModel] | None:
    return next((each for each in get_args(annotation) if isinstance(each, type) and issubclass(each, BaseModel)), None)


def test_every_field_of_a_plan_is_explained() -> None:
    table = PAGE.split("## Read a plan")[1].split("\n## ")[0]
    explained = [name for row in re.findall(r"^\| (`[^|]+`) \|", table, re.MULTILINE) for name in row.split("`")[1::2]]
    assert sorted(explained) == sorted(fields_of(PlanStatus))


def test_it_shows_what_was_measured_next_to_what_was_planned(generator: ModuleType) -> None:
    [(_, _, text, _)] = generator.MEASURED_EXAMPLE.findall(PAGE)
    assert "kvTokens: 919824" in text
    assert "planErrorPercent" in text


def test_every_field_of_a_measurement_is_explained() -> None:
    table = PAGE.split("## Plan and measurement")[1].split("\n## ")[0]
    explained = [name for row in re.findall(r"^\| (`[^|]+`) \|", table, re.MULTILINE) for name in row.split("`")[1::2]]
    assert sorted(explained) == sorted(info.alias or "" for info in MeasuredStatus.model_fields.values())


def test_every_kind_of_evidence_is_explained() -> None:
    table = PAGE.split("## How a number is known")[1].split("\n## ")[0]
    evidence = PlanStatus.model_json_schema()["$defs"]["PlannedMemory"]["properties"]["evidence"]
    words = evidence["additionalProperties"]["enum"]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == words
