"""Argo CD's customizations for Slipway's kinds are complete. tests/gitops/test_health.py runs them in Argo CD."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from slipway.api.acceleratorprofile import AcceleratorProfileSpec
from slipway.api.llmdeployment import LLMDeploymentSpec
from slipway.api.reasons import State
from slipway.api.status import LLMDeploymentStatus
from support.builders.health_cases import HEALTH_CASES

ARGOCD = Path(__file__).parents[3] / "manifests/argocd"
KINDS = sorted((ARGOCD / "resource_customizations").glob("*/*"))
MODELS = ARGOCD / "resource_customizations/slipway.dev/LLMDeployment"
ENTRIES = yaml.safe_load((ARGOCD / "argocd-cm.yaml").read_text())["data"]

each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


def read(path: Path) -> Any:
    return yaml.load(path.read_text(), yaml.BaseLoader)


@each_kind
def test_each_recorded_object_has_an_expected_health(kind: Path) -> None:
    tried = [kind / each["inputPath"] for each in read(kind / "health_test.yaml")["tests"]]
    assert sorted(tried) == sorted((kind / "testdata").glob("*.yaml"))


def test_each_state_has_a_recorded_object() -> None:
    states = {scene.object().get("status", {}).get("state") for scene in HEALTH_CASES.values()}
    assert states == {*State, None}


@pytest.mark.parametrize("path", sorted(MODELS.rglob("testdata/*.yaml")), ids=lambda path: path.stem)
def test_the_models_are_valid(path: Path) -> None:
    document = yaml.safe_load(path.read_text())
    LLMDeploymentSpec.model_validate(document["spec"])
    LLMDeploymentStatus.model_validate(document.get("status") or {})


def test_the_accelerators_are_valid() -> None:
    for path in (MODELS.parent / "AcceleratorProfile/testdata").glob("*.yaml"):
        AcceleratorProfileSpec.model_validate(yaml.safe_load(path.read_text())["spec"])


def test_each_action_is_discoverable_and_has_a_test() -> None:
    actions = {path.parent.name for path in (MODELS / "actions").glob("*/action.lua")}
    tests = read(MODELS / "actions/action_test.yaml")
    assert {each["action"] for each in tests["actionTests"]} == actions
    for discovery in tests["discoveryTests"]:
        assert {each["name"] for each in discovery["result"]} == actions


@each_kind
def test_the_config_map_has_all_customizations(kind: Path) -> None:
    name = f"{kind.parent.name}_{kind.name}"
    assert ENTRIES[f"resource.customizations.health.{name}"] == (kind / "health.lua").read_text()
    actions = yaml.safe_load(ENTRIES.get(f"resource.customizations.actions.{name}", "definitions: []"))
    definitions = {each["name"]: each["action.lua"] for each in actions["definitions"]}
    assert definitions == {path.parent.name: path.read_text() for path in kind.glob("actions/*/action.lua")}


def test_the_lua_uses_only_libraries_that_argo_cd_provides() -> None:
    """Argo CD provides base and table, and os by require; not string, not math, and no methods of strings."""
    for path in (ARGOCD / "resource_customizations").rglob("*.lua"):
        code = "\n".join(line.partition("--")[0] for line in path.read_text().splitlines())
        assert not [
            word for word in ("string.", "math.", "io.", "debug.", ":format", ":find", ":match") if word in code
        ]
        assert ("os." in code) == ('local os = require("os")' in code)
