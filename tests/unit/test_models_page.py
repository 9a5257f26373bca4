"""docs/models.md: its examples do what the page says, and it explains every field of `model.facts`."""

from __future__ import annotations

import re

import yaml
from slipway.api.llmdeployment import LLMDeployment
from slipway.api.model import ModelFacts
from slipway.api.names import MODELS_LABEL
from slipway.models.catalogue import shipped
from slipway.models.facts import Evidence
from slipway.models.site import LARGEST_FILE, LARGEST_IN_ALL, site_of
from slipway.models.sources import known_of
from slipway.operator.planning import Plan, make_plan
from support.builders.rendering import profile
from support.repository import ROOT

PAGE = (ROOT / "docs/models.md").read_text()
EXAMPLES = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]
[BY_FACTS] = [each for each in EXAMPLES if each["kind"] == "LLMDeployment"]
[OF_SITE] = [each for each in EXAMPLES if each["kind"] == "ConfigMap"]


def test_a_model_with_the_facts_of_the_example_is_planned() -> None:
    deployment = LLMDeployment.model_validate(BY_FACTS)
    model = deployment.spec.model
    known = known_of(model.uri, model.facts)
    assert known.model
    assert not known.model.missing
    assert not known.problems
    plan = make_plan(deployment.spec, [profile("h100")], name="legal", known=known)
    assert isinstance(plan, Plan)
    assert plan.memory


def test_each_fact_of_the_example_is_needed() -> None:
    [missing] = re.findall(r"spec\.model\.facts\.(\w+) isn't known", PAGE)
    facts = {name: value for name, value in BY_FACTS["spec"]["model"]["facts"].items() if name != missing}
    known = known_of("s3://models/legal-8b", ModelFacts.model_validate(facts))
    assert known.model
    assert known.model.missing == (missing,)


def test_the_models_of_the_example_are_taken() -> None:
    assert OF_SITE["metadata"]["labels"] == {MODELS_LABEL: "true"}
    site = site_of([OF_SITE])
    assert not site.problems
    for uri in ("hf://acme/legal-8b", "s3://models/legal-8b"):
        model = site.catalogue.find(uri)
        assert model
        assert not model.missing
        assert set(model.evidence.values()) == {Evidence.REPORTED}


def test_every_fact_is_explained() -> None:
    table = PAGE.split("| field of `model.facts` |")[1].split("\n\n")[0]
    explained = [name for row in re.findall(r"^\| (`[^|]+`) \|", table, re.MULTILINE) for name in row.split("`")[1::2]]
    assert sorted(explained) == sorted(info.alias or "" for info in ModelFacts.model_fields.values())


def test_its_numbers_are_those_of_the_code() -> None:
    assert f"| {len(shipped())} names of published models |" in PAGE
    assert f"up to\n{LARGEST_FILE:,}" in PAGE or f"up to {LARGEST_FILE:,}" in PAGE
    assert f"{LARGEST_IN_ALL:,} together" in PAGE
