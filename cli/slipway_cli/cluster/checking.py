"""What must be there for models to be served, read from the cluster's objects: one line for each check. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from slipway.objects.conditions import condition
from slipway.objects.kinds import (
    ACCELERATOR_PROFILE,
    CLUSTER_SERVING_RUNTIME,
    CONFIG_MAP,
    DEPLOYMENT,
    INFERENCE_SERVICE,
    LLM_DEPLOYMENT,
    SCALED_OBJECT,
    STORAGE_CLASS,
    Kind,
    Object,
)

from slipway_cli.cluster.programs import PROGRAMS, program

Mark = Literal["well", "wrong", "unknown"]
SKEW = 30.0  # seconds that clocks may differ
CRDS = {
    LLM_DEPLOYMENT: "install the chart slipway-crds",
    ACCELERATOR_PROFILE: "install the chart slipway-crds",
    INFERENCE_SERVICE: "install KServe 0.20, as with the chart slipway-platform",
    CLUSTER_SERVING_RUNTIME: "install KServe 0.20, as with the chart slipway-platform",
    SCALED_OBJECT: "install KEDA 2.21 or later, as with the chart slipway-platform",
}


@dataclass(frozen=True)
class Check:
    name: str
    mark: Mark
    says: str
    remedy: str = ""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What was read. `unreadable`: why a kind isn't there."""

    objects: Mapping[Kind, Sequence[Object]] = field(default_factory=dict)
    unreadable: Mapping[Kind, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)  # of the API server and of this program
    server_time: datetime | None = None
    now: datetime | None = None
    rights: Mapping[str, bool] = field(default_factory=dict)  # by what one may do, such as `patch llmdeployments`


def checks_of(facts: Facts) -> list[Check]:
    return [
        *_server(facts),
        *(_served(facts, kind) for kind in CRDS),
        *(_program(facts, name) for name in PROGRAMS),
        *_versions(facts),
        *_kserve(facts),
        *_scalers(facts),
        *_profiles(facts),
        *_storage(facts),
        *_rights(facts),
    ]


def _server(facts: Facts) -> Iterator[Check]:
    yield Check("API server", "well", f"answers, version {facts.versions.get('server') or 'unknown'}")
    if facts.server_time is None or facts.now is None:
        yield Check("Clocks", "unknown", "the API server didn't say its time")
        return
    apart = abs((facts.server_time - facts.now).total_seconds())
    if apart > SKEW:
        remedy = "Set this machine's clock, or that of the control plane: times of commands are wrong until then."
        yield Check("Clocks", "wrong", f"this machine and the API server are {apart:.0f} s apart", remedy)
    else:
        yield Check("Clocks", "well", f"this machine and the API server are at most {apart + 1:.0f} s apart")


def _served(facts: Facts, kind: Kind) -> Check:
    name = f"{kind.name} ({kind.api_version})"
    word = facts.unreadable.get(kind)
    if word == "NoKind":
        return Check(name, "wrong", "the cluster doesn't know it", f"{CRDS[kind][0].upper()}{CRDS[kind][1:]}.")
    if word:
        return Check(name, "unknown", f"it is there, and you may not read it ({word})")
    return Check(name, "well", "the cluster serves it")


def _program(facts: Facts, name: str) -> Check:
    if word := facts.unreadable.get(DEPLOYMENT):
        return Check(name, "unknown", f"you may not list Deployments ({word})")
    found = program(facts.objects.get(DEPLOYMENT, ()), name)
    if not found:
        return Check(
            name, "wrong", f"there is no such Deployment; {PROGRAMS[name]}", "Install it, or name it as its chart does."
        )
    wanted = sum(int(each["spec"].get("replicas", 1)) for each in found)
    ready = sum(int((each.get("status") or {}).get("readyReplicas") or 0) for each in found)
    where = found[0]["metadata"]["namespace"]
    if len(found) > 1:
        places = ", ".join(sorted(each["metadata"]["namespace"] for each in found))
        remedy = "Keep one: two of the same program undo each other's changes."
        return Check(name, "unknown", f"Deployments of this name are in namespaces {places}", remedy)
    says = f"{ready} of {wanted} replicas are ready, in namespace {where}"
    if ready < max(1, wanted):
        mark: Mark = "wrong"
        return Check(name, mark, f"{says}; {PROGRAMS[name]}", f"See `kubectl describe deployment {name} -n {where}`.")
    return Check(name, "well", says)


def _versions(facts: Facts) -> Iterator[Check]:
    own = facts.versions.get("cli", "")
    for each in program(facts.objects.get(DEPLOYMENT, ()), "slipway-operator"):
        installed = str((each["metadata"].get("labels") or {}).get("app.kubernetes.io/version") or "")
        if installed and own and installed.replace("-rc.", "rc") != own:
            remedy = f"`pipx install slipway-cli=={installed.replace('-rc.', 'rc')}` installs the one that fits."
            yield Check("Versions", "unknown", f"the cluster has Slipway {installed}, and this is {own}", remedy)
        elif installed:
            yield Check("Versions", "well", f"the cluster and this program are of version {installed}")


def _kserve(facts: Facts) -> Iterator[Check]:
    if word := facts.unreadable.get(CONFIG_MAP):
        yield Check("KServe's default mode", "unknown", f"you may not read its ConfigMap ({word})")
    for each in facts.objects.get(CONFIG_MAP, ()):
        if each["metadata"]["name"] != "inferenceservice-config":
            continue
        found = re.search(r'"defaultDeploymentMode"\s*:\s*"(\w+)"', (each.get("data") or {}).get("deploy", ""))
        mode = found[1] if found else "unknown"
        yield Check("KServe's default mode", "well", f"{mode}; Slipway asks for Standard on each of its objects")


def _scalers(facts: Facts) -> Iterator[Check]:
    """KEDA says of each ScaledObject whether it reaches the activator."""
    found = facts.objects.get(SCALED_OBJECT)
    if not found:
        return
    failing = [each for each in found if (condition(each, "Ready") or {}).get("status") == "False"]
    if not failing:
        yield Check("KEDA's scaler", "well", f"{len(found)} ScaledObjects are ready")
        return
    first = failing[0]
    said = (condition(first, "Ready") or {}).get("message") or "without a message"
    remedy = "Check that keda-operator may reach the Service slipway-activator on port 9090 (NetworkPolicies, mTLS)."
    name = f"{first['metadata'].get('namespace')}/{first['metadata']['name']}"
    yield Check(
        "KEDA's scaler", "wrong", f"{len(failing)} of {len(found)} aren't ready, such as {name}: {said}", remedy
    )


def _profiles(facts: Facts) -> Iterator[Check]:
    found = facts.objects.get(ACCELERATOR_PROFILE)
    if found is None:
        return
    if not found:
        yield Check("Accelerators", "wrong", "there is no profile", "Let the chart bring some: accelerators.vendors.")
        return
    there = [each["metadata"]["name"] for each in found if (each.get("status") or {}).get("nodes")]
    if there:
        yield Check("Accelerators", "well", f"nodes of {', '.join(sorted(there)[:8])}, of {len(found)} profiles")
        return
    remedy = (
        "Label the nodes (NVIDIA's GPU Feature Discovery and AMD's node labeller do), or set nodeLabels of a profile."
    )
    yield Check("Accelerators", "wrong", f"none of {len(found)} profiles has a node that the operator knows", remedy)


def _storage(facts: Facts) -> Iterator[Check]:
    classes = facts.objects.get(STORAGE_CLASS)
    if classes is None:
        yield Check("Storage classes", "unknown", f"you may not read them ({facts.unreadable.get(STORAGE_CLASS, '')})")
        return
    annotation = "storageclass.kubernetes.io/is-default-class"
    default = [each for each in classes if (each["metadata"].get("annotations") or {}).get(annotation) == "true"]
    if default:
        yield Check("Storage classes", "well", f"{default[0]['metadata']['name']} is the default one")
        return
    remedy = "Mark one as the default, or name one in spec.engine.compileCache: compiled code is kept in a claim."
    yield Check("Storage classes", "wrong", f"none of {len(classes)} is the default one", remedy)


def _rights(facts: Facts) -> Iterator[Check]:
    lacking = [name for name, is_allowed in facts.rights.items() if not is_allowed]
    if lacking:
        remedy = "Ask for the role view or edit in the namespace: Slipway's chart adds its own objects to both."
        yield Check("Your rights", "unknown", f"you may not {', '.join(lacking)}", remedy)
    elif facts.rights:
        yield Check("Your rights", "well", f"you may {', '.join(facts.rights)}")


NEEDED: Mapping[Kind, str] = {
    **{kind: kind.path() for kind in CRDS},
    DEPLOYMENT: DEPLOYMENT.path(),
    CONFIG_MAP: f"{CONFIG_MAP.path()}?fieldSelector=metadata.name%3Dinferenceservice-config",
    STORAGE_CLASS: STORAGE_CLASS.path(),
}
"""What is read for the checks."""
