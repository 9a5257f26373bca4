"""The real argocd with this repository's Lua scripts: the health and the actions of Slipway's objects.

Without a cluster. The expected results are next to the Lua, in the layout of Argo CD's own tests.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from support import repository
from support.cluster import Settings
from support.cluster.gitops import argocd
from support.cluster.gitops.argocd import CommandLine

pytestmark = pytest.mark.timeout(60, func_only=True)  # it is built before the first test

CUSTOMIZATIONS = repository.ROOT / "manifests/argocd/resource_customizations"
ACTIONS = CUSTOMIZATIONS / "slipway.dev/LLMDeployment/actions"
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
ZERO_TIME = "0001-01-01T00:00:00Z"


def read(path: Path) -> Any:
    return yaml.load(path.read_text(), yaml.CBaseLoader)


def expected_health() -> list[Any]:
    return [
        pytest.param(
            path.parent / each["inputPath"],
            each["healthStatus"],
            id=f"{path.parent.name}-{Path(each['inputPath']).stem}",
        )
        for path in sorted(CUSTOMIZATIONS.rglob("health_test.yaml"))
        for each in read(path)["tests"]
    ]


OF_ACTIONS = read(ACTIONS / "action_test.yaml")


@pytest.fixture
def argo(settings: Settings, tmp_path: Path) -> CommandLine:
    return CommandLine(argocd.built(settings.cache, settings.steps), tmp_path)


@pytest.mark.parametrize(("manifest", "health"), expected_health())
def test_the_health_of_an_object_is_reported(argo: CommandLine, manifest: Path, health: dict[str, str]) -> None:
    assert argo.health(manifest) == health


@pytest.mark.parametrize("test", OF_ACTIONS["discoveryTests"], ids=lambda test: Path(test["inputPath"]).stem)
def test_the_available_actions_are_offered(argo: CommandLine, test: dict[str, Any]) -> None:
    wanted = {each["name"]: each["disabled"] == "true" for each in test["result"]}
    assert argo.actions(ACTIONS / test["inputPath"]) == wanted


@pytest.mark.parametrize("test", OF_ACTIONS["actionTests"], ids=lambda test: str(test["action"]))
def test_an_action_changes_nothing_but_an_annotation(argo: CommandLine, test: dict[str, Any]) -> None:
    before = yaml.safe_load((ACTIONS / test["inputPath"]).read_text())
    changed = argo.acted(ACTIONS / test["inputPath"], test["action"])
    annotations = changed["metadata"]["annotations"]
    fresh = {name for name, value in annotations.items() if MOMENT.fullmatch(value)}
    changed["metadata"]["annotations"] = annotations | dict.fromkeys(fresh, ZERO_TIME)
    assert changed == yaml.safe_load((ACTIONS / test["expectedOutputPath"]).read_text())
    assert {**changed, "metadata": {}} == {**before, "metadata": {}}


FILLED_IN: dict[str, Any] = {
    "apiVersion": "slipway.dev/v1alpha1",
    "kind": "LLMDeployment",
    "metadata": {"name": "assistant"},
    "spec": {
        "scaling": {
            "schedule": [
                {"cron": "0 8 * * *", "duration": "8h", "timeZone": "UTC"},
                {"cron": "0 9 * * *", "duration": "8h", "timeZone": "Europe/Vienna"},
            ]
        },
        "pod": {
            "tolerations": [{"key": "gpu", "operator": "Equal"}, {"key": "spot", "operator": "Exists"}],
            "volumes": [{"name": "scratch", "emptyDir": {"medium": ""}}],
        },
    },
}


def test_defaults_in_lists_are_not_a_difference_and_everything_else_is(argo: CommandLine, tmp_path: Path) -> None:
    argocd.written(tmp_path / "live.yaml", FILLED_IN)
    spec = argo.compared(tmp_path / "live.yaml")["spec"]
    assert [each.get("timeZone") for each in spec["scaling"]["schedule"]] == [None, "Europe/Vienna"]
    assert spec["pod"]["tolerations"] == [{"key": "gpu"}, {"key": "spot", "operator": "Exists"}]
    assert spec["pod"]["volumes"] == [{"name": "scratch", "emptyDir": {}}]


def test_a_wrong_script_fails(argo: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config_map = tmp_path / "argocd-cm.yaml"
    shutil.copyfile(argocd.CONFIG_MAP, config_map)
    config_map.write_text(config_map.read_text().replace('state == "Failed"', 'state == "Fallen"'))
    monkeypatch.setattr(argocd, "CONFIG_MAP", config_map)
    failed = CUSTOMIZATIONS / "slipway.dev/LLMDeployment/testdata/failed.yaml"
    assert argo.health(failed)["status"] != "Degraded"
