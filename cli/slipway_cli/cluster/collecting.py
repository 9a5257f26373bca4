"""Reads what a support bundle contains. Secrets are never read; what the user may not read becomes a gap."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import quote

from slipway.api.names import OWNER_LABEL, PORT_TABLE_LABEL
from slipway.objects.kinds import (
    ACCELERATOR_PROFILE,
    CLUSTER_SERVING_RUNTIME,
    CONFIG_MAP,
    CORE_EVENT,
    DEPLOYMENT,
    ENDPOINT_SLICE,
    HORIZONTAL_POD_AUTOSCALER,
    INFERENCE_SERVICE,
    JOB,
    LEASE,
    LLM_DEPLOYMENT,
    NETWORK_POLICY,
    NODE,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    REPLICA_SET,
    SCALED_OBJECT,
    SERVICE,
    SERVING_RUNTIME,
    STORAGE_CLASS,
    Kind,
    Object,
)

from slipway_cli.cluster.bundle import Bundle, installation_of, parts_of, trimmed_node
from slipway_cli.cluster.checking import Facts, checks_of
from slipway_cli.cluster.checkup import read_facts
from slipway_cli.cluster.kubectl import ApiError, Kubectl
from slipway_cli.cluster.programs import USUAL_NAMESPACES
from slipway_cli.cluster.reading import AT_ONCE, read_lists
from slipway_cli.cluster.state import is_ready
from slipway_cli.cluster.world import logged_containers, time_of

MOST = 500  # objects of a kind
MOST_EVENTS = 2000  # of which those about other objects are left out
MOST_PODS = 60  # whose logs are read
MOST_LINES = 2000  # of a log
MOST_BYTES = 2 << 20  # of a log
OWNED = (
    POD,
    DEPLOYMENT,
    REPLICA_SET,
    SERVICE,
    ENDPOINT_SLICE,
    HORIZONTAL_POD_AUTOSCALER,
    INFERENCE_SERVICE,
    SCALED_OBJECT,
    JOB,
    NETWORK_POLICY,
    PERSISTENT_VOLUME_CLAIM,
)
"""Kinds of which the objects of models are read, by their label."""


@dataclass(frozen=True)
class Scope:
    """`namespace`: of models; None: all. `seconds`: how old lines of logs may be."""

    namespace: str | None
    seconds: float


class NothingReadError(ApiError):
    """Not one object could be read."""


def collect(kubectl: Kubectl, scope: Scope) -> Bundle:
    bundle = Bundle()
    facts = read_facts(kubectl)
    checks = [{"check": c.name, "mark": c.mark, "says": c.says, "remedy": c.remedy} for c in checks_of(facts)]
    bundle.add_document(("doctor.json",), {"versions": dict(facts.versions), "checks": checks})
    _add_cluster(bundle, kubectl, facts)
    pods = [*_add_parts(bundle, kubectl, facts), *_add_models(bundle, kubectl, scope)]
    if len(bundle.files) == 1:
        raise NothingReadError("Forbidden", "You may read nothing of this: ask for the role view there.")
    _add_logs(bundle, kubectl, pods, scope)
    return bundle


# --- the cluster, and the programs -----------------------------------------------------------------------------------


def _add_cluster(bundle: Bundle, kubectl: Kubectl, facts: Facts) -> None:
    nodes = _read(bundle, kubectl, {NODE: NODE.path()}, "")
    bundle.add_objects(("cluster", "nodes.json"), [trimmed_node(each) for each in nodes.get(NODE, ())])
    for kind in (ACCELERATOR_PROFILE, CLUSTER_SERVING_RUNTIME, STORAGE_CLASS, CONFIG_MAP):
        bundle.add_objects(("cluster", f"{kind.plural}.json"), list(facts.objects.get(kind, ())))
        if facts.unreadable.get(kind, "NoKind") != "NoKind":
            bundle.lacks(f"{kind.plural} can't be read ({facts.unreadable[kind]}).")


def _add_parts(bundle: Bundle, kubectl: Kubectl, facts: Facts) -> Iterator[tuple[str, Object]]:
    """Yields the pods of the programs, with where they are in the bundle."""
    parts = parts_of(_deployments(bundle, kubectl, facts))
    bundle.add_objects(("installation.json",), installation_of(parts))
    for namespace in sorted({str(each["metadata"]["namespace"]) for each in parts}):
        here = [each for each in parts if each["metadata"]["namespace"] == namespace]
        tables = f"{CONFIG_MAP.path(namespace)}?labelSelector={quote(PORT_TABLE_LABEL)}"
        wanted = {CORE_EVENT: CORE_EVENT.path(namespace), LEASE: LEASE.path(namespace), CONFIG_MAP: tables}
        found = _read(bundle, kubectl, wanted, namespace)
        pods = tuple(pod for each in here for pod in _pods_of(bundle, kubectl, each))
        _add_kinds(bundle, ("programs", namespace), found)
        _add_kinds(bundle, ("programs", namespace), {DEPLOYMENT: tuple(here), POD: pods})
        yield from (("programs", pod) for pod in pods)


def _deployments(bundle: Bundle, kubectl: Kubectl, facts: Facts) -> Sequence[Object]:
    if DEPLOYMENT in facts.objects:
        return facts.objects[DEPLOYMENT]
    found: list[Object] = []
    for namespace in USUAL_NAMESPACES:  # for users who may not list all Deployments
        found += _read(bundle, kubectl, {DEPLOYMENT: DEPLOYMENT.path(namespace)}, namespace).get(DEPLOYMENT, ())
    return found


def _pods_of(bundle: Bundle, kubectl: Kubectl, deployment: Object) -> Sequence[Object]:
    labels = ((deployment.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
    selector = quote(",".join(f"{name}={value}" for name, value in sorted(labels.items())), safe="")
    namespace = str(deployment["metadata"]["namespace"])
    path = f"{POD.path(namespace)}?labelSelector={selector}"
    return _read(bundle, kubectl, {POD: path}, namespace).get(POD, ()) if labels else ()


# --- models ----------------------------------------------------------------------------------------------------------


def _add_models(bundle: Bundle, kubectl: Kubectl, scope: Scope) -> list[tuple[str, Object]]:
    owned = {kind: f"{kind.path(scope.namespace)}?labelSelector={quote(OWNER_LABEL, safe='')}" for kind in OWNED}
    others = {kind: kind.path(scope.namespace) for kind in (LLM_DEPLOYMENT, SERVING_RUNTIME, CORE_EVENT)}
    found = _read(bundle, kubectl, {**others, **owned}, scope.namespace or "all namespaces")
    uids = {each["metadata"].get("uid") for kind, things in found.items() if kind is not CORE_EVENT for each in things}
    events = [each for each in found.get(CORE_EVENT, ()) if (each.get("involvedObject") or {}).get("uid") in uids]
    found = {**found, CORE_EVENT: tuple(sorted(events, key=time_of))}
    namespaces = {str(each["metadata"].get("namespace")) for each in found.get(LLM_DEPLOYMENT, found.get(POD, ()))}
    for namespace in sorted(namespaces):
        here = {
            kind: [each for each in things if each["metadata"].get("namespace") == namespace]
            for kind, things in found.items()
        }
        _add_kinds(bundle, ("models", namespace), here)
    return [("models", pod) for pod in found.get(POD, ())]


# --- logs ------------------------------------------------------------------------------------------------------------


def _add_logs(bundle: Bundle, kubectl: Kubectl, pods: Sequence[tuple[str, Object]], scope: Scope) -> None:
    """Of the programs first, then of pods that aren't well, and of the newest."""
    order = sorted(pods, key=lambda each: str(each[1]["metadata"].get("creationTimestamp")), reverse=True)
    order.sort(key=lambda each: (each[0] != "programs", is_ready(each[1])))
    if len(order) > MOST_PODS:
        bundle.lacks(f"The logs of {len(order) - MOST_PODS} of {len(order)} pods are left out.")
    wanted = [
        (section, pod["metadata"]["namespace"], pod["metadata"]["name"], container, previous)
        for section, pod in order[:MOST_PODS]
        for previous in (False, True)
        for container in logged_containers(pod, previous=previous)
    ]

    def read(each: tuple[str, str, str, str, bool]) -> tuple[str, int] | ApiError:
        _, namespace, pod, container, previous = each
        where = (f"--namespace={namespace}", f"--container={container}", *(("--previous",) if previous else ()))
        try:
            return _end_of_log(kubectl, "logs", pod, *where, f"--since={max(1.0, scope.seconds):.0f}s", "--timestamps")
        except ApiError as error:
            return error

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for each, found in zip(wanted, pool.map(read, wanted), strict=True):
            section, namespace, pod, container, previous = each
            if isinstance(found, ApiError):
                bundle.lacks(f"The log of {namespace}/{pod}/{container} can't be read ({found.word}).")
                continue
            text, lines = found
            name = f"{container}.previous.log" if previous else f"{container}.log"
            bundle.add_log((section, namespace, "logs", pod, name), text)
            if lines < MOST_LINES:
                bundle.lacks(f"Of the log of {namespace}/{pod}/{container}, {lines} lines were read: they are long.")


def _end_of_log(kubectl: Kubectl, *arguments: str) -> tuple[str, int]:
    """As many of the last lines as fit, and how many were asked for: `--limit-bytes` keeps the first of what
    `--tail` leaves, and the end has the crash."""
    lines = MOST_LINES
    while True:
        text = kubectl.run(*arguments, f"--tail={lines}", f"--limit-bytes={MOST_BYTES}")
        if len(text.encode()) < MOST_BYTES or lines == 1:
            return text, lines
        lines //= 2


# --- reading ---------------------------------------------------------------------------------------------------------


def _read(bundle: Bundle, kubectl: Kubectl, wanted: Mapping[Kind, str], where: str) -> dict[Kind, tuple[Object, ...]]:
    """What there is, the first of each kind; the rest is a gap."""
    most = {kind: MOST_EVENTS if kind is CORE_EVENT else MOST for kind in wanted}
    paths = {kind: f"{path}{'&' if '?' in path else '?'}limit={most[kind]}" for kind, path in wanted.items()}
    found, unreadable = read_lists(kubectl, paths)
    for kind, word in unreadable.items():
        if word != "NoKind":
            bundle.lacks(f"{kind.plural} {f'of {where} ' if where else ''}can't be read ({word}).")
    for kind, things in found.items():
        if len(things) >= most[kind]:
            bundle.lacks(f"Only {most[kind]} {kind.plural} {f'of {where} ' if where else ''}were read.")
    return found


def _add_kinds(bundle: Bundle, place: tuple[str, ...], found: Mapping[Kind, Sequence[Object]]) -> None:
    for kind, things in found.items():
        bundle.add_objects((*place, f"{kind.plural}.json"), list(things))
