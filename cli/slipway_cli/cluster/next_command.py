"""The one command to run next, for each reason: one that fixes it where that is clear, else one that shows more. Pure.

A command changes a number only where the status says what would be enough.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from slipway.api.units import amount, quantity
from slipway.objects.kinds import Object

from slipway_cli.cluster.world import World

TOOL = "kubectl llm"


@dataclass(frozen=True)
class Next:
    """`fixes`: it should heal the model; otherwise it shows more, or a person has to fill something in."""

    command: str
    why: str
    fixes: bool = False


@dataclass(frozen=True)
class Case:
    """What a command is chosen by."""

    world: World
    message: str
    pod: Object | None

    @property
    def name(self) -> str:
        return self.world.name

    @property
    def namespace(self) -> str:
        return self.world.namespace

    @property
    def spec(self) -> Mapping[str, Any]:
        return self.world.llm.get("spec") or {}

    def patch(self, spec: Object) -> str:
        """A command that changes the spec."""
        body = json.dumps({"spec": spec}, separators=(",", ":"))
        return f"kubectl patch llm {self.name} -n {self.namespace} --type=merge -p '{body}'"

    def ours(self, verb: str) -> str:
        return f"{TOOL} {verb} {self.name} -n {self.namespace}"

    def planned(self) -> str:
        """A command that plans what the cluster has."""
        return f"kubectl get llm {self.name} -n {self.namespace} -o yaml | {TOOL} plan - --all"

    def describe(self, kind: str, name: str, *, namespaced: bool = True) -> str:
        return f"kubectl describe {kind} {name}" + (f" -n {self.namespace}" if namespaced else "")


def next_command(reason: str, message: str, world: World, pod: Object | None) -> Next:
    case = Case(world, message, pod)
    found = CHOICES[reason](case) if reason in CHOICES else None
    return found or _about_pod(case)


def _about_pod(case: Case) -> Next:
    if case.pod is None:
        return Next(case.describe("llm", case.name), "shows all of its status and events")
    return Next(case.describe("pod", case.pod["metadata"]["name"]), "shows the pod and its events")


# --- the spec --------------------------------------------------------------------------------------------------------

REMEDY = re.compile(r"engine\.(\w+)(?:: (\w+)| ≤ ([\d,]+))")


def _fits_nowhere(case: Case) -> Next | None:
    """The status names changes that are enough, each of which was planned."""
    for field, word, number in REMEDY.findall(case.message):
        value = int(number.replace(",", "")) if number else int(word) if word.isdigit() else word
        return Next(case.patch({"engine": {field: value}}), "is enough, as the plan says", fixes=True)
    if limit := re.search(r"pod\.resources\.limits\.memory: (\w+)", case.message):
        spec = {"pod": {"resources": {"limits": {"memory": limit[1]}}}}
        return Next(case.patch(spec), "is enough, as the plan says", fixes=True)
    return Next(
        f"kubectl get llm {case.name} -n {case.namespace} -o yaml | {TOOL} plan - --all", "shows what would fit"
    )


def _too_long(case: Case) -> Next | None:
    """The message has the longest context that is possible."""
    said = re.search(r"(?:can do|length is|fits there is) ([\d,]{2,})", case.message)
    if said is None:
        return None
    length = int(said[1].replace(",", ""))
    return Next(
        case.patch({"engine": {"contextLength": length}}), "sets the longest context that is possible", fixes=True
    )


def _wrong_argument(case: Case) -> Next | None:
    """Of extraArgs, the one that the engine names."""
    arguments = list((case.spec.get("engine") or {}).get("extraArgs") or [])
    named = [each for each in arguments if each.partition("=")[0] in case.message]
    if len(named) != 1:
        return _edit(case, "spec.engine.extraArgs") if arguments else None
    left = [each for each in arguments if each not in named]
    return Next(
        case.patch({"engine": {"extraArgs": left}}), f"removes {named[0]}, which the engine refuses", fixes=True
    )


def _edit(case: Case, field: str) -> Next:
    return Next(f"kubectl edit llm {case.name} -n {case.namespace}", f"to correct {field}")


def _more_host_memory(case: Case) -> Next | None:
    """Twice as much as the container that was killed has."""
    limit = _limit_of_engine(case)
    if limit is None:
        return None
    more = quantity(2 * int(amount(limit)))
    spec = {"pod": {"resources": {"requests": {"memory": more}, "limits": {"memory": more}}}}
    return Next(case.patch(spec), f"gives it {more} of memory instead of {limit}", fixes=True)


def _limit_of_engine(case: Case) -> str | None:
    of_spec = ((case.spec.get("pod") or {}).get("resources") or {}).get("limits") or {}
    containers = ((case.pod or {}).get("spec") or {}).get("containers") or []
    of_pod = (containers[0].get("resources") or {}).get("limits") or {} if containers else {}
    found = of_spec.get("memory") or of_pod.get("memory")
    return str(found) if found else None


def _less_gpu_memory(case: Case) -> Next | None:
    """Half of the requests at a time that were planned."""
    planned = (case.world.status.get("plan") or {}).get("maxConcurrency")
    own = (case.spec.get("engine") or {}).get("maxConcurrency")
    at_once = own or planned
    if not isinstance(at_once, int) or at_once < 2:
        return Next(
            f"kubectl get llm {case.name} -n {case.namespace} -o yaml | {TOOL} plan - --all", "shows what would fit"
        )
    half = at_once // 2
    return Next(case.patch({"engine": {"maxConcurrency": half}}), f"halves the requests at a time, to {half}")


def _missing_object(case: Case) -> Next | None:
    """A Secret, ConfigMap or claim that the message names."""
    found = re.search(r"(?i)(secret|configmap|persistentvolumeclaim) \"?([\w.-]+)\"?", case.message)
    if found is None:
        return None
    kind, name = found[1].lower(), found[2].rstrip(".")
    if kind == "secret":
        command = f"kubectl create secret generic {name} -n {case.namespace} --from-literal=KEY=VALUE"
        return Next(command, "creates it, with your KEY and VALUE")
    if kind == "configmap":
        return Next(
            f"kubectl create configmap {name} -n {case.namespace} --from-file=FILE", "creates it, from your FILE"
        )
    return Next(f"kubectl get pvc -n {case.namespace}", "shows the claims that there are")


def _credentials(case: Case) -> Next:
    secret = (case.spec.get("model") or {}).get("credentialsSecret")
    if not secret:
        return _edit(case, "spec.model.credentialsSecret")
    return Next(case.describe("secret", secret), "shows which keys the Secret has, and not their values")


# --- pods and nodes --------------------------------------------------------------------------------------------------


def _log(case: Case) -> Next | None:
    return Next(f"{case.ours('logs')} --previous", "shows the end of its log") if case.pod else None


def _stuck(case: Case) -> Next | None:
    found = re.search(r"Pod ([\w.-]+)", case.message)
    if found is None:
        return None
    command = f"kubectl delete pod {found[1]} -n {case.namespace} --grace-period=0 --force"
    return Next(command, "removes it; only when its node is really gone, or else two replicas share a device")


def _node(case: Case) -> Next | None:
    name = ((case.pod or {}).get("spec") or {}).get("nodeName")
    return Next(case.describe("node", name, namespaced=False), "shows the node") if name else None


def _no_room(case: Case) -> Next:
    return Next(f"{TOOL} accelerators", "shows what the cluster has, what of it is free, and who holds it")


def _claim(case: Case) -> Next:
    return Next(f"kubectl describe pvc -n {case.namespace}", "shows the claims and their events")


# --- the platform ----------------------------------------------------------------------------------------------------


def _doctor(case: Case) -> Next:
    return Next(f"{TOOL} doctor", "checks the installation, with a remedy for each line")


def _taken(case: Case) -> Next:
    kind = case.message.split(" ", 1)[0].lower()
    kind = kind if kind.isalpha() else "all"
    return Next(f"kubectl get {kind} {case.name} -n {case.namespace} -o yaml", "shows the object that has its name")


def _budget(case: Case) -> Next:
    return Next(f"kubectl edit llm {case.name} -n {case.namespace}", "to raise spec.budget; or wait until it is reset")


CHOICES: Mapping[str, Callable[[Case], Next | None]] = {
    "NoAcceleratorFits": _fits_nowhere,
    "ContextTooLong": _too_long,
    "InvalidSpec": lambda case: _edit(case, "what the message names"),
    "ProfileMissing": lambda case: Next("kubectl get acceleratorprofiles", "shows the profiles that there are"),
    "RuntimeMissing": lambda case: Next("kubectl get clusterservingruntimes,servingruntimes -A", "shows the engines"),
    "RuntimeShadowed": lambda case: Next(f"kubectl get servingruntimes -n {case.namespace}", "shows which one it is"),
    "BadEngineArguments": _wrong_argument,
    "ModelNotFound": lambda case: _edit(case, "spec.model.uri"),
    "ModelAccessDenied": _credentials,
    "ModelCorrupt": lambda case: _edit(case, "spec.model.revision, or fetch the files again"),
    "UnsupportedArchitecture": lambda case: _edit(case, "spec.model or spec.engine"),
    "QuantizationMismatch": lambda case: _edit(case, "spec.engine.quantization"),
    "HostOutOfMemory": _more_host_memory,
    "GpuOutOfMemory": _less_gpu_memory,
    "PodConfigError": _missing_object,
    "ImageNameInvalid": lambda case: _edit(case, "the image"),
    "QuotaExceeded": lambda case: Next(f"kubectl describe quota -n {case.namespace}", "shows what is used and allowed"),
    "Unschedulable": _no_room,
    "Preempted": _no_room,
    "VolumeNotReady": _claim,
    "CrashLoop": _log,
    "EngineCrashed": _log,
    "EngineStuck": _log,
    "StartTimeout": _log,
    "ModelDownloadFailed": _log,
    "PodStuck": _stuck,
    "NodeLost": _node,
    "DriverMismatch": _node,
    "GpuUnhealthy": _node,
    "GpuBusy": _node,
    "NameTaken": _taken,
    "KServeMissing": _doctor,
    "KedaMissing": _doctor,
    "KServeDown": _doctor,
    "KedaDown": _doctor,
    "ScalerUnavailable": _doctor,
    "ActivatorUnavailable": _doctor,
    "MetricsMissing": _doctor,
    "PermissionDenied": _doctor,
    "Paused": lambda case: Next(case.ours("resume"), "lets it scale again", fixes=True),
    "BudgetSpent": _budget,
}
