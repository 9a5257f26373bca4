"""runbooks/SlipwayGpuOutOfMemory.md: its table of settings is what the planner computes."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from slipway.api.acceleratorprofile import AcceleratorProfile
from slipway.api.llmdeployment import LLMDeployment
from slipway.models import catalogue
from slipway.models.sources import Known
from slipway.operator.planning import Plan, make_plan
from support.builders.llmdeployments import llmdeployment
from support.repository import CHARTS, ROOT

URI = "hf://meta-llama/Llama-3.1-8B"
PROFILE = "l4"
GIB = 1 << 30
PAGE = (ROOT / "runbooks/SlipwayGpuOutOfMemory.md").read_text()
ROWS = re.findall(r"^\| (\S.*?) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d,]+) \|$", PAGE, re.MULTILINE)


def engine(written: str) -> dict[str, Any]:
    """What the row sets in spec.engine."""
    found: dict[str, Any] = yaml.safe_load("{" + written.strip("`") + "}") if written != "nothing" else {}
    return found


def planned(settings: dict[str, Any]) -> Plan:
    spec = {"model": {"uri": URI}, "engine": settings, "accelerator": {"profiles": [PROFILE]}}
    deployment = LLMDeployment.model_validate(llmdeployment(spec=spec))
    profile = AcceleratorProfile.model_validate(
        next(
            each
            for file in sorted((CHARTS / "slipway/accelerators").glob("*.yaml"))
            for each in yaml.safe_load_all(file.read_text())
            if each["metadata"]["name"] == PROFILE
        )
    )
    plan = make_plan(deployment.spec, [profile], name="model", known=Known(catalogue.shipped().find(URI)))
    assert isinstance(plan, Plan)
    return plan


def test_there_are_rows() -> None:
    assert len(ROWS) == 10


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_row_is_what_is_planned(row: tuple[str, ...]) -> None:
    plan = planned(engine(row[0]))
    assert plan.memory
    sizes = [plan.memory.weights, plan.memory.overhead, plan.memory.kv_cache]
    assert [f"{size / GIB:.2f}" for size in sizes] + [f"{plan.kv_tokens:,}"] == list(row[1:])
