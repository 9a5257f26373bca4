"""How many candidates (one profile with one parallelism) the planner looks at in a second, on one core.

    python benchmarks/planning.py --seconds 10

It plans every model of the catalogue on all profiles that the chart brings, again and again, with the explanation of
each plan, as the operator does. Seconds are of the processor: planning is pure, and waits for nothing.
"""

from __future__ import annotations

import time
from pathlib import Path

import click
import yaml
from percentiles import percentile
from slipway.api.acceleratorprofile import AcceleratorProfile
from slipway.api.llmdeployment import LLMDeploymentSpec
from slipway.models.catalogue import shipped
from slipway.models.facts import Model
from slipway.models.sources import Known
from slipway.operator.planning import Plan, make_plan
from slipway.operator.planning.candidates import candidates_on

GOAL = 10_000
PROFILES = Path(__file__).parents[1] / "charts/slipway/accelerators"


def profiles() -> list[AcceleratorProfile]:
    documents = (each for file in sorted(PROFILES.glob("*.yaml")) for each in yaml.safe_load_all(file.read_text()))
    return [AcceleratorProfile.model_validate(each) for each in documents if each]


def candidates(spec: LLMDeploymentSpec, all_profiles: list[AcceleratorProfile], model: Model) -> int:
    return sum(len(list(candidates_on(spec, profile, model))) for profile in all_profiles)


@click.command()
@click.option("--seconds", default=10.0, help="How long to plan, in seconds of the processor.", show_default=True)
def main(seconds: float) -> None:
    """Print candidates per second, and the time of one plan."""
    spec = LLMDeploymentSpec.model_validate({"model": {"uri": "hf://organization/model"}})
    catalogue = shipped()
    found = (catalogue.find(f"hf://{name}") for name in catalogue.names)
    all_profiles, models = profiles(), [each for each in found if each]
    counts = {model.name: candidates(spec, all_profiles, model) for model in models}
    durations, looked_at, planned = [], 0, 0
    started = time.process_time()
    while time.process_time() - started < seconds:
        for model in models:
            before = time.process_time()
            planned += isinstance(make_plan(spec, all_profiles, name="model", known=Known(model)), Plan)
            durations.append(time.process_time() - before)
            looked_at += counts[model.name]
    elapsed = sum(durations)
    click.echo(f"{len(models)} models on {len(all_profiles)} profiles: {len(durations)} plans, {planned} of them fit")
    click.echo(f"{looked_at / elapsed:,.0f} candidates per second ({looked_at / elapsed / GOAL:.2f} of the goal)")
    click.echo(f"one plan: p50 {percentile(durations, 50) * 1e3:.2f} ms, p95 {percentile(durations, 95) * 1e3:.2f} ms")


if __name__ == "__main__":
    main()
