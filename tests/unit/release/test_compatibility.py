"""A release is refused if its types break a promise of the previous release."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from slipway_devcluster.errors import Refusal
from slipway_release.compatibility import broken, refuse_broken_promises

SPEC: dict[str, Any] = {
    "type": "object",
    "required": ["model"],
    "properties": {
        "model": {"type": "string", "maxLength": 10},
        "mode": {"type": "string", "enum": ["Latency", "Balanced"], "default": "Balanced"},
        "replicas": {"type": "integer", "minimum": 0, "maximum": 8},
        "adapters": {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}}}},
    },
}


def with_field(name: str, **changes: Any) -> dict[str, Any]:
    return {**SPEC, "properties": {**SPEC["properties"], name: {**SPEC["properties"].get(name, {}), **changes}}}


def without_field(name: str) -> dict[str, Any]:
    return {**SPEC, "properties": {key: each for key, each in SPEC["properties"].items() if key != name}}


def breaks_after(after: dict[str, Any]) -> list[str]:
    return list(broken(SPEC, after, "spec"))


@pytest.mark.parametrize(
    ("after", "sentence"),
    [
        (without_field("mode"), "spec.mode is gone"),
        (with_field("replicas", type="string"), "spec.replicas is string, and was integer"),
        (with_field("mode", default="Latency"), "spec.mode has another default"),
        (with_field("replicas", default=1), "spec.replicas has another default"),
        (with_field("mode", enum=["Balanced"]), "spec.mode no longer takes 'Latency'"),
        (with_field("model", enum=["a"]), "spec.model has a stricter enum"),
        (with_field("model", maxLength=9), "spec.model has a stricter maxLength"),
        (with_field("adapters", maxItems=4), "spec.adapters has a stricter maxItems"),
        (with_field("replicas", minimum=1), "spec.replicas has a stricter minimum"),
        (with_field("model", pattern="^a"), "spec.model has a stricter pattern"),
        ({**SPEC, "required": ["model", "mode"]}, "spec.mode is required"),
        (with_field("adapters", items={"type": "object", "properties": {}}), "spec.adapters[].name is gone"),
        (
            with_field("speed", type="string", default="Slow"),
            "spec.speed is new and has a default, which an older operator would find in every object",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_changes_that_break_existing_models_are_found(after: dict[str, Any], sentence: str) -> None:
    assert breaks_after(after) == [sentence]


@pytest.mark.parametrize(
    "after",
    [
        SPEC,
        with_field("speed", type="string"),
        with_field("speed", type="object", properties={"of": {"type": "string", "default": "light"}}),
        with_field("mode", enum=["Latency", "Balanced", "Throughput"]),
        with_field("model", maxLength=11),
        with_field("replicas", minimum=0, maximum=16),
        {**SPEC, "required": []},
    ],
)
def test_compatible_changes_are_allowed(after: dict[str, Any]) -> None:
    assert breaks_after(after) == []


# --- a checkout ------------------------------------------------------------------------------------------------------


def definition(spec: dict[str, Any], version: str = "v1alpha1") -> str:
    schema = {"openAPIV3Schema": {"properties": {"spec": spec, "status": {"type": "object"}}}}
    return yaml.safe_dump({"spec": {"versions": [{"name": version, "schema": schema}]}})


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with one released version."""
    (tmp_path / "crds").mkdir()
    (tmp_path / "crds/it.yaml").write_text(definition(SPEC))
    for command in ("init --quiet", "add --all", "commit --quiet --message=first", "tag v0.1.0", "tag v0.2.0-rc.1"):
        options = ["-c", "user.name=n", "-c", "user.email=n@example.com", "-C", str(tmp_path)]
        subprocess.run(["git", *options, *command.split()], check=True)
    return tmp_path


def test_an_incompatible_release_is_refused_with_all_breaking_changes(checkout: Path) -> None:
    (checkout / "crds/it.yaml").write_text(definition(without_field("mode")))
    with pytest.raises(
        Refusal,
        match=r"it\.yaml breaks what .* since v0\.1\.0: v1alpha1 spec\.mode is gone\. Make this change",
    ):
        refuse_broken_promises(checkout)


def test_removing_an_api_version_is_refused(checkout: Path) -> None:
    (checkout / "crds/it.yaml").write_text(definition(SPEC, "v1beta1"))
    with pytest.raises(Refusal, match="v1alpha1 is gone"):
        refuse_broken_promises(checkout)


def test_a_new_type_breaks_nothing(checkout: Path) -> None:
    (checkout / "crds/other.yaml").write_text(definition(with_field("speed", type="string", default="Slow")))
    refuse_broken_promises(checkout)


def test_before_the_first_release_there_is_nothing_to_break(checkout: Path) -> None:
    subprocess.run(["git", "-C", str(checkout), "tag", "--delete", "v0.1.0"], check=True, capture_output=True)
    (checkout / "crds/it.yaml").write_text(definition(without_field("mode")))
    refuse_broken_promises(checkout)
