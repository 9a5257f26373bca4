"""Writes the examples of docs/planning.md: what is planned for each LLMDeployment that the page shows.

An example is the block after a manifest, and its first line names it: `# status of NAME`. The profiles are those of the
chart, the models those of the catalogue; what a cluster has isn't known.
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
from slipway.operator.planning import Plan, make_plan

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs/planning.md"
PROFILES = ROOT / "charts/slipway/accelerators"
MANIFEST = re.compile(r"```yaml\n(apiVersion: slipway\.dev/v1alpha1\nkind: LLMDeployment\n.*?)```", re.DOTALL)
EXAMPLE = re.compile(r"(```yaml\n# status of (\S+)\n)(.*?)(```)", re.DOTALL)


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    PAGE.write_text(with_examples(PAGE.read_text()))


def with_examples(page: str) -> str:
    """The page, with each example as it is now."""
    manifests = [yaml.safe_load(text) for text in MANIFEST.findall(page)]
    by_name = {each["metadata"]["name"]: each for each in manifests}
    return EXAMPLE.sub(lambda found: f"{found[1]}{_written(status_of(by_name[found[2]]))}{found[4]}", page)


def status_of(manifest: dict[str, Any]) -> dict[str, Any]:
    """The part of its status that is about the plan."""
    deployment = LLMDeployment.model_validate(manifest)
    model = catalogue.shipped().find(deployment.spec.model.uri)
    plan = make_plan(deployment.spec, profiles(), name=deployment.metadata.name, known=Known(model))
    if isinstance(plan, Plan):
        return {"plan": plan_report.reported(plan)}
    return {"message": plan.message, "plan": {"rejected": plan_report.lines(plan.rejected)}}


def profiles() -> list[AcceleratorProfile]:
    files = sorted(PROFILES.glob("*.yaml"))
    return [AcceleratorProfile.model_validate(each) for file in files for each in yaml.safe_load_all(file.read_text())]


def _written(status: dict[str, Any]) -> str:
    return yaml.safe_dump(status, sort_keys=False, allow_unicode=True, width=118)


if __name__ == "__main__":
    main()
