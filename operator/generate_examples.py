"""Writes the examples of docs/planning.md: what is planned for each LLMDeployment that the page shows.

An example is the block after a manifest, and its first line names it: `# status of NAME`, or `# measured of NAME` for
one of MEASURED. The profiles are those of the chart, the models those of the catalogue; what a cluster has isn't known.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import yaml
from slipway.api.acceleratorprofile import AcceleratorProfile
from slipway.api.llmdeployment import LLMDeployment
from slipway.models import catalogue
from slipway.models.sources import Known
from slipway.observing import plan_report
from slipway.observing.measured import Load, Measurement, Reading, measured_status
from slipway.operator.planning import Plan, Unplannable, make_plan

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs/planning.md"
PROFILES = ROOT / "charts/slipway/accelerators"
MANIFEST = re.compile(r"```yaml\n(apiVersion: slipway\.dev/v1alpha1\nkind: LLMDeployment\n.*?)```", re.DOTALL)
EXAMPLE = re.compile(r"(```yaml\n# status of (\S+)\n)(.*?)(```)", re.DOTALL)


MEASURED_EXAMPLE = re.compile(r"(```yaml\n# measured of (\S+)\n)(.*?)(```)", re.DOTALL)
GIB = 1 << 30
MEASURED = {
    "measured": Reading(
        kv_tokens=919_824,
        kv_cache=round(112.28 * GIB),
        weights=round(15.00 * GIB),
        activation=round(1.10 * GIB),
        graphs=round(0.98 * GIB),
        used=round(0.92 * 150_109_880_320) + round(2.1 * GIB),
        total=150_109_880_320,
    )
}
"""A start of vLLM 0.24 with Llama-3.1-8B on an H200 (2026-11-28): what its log said, and what it used in all."""


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    PAGE.write_text(with_examples(PAGE.read_text()))


def with_examples(page: str) -> str:
    """The page, with each example as it is now."""
    manifests = [yaml.safe_load(text) for text in MANIFEST.findall(page)]
    by_name = {each["metadata"]["name"]: each for each in manifests}
    page = EXAMPLE.sub(lambda found: f"{found[1]}{_written(status_of(by_name[found[2]]))}{found[4]}", page)
    return MEASURED_EXAMPLE.sub(
        lambda found: f"{found[1]}{_written(measured_of(found[2], by_name[found[2]]))}{found[4]}", page
    )


def status_of(manifest: dict[str, Any]) -> dict[str, Any]:
    """The part of its status that is about the plan."""
    plan = planned(manifest)
    if isinstance(plan, Plan):
        return {"plan": plan_report.reported(plan)}
    return {"message": plan.message, "plan": {"rejected": plan_report.lines(plan.rejected)}}


def measured_of(name: str, manifest: dict[str, Any]) -> dict[str, Any]:
    """What the status would have of a pod that was made by the plan."""
    plan = planned(manifest)
    made_by, key = plan if isinstance(plan, Plan) else None, "7815eb3a0d63af07-1f0c6f3b5a0e9d42"
    load = Load(f"{name}-predictor-6c7b5f9d4b-x2x7q", "", "2026-11-28T09:12:31Z", "", "")
    return {"measured": measured_status(Measurement(load, MEASURED[name]), made_by, key)}


def planned(manifest: dict[str, Any]) -> Plan | Unplannable:
    deployment = LLMDeployment.model_validate(manifest)
    model = catalogue.shipped().find(deployment.spec.model.uri)
    return make_plan(deployment.spec, profiles(), name=deployment.metadata.name, known=Known(model))


def profiles() -> list[AcceleratorProfile]:
    files = sorted(PROFILES.glob("*.yaml"))
    return [AcceleratorProfile.model_validate(each) for file in files for each in yaml.safe_load_all(file.read_text())]


def _written(status: dict[str, Any]) -> str:
    return yaml.safe_dump(status, sort_keys=False, allow_unicode=True, width=118)


if __name__ == "__main__":
    main()
