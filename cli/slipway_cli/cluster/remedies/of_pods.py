"""What to run next where a pod can't be made, finds no place, or has a container that fails. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from slipway.api.units import amount, quantity
from slipway.objects.kinds import NODE, Object
from slipway.objects.metadata import labels_of

from slipway_cli.cluster.remedies.case import ENGINE, TOOL, Blank, Case, Next, bare, literals, quoted

LONGEST_START = 600  # seconds that a runtime of the user's own gets by a command


# --- what it names ---------------------------------------------------------------------------------------------------


def missing_object(case: Case) -> Next | None:
    """A Secret, ConfigMap or claim that the message names, with the keys that the spec reads."""
    found = re.search(r"(?i)\b(secret|configmap|persistentvolumeclaim) \"?([\w.-]+)\"?", case.message)
    if found is None:
        return None
    kind, name = found[1].lower(), found[2].rstrip(".,:")
    if kind == "persistentvolumeclaim":
        return _other_claim(case)
    if lacking := re.search(r"names the key ([\w.-]+) of", case.message):
        part = "stringData" if kind == "secret" else "data"
        body = quoted({part: {lacking[1]: Blank(f"<the value of {lacking[1]}>")}})
        command = f"kubectl patch {kind} {name} -n {case.namespace} --type=merge -p {body}"
        return Next(command, f"adds the key {lacking[1]}")
    keys = list(dict.fromkeys(_keys_read(case.part("pod").get("env") or [], kind, name))) or ["<the key>"]
    given = " ".join(shlex.quote(f"--from-literal={key}=<the value of {key.strip('<>')}>") for key in keys)
    create = f"kubectl create {'secret generic' if kind == 'secret' else kind} {name} -n {case.namespace} {given}"
    return Next(create, f"creates it, with the key{'s' if len(keys) > 1 else ''} that the pod reads")


def _keys_read(entries: list[Any], kind: str, name: str) -> Iterator[str]:
    source = {"secret": "secretKeyRef", "configmap": "configMapKeyRef"}[kind]
    for each in entries:
        reference = ((each.get("valueFrom") or {}) if isinstance(each, dict) else {}).get(source) or {}
        if reference.get("name") == name and re.fullmatch(r"[-\w.]+", str(reference.get("key"))):
            yield str(reference["key"])


def _other_claim(case: Case) -> Next:
    uri = str(case.part("model").get("uri") or "")
    if not uri.startswith("pvc://"):
        return Next(f"kubectl get pvc -n {case.namespace}", "shows the existing claims")
    folder = uri.removeprefix("pvc://").partition("/")[2]
    spec = {"model": {"uri": Blank("<a claim that exists>", "pvc://", f"/{folder}")}}
    return Next(case.patch(spec), f"names a claim that there is: `kubectl get pvc -n {case.namespace}` lists them")


def other_image(case: Case) -> Next | None:
    """The image of the namespace's own ServingRuntime; Slipway's own are of its chart."""
    if not _is_of_engine(case):
        return None
    if re.search(r"\b40[13]\b|unauthorized|authorization|denied", case.message):
        secrets = [
            *(case.part("pod").get("imagePullSecrets") or []),
            {"name": Blank("<a Secret with a login of the registry>")},
        ]
        return Next(case.patch({"pod": {"imagePullSecrets": secrets}}), "gives the node a login for the registry")
    command = case.patch_container("image", Blank("<an image that the nodes can pull>"))
    return Next(command, "names another image in the ServingRuntime of its pods") if command else None


def _is_of_engine(case: Case) -> bool:
    """Not of an init container or a sidecar."""
    status = (case.pod or {}).get("status") or {}
    containers = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    waiting = {each.get("name"): ((each.get("state") or {}).get("waiting") or {}).get("reason") for each in containers}
    failing = [name for name, reason in waiting.items() if "Image" in str(reason)]
    return not failing or ENGINE in failing


# --- a place ---------------------------------------------------------------------------------------------------------


def no_room(case: Case) -> Next:
    pod = case.part("pod")
    selector = pod.get("nodeSelector") or {}
    named = {label: None for label, value in selector.items() if f"{label}={value}" in case.message}
    there = [each for each in case.world.of(NODE) if selector.items() <= labels_of(each).items()]
    if named and case.world.of(NODE) and not there:
        labels = ", ".join(f"{label}={selector[label]}" for label in named)
        does = f"no longer asks for {labels}, which no node has: only if it may run elsewhere"
        return Next(case.patch({"pod": {"nodeSelector": named}}), does)
    if "untolerated taint" in case.message and "No node is both" in case.message:
        return _tolerate(case, _keys_of_taints(case, there))
    if named:
        return Next(case.patch({"pod": {"nodeSelector": named}}), f"no longer asks for {', '.join(named)}")
    lacking = re.search(r"Insufficient (cpu|memory|ephemeral-storage)", case.message)
    if lacking and lacking[1] in ((pod.get("resources") or {}).get("requests") or {}):
        spec = {"pod": {"resources": {"requests": {lacking[1]: Blank(f"<as much {lacking[1]} as a node has free>")}}}}
        return Next(case.patch(spec), "asks for less; `kubectl describe nodes` shows what is free")
    return Next(f"{TOOL} accelerators", "shows what the cluster has, what of it is free, and who holds it")


def _tolerate(case: Case, keys: list[str]) -> Next:
    own = [each for each in case.part("pod").get("tolerations") or [] if isinstance(each, dict)]
    named: list[str | Blank] = [*keys] or [Blank("<the key of their taint>")]
    wanted = [{"key": key, "operator": "Exists"} for key in named]
    shows = "" if keys else ". `kubectl describe nodes` shows the taints"
    return Next(
        case.patch({"pod": {"tolerations": [*own, *wanted]}}),
        f"lets it run on nodes that are kept for others: ask those first{shows}",
    )


def _keys_of_taints(case: Case, nodes: list[Object]) -> list[str]:
    """Of the nodes that it may choose, where all have the same ones."""
    own = {each.get("key") for each in case.part("pod").get("tolerations") or [] if isinstance(each, dict)}
    found = {tuple(_keys_of_node(each, own)) for each in nodes} if case.part("pod").get("nodeSelector") else set()
    return list(found.pop()) if len(found) == 1 else []


def _keys_of_node(raw: Object, own: set[Any]) -> Iterator[str]:
    for taint in (raw.get("spec") or {}).get("taints") or []:
        if taint.get("effect") != "PreferNoSchedule" and taint.get("key") not in own:
            yield str(taint.get("key"))


def preempted(case: Case) -> Next:
    spec = {"pod": {"priorityClassName": Blank("<a class of higher priority>")}}
    return Next(
        case.patch(spec), "keeps its place next time, and may take that of others; `kubectl get priorityclasses`"
    )


def evicted(case: Case) -> Next | None:
    """A volume of the spec itself was too small: it gets four times as much."""
    found = re.search(r'EmptyDir volume "([\w.-]+)" exceeds the limit "(\w+)"', case.message)
    volumes = [each for each in case.part("pod").get("volumes") or [] if isinstance(each, dict)]
    if found is None or found[1] not in [each.get("name") for each in volumes]:
        return node(case)
    more = quantity(4 * int(amount(found[2])))
    changed = [
        {**each, "emptyDir": {**(each.get("emptyDir") or {}), "sizeLimit": more}}
        if each.get("name") == found[1]
        else each
        for each in volumes
    ]
    return Next(case.patch({"pod": {"volumes": changed}}), f"gives the volume {found[1]} {more} instead of {found[2]}")


def stuck(case: Case) -> Next | None:
    found = re.search(r"Pod ([\w.-]+)", case.message)
    if found is None:
        return None
    if finalizers := re.search(r"waits for its finalizers: (\S+(?:, \S+)*)", case.message):
        body = quoted({"metadata": {"finalizers": None}})
        command = f"kubectl patch pod {found[1]} -n {case.namespace} --type=merge -p {body}"
        return Next(command, f"removes {finalizers[1]}; only if the program that set it no longer does its work")
    command = f"kubectl delete pod {found[1]} -n {case.namespace} --grace-period=0 --force"
    return Next(command, "removes it; only when its node is really gone, or else two replicas share a device")


def node(case: Case) -> Next | None:
    name = ((case.pod or {}).get("spec") or {}).get("nodeName")
    return Next(case.describe("node", name, namespaced=False), "shows the node") if name else None


# --- rules of the namespace ------------------------------------------------------------------------------------------


def quota(case: Case) -> Next:
    """As much as is used and requested together, which the message has."""
    found = re.search(r"exceeded quota: ([\w.-]+), requested: (.+?), used: (.+?), limited: ", case.message)
    shows = Next(f"kubectl describe quota -n {case.namespace}", "shows what is used and allowed")
    if found is None:
        return shows
    requested, used = _amounts(found[2]), _amounts(found[3])
    if not requested or not requested.keys() <= used.keys():
        return shows
    hard = {name: _written(each + used[name]) for name, each in requested.items()}
    body = quoted({"spec": {"hard": hard}})
    command = f"kubectl patch resourcequota {found[1]} -n {case.namespace} --type=merge -p {body}"
    return Next(command, "makes room for it, if that is yours to decide; else let another model of the namespace sleep")


def _amounts(text: str) -> dict[str, Decimal]:
    found = (each.split("=", 1) for each in text.split(",") if "=" in each)
    return {name: amount(each) for name, each in found if re.fullmatch(r"[\d.]+[A-Za-z]*", each)}


def _written(total: Decimal) -> str:
    """Of a whole number in Kubernetes' way, and of a part of one in thousandths."""
    return quantity(int(total)) if total == int(total) else f"{int(total * 1000)}m"


def admission(case: Case) -> Next | None:
    """A LimitRange says what is allowed."""
    found = re.search(r"(maximum|minimum) (cpu|memory) usage per Container is ([\w.]+)", case.message)
    if found is None:
        return Next(
            "kubectl get validatingadmissionpolicies,validatingwebhookconfigurations",
            "shows the policies; the message says which one refused, and why",
        )
    bound = {found[2]: found[3]}
    resources = {"requests": bound, "limits": bound}
    return Next(
        case.patch({"pod": {"resources": resources}}),
        f"gives it the {found[1]} of {found[2]} that the namespace allows, {found[3]}",
        fixes=found[1] == "minimum",
    )


# --- a container -----------------------------------------------------------------------------------------------------


def wrong_argument(case: Case) -> Next | None:
    """Of extraArgs, those that the engine names; else what else the user has written."""
    arguments = [str(each) for each in case.part("engine").get("extraArgs") or []]
    named = [each for each in arguments if _is_named(each.partition("=")[0], case.message)]
    if named:
        left = [each for each in arguments if each not in named]
        spec = {"engine": {"extraArgs": left or None}}
        return Next(case.patch(spec), f"removes {', '.join(named)}, which the engine refuses", fixes=True)
    if arguments:
        return Next(case.patch({"engine": {"extraArgs": None}}), "tries it without extraArgs")
    return _of_own_runtime(case, "command", bare("<its command, as a list>"), "corrects the command")


def _is_named(flag: str, message: str) -> bool:
    """As it is written, or in the words of its name: an engine may write `chat template` of --chat-template."""
    words = flag.lstrip("-").replace("-", " ")
    return flag in message or (" " in words and words in message.replace("-", " ").replace("_", " "))


def crashed(case: Case) -> Next | None:
    command = _of_own_runtime(case, "command", bare("<its command, as a list>"), "corrects the command")
    return _without_additions(case) or command or log(case)


def stuck_engine(case: Case) -> Next | None:
    probe = _of_own_runtime(case, "readinessProbe", bare("<a probe that the engine answers>"), "corrects the probe")
    return _without_additions(case) or probe or log(case)


def _without_additions(case: Case) -> Next | None:
    """What the spec adds to the engine is what differs from models that run."""
    variables = list(literals(case.part("pod").get("env") or []))
    if variables:
        kept = [each for each in case.part("pod")["env"] if not (isinstance(each, dict) and "value" in each)]
        named = ", ".join(variables)
        return Next(case.patch({"pod": {"env": kept or None}}), f"tries it without {named}; see `{case.ours('logs')}`")
    if case.part("engine").get("extraArgs"):
        return Next(case.patch({"engine": {"extraArgs": None}}), "tries it without extraArgs")
    return None


def start_timeout(case: Case) -> Next | None:
    """A startup probe of the user's own gets ten minutes."""
    found = case.container()
    probe = (found[1].get("startupProbe") or {}) if found else {}
    period = int(probe.get("periodSeconds") or 10)
    now, wanted = int(probe.get("failureThreshold") or 3), -(-LONGEST_START // period)
    command = case.patch_container("startupProbe/failureThreshold", wanted) if probe and wanted > now else None
    if command is None:
        return log(case)
    return Next(command, f"gives it {wanted * period} s to start instead of {now * period} s, if that is all it needs")


def _of_own_runtime(case: Case, field: str, value: Any, does: str) -> Next | None:
    command = case.patch_container(field, value)
    return Next(command, f"{does} of the ServingRuntime; see `{case.ours('logs')}`") if command else None


def log(case: Case) -> Next | None:
    return Next(f"{case.ours('logs')} --previous", "shows the end of its log") if case.pod else None


def more_host_memory(case: Case) -> Next | None:
    """Twice as much as the engine has, if it was the engine that was killed: the spec says nothing of the others."""
    killed = re.search(r"Container ([\w.-]+) was killed", case.message)
    limits = _limits_of_engine(case)
    if (killed and killed[1] != ENGINE) or not limits:
        return None
    most = max(limits, key=amount)
    more = quantity(2 * int(amount(most)))
    spec = {"pod": {"resources": {"requests": {"memory": more}, "limits": {"memory": more}}}}
    return Next(case.patch(spec), f"gives it {more} of memory instead of {most}", fixes=True)


def _limits_of_engine(case: Case) -> list[str]:
    """By the spec, and by the pod as it is."""
    containers: list[Mapping[str, Any]] = ((case.pod or {}).get("spec") or {}).get("containers") or []
    places = [case.part("pod"), *(each for each in containers if each.get("name") == ENGINE)]
    found = [((each.get("resources") or {}).get("limits") or {}).get("memory") for each in places]
    return [str(each) for each in found if each]


def less_gpu_memory(case: Case) -> Next:
    """Half of the requests at a time that were planned."""
    planned = (case.world.status.get("plan") or {}).get("maxConcurrency")
    at_once = case.part("engine").get("maxConcurrency") or planned
    if not isinstance(at_once, int) or at_once < 2:
        return case.planned()
    half = at_once // 2
    return Next(case.patch({"engine": {"maxConcurrency": half}}), f"halves the requests at a time, to {half}")
