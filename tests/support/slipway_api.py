"""The types of Slipway in a cluster: installed, and objects of them, good and bad."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from support.kube import Kube, Object

ROOT = Path(__file__).parent.parent.parent
CRDS, POLICIES, SAMPLES = ROOT / "crds", ROOT / "manifests/policies", ROOT / "manifests/samples"
NAMES = ("llmdeployments.slipway.dev", "acceleratorprofiles.slipway.dev")
MODEL_SPEC: Object = {"model": {"uri": "pvc://models/llama"}}
PROFILE_SPEC: Object = {"vendor": "NVIDIA", "resource": {"name": "nvidia.com/gpu"}, "memory": "80Gi"}

# What kubectl and the API server say around the sentence of a rule, and what some values look like to them.
_REFUSED = re.compile(r'^(The \w+ "[^"]*" is invalid:\s*|Error from server \(BadRequest\): .*?strict decoding error: )')
_VALUE = re.compile(r'Invalid value: ("[^"]*"|null|-?\d+): ')
_UNCHECKED = "some validation rules were not checked"


async def install(kube: Kube) -> None:
    """The definitions and policies, ready for use."""
    await kube.run("apply", "--server-side", "--force-conflicts", "--filename", str(CRDS))
    for name in NAMES:
        await kube.wait_for_condition("customresourcedefinition", name, "Established")
    await kube.run("apply", "--server-side", "--force-conflicts", "--filename", str(POLICIES))


def llmdeployment(name: str = "model", spec: Object | None = None) -> Object:
    """The smallest one that is right, with a spec laid over it."""
    return _of_kind("LLMDeployment", name, merged(MODEL_SPEC, spec or {}))


def acceleratorprofile(name: str = "gpu", spec: Object | None = None) -> Object:
    """The smallest one that is right, with a spec laid over it."""
    return _of_kind("AcceleratorProfile", name, merged(PROFILE_SPEC, spec or {}))


def merged(base: Object, change: Object) -> Object:
    """As a merge patch does it: objects go into each other, null takes away, all else replaces what was."""
    result = dict(base)
    for key, value in change.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(base.get(key, {}), dict):
            result[key] = merged(base.get(key, {}), value)
        else:
            result[key] = value
    return result


def rows(name: str) -> list[Any]:
    """A table of objects and what the API server says to them."""
    table: list[Any] = yaml.safe_load((ROOT / "tests/cluster/specs" / f"{name}.yaml").read_text())
    return table


def samples() -> list[Path]:
    return sorted(SAMPLES.glob("*.yaml"))


def sentences(refusal: str) -> str:
    """What a refusal says, one line for each field, without what Kubernetes says around it."""
    lines = [_VALUE.sub("", line.removeprefix("* ")) for line in _REFUSED.sub("", refusal).splitlines()]
    return "\n".join(line for line in lines if _UNCHECKED not in line)


def _of_kind(kind: str, name: str, spec: Object) -> Object:
    return {"apiVersion": "slipway.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}
