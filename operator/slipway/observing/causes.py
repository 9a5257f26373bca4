"""The one cause that explains an LLMDeployment best: of its pods, their controllers, or the platform."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from slipway.api.reasons import Reason
from slipway.objects.conditions import condition
from slipway.objects.kinds import INFERENCE_SERVICE, Object
from slipway.objects.times import parse_time
from slipway.observing import platform, scaler, words
from slipway.observing.cause import Cause, worst
from slipway.observing.pods import Pod, cause_of_pod
from slipway.observing.references import in_words
from slipway.observing.snapshot import RefusedWrite, Snapshot
from slipway.observing.versions import OF_NODES, is_awaited, is_outdated

REFUSALS = words.table(
    (
        r"cannot find RESTMapping",
        Reason.API_ERROR,
    ),  # an API server that has just started
    (r"exceeded quota", Reason.QUOTA_EXCEEDED),
    (
        r"admission webhook .* denied|ValidatingAdmissionPolicy|is forbidden: (?:maximum|minimum|violates)",
        Reason.ADMISSION_DENIED,
    ),
    (r"cannot (?:create|patch|update|delete|get|list) resource", Reason.PERMISSION_DENIED),
    (r"no matches for kind|could not find the requested resource", Reason.KSERVE_MISSING),
    (r"failed calling webhook (?:\"[^\"]*kserve|.*https://kserve-webhook)", Reason.KSERVE_DOWN),
    (r"failed calling webhook (?:\"[^\"]*keda|\"vs\w+\.kb\.io|.*https://keda-admission)", Reason.KEDA_DOWN),
    (r"failed calling webhook|timeout|connection refused|too many requests|etcdserver", Reason.API_ERROR),
    (r"is forbidden", Reason.ADMISSION_DENIED),
    (r"is invalid|Invalid value|strict decoding error", Reason.INVALID_SPEC),
)
KSERVE_FAILURES = {
    "RuntimeNotRecognized": Reason.RUNTIME_MISSING,
    "NoSupportingRuntime": Reason.RUNTIME_MISSING,
    "RuntimeUnhealthy": Reason.RUNTIME_MISSING,
    "RuntimeDisabled": Reason.RUNTIME_MISSING,
    "InvalidPredictorSpec": Reason.INVALID_SPEC,
    "InvalidGPUAllocation": Reason.INVALID_SPEC,
}
NO_ROOM = (Reason.UNSCHEDULABLE, Reason.QUOTA_EXCEEDED)
RECONCILE_FAILED = "ReconcileFailed"
NAMESPACE_GOES = "because it is being terminated"


def main_cause(snapshot: Snapshot) -> Cause | None:
    """The most urgent cause; None: nothing is known to be wrong."""
    causes = [*_of_platform(snapshot), *_of_unmet(snapshot), *_of_pods(snapshot)]
    if not is_awaited(snapshot):
        causes += [*_of_kserve(snapshot), *of_replica_makers(snapshot)]
    found = worst(causes)
    if found and found.reason == Reason.IMAGE_PULL_FAILED:
        return _with_missing_credentials(found, snapshot)
    return _with_older_pods(found, snapshot) if found and found.reason in NO_ROOM else found


def _of_platform(snapshot: Snapshot) -> Iterator[Cause]:
    if INFERENCE_SERVICE not in snapshot.kinds:
        message = "The cluster has no InferenceServices; install KServe, and this continues"
        yield Cause(Reason.KSERVE_MISSING, message, final=Reason.KSERVE_MISSING.is_final)
    for raw in snapshot.foreign:
        yield Cause(Reason.NAME_TAKEN, f"{_title(raw)} exists already and {_owner(raw)}", final=True)
    yield from platform.causes_in(snapshot)
    yield from scaler.causes_in(snapshot)
    yield from map(_of_refusal, snapshot.refusals)


def _of_unmet(snapshot: Snapshot) -> Iterator[Cause]:
    for unmet in snapshot.unmet:
        if unmet.problem:
            yield Cause(Reason.VOLUME_NOT_READY, in_words(unmet), final=unmet.is_final)
        elif unmet.is_needed:
            yield Cause(Reason.POD_CONFIG_ERROR, in_words(unmet), final=True)


def _with_missing_credentials(cause: Cause, snapshot: Snapshot) -> Cause:
    """A registry that refuses an image doesn't name the credentials that are missing."""
    parts = (cause.message.rstrip("."), *(in_words(each) for each in snapshot.unmet if not each.is_needed))
    return replace(cause, message="; ".join(parts))


def _of_refusal(refusal: RefusedWrite) -> Cause:
    said = words.explain(refusal.message.replace("\n", " "), REFUSALS)
    reason = said.reason if said else Reason.API_ERROR
    message = f"{refusal.kind} {refusal.name} was refused: {words.unwrapped(refusal.message)}"
    return Cause(reason, message, final=reason.is_final)


def _of_kserve(snapshot: Snapshot) -> Iterator[Cause]:
    """What KServe reports. It is trusted about its own work, and never about pods."""
    service = snapshot.inference_service or {}
    failure = service.get("status", {}).get("modelStatus", {}).get("lastFailureInfo") or {}
    if reason := KSERVE_FAILURES.get(failure.get("reason", "")):
        yield Cause(reason, words.shorten(failure.get("message", "") or reason.meaning), final=True)
    elif service and not snapshot.deployments:
        yield from _of_conditions(service)


def _of_conditions(service: Object) -> Iterator[Cause]:
    """KServe's reconcile failed before it created a Deployment: a webhook, a policy or the API server refused."""
    for kind in ("PredictorReady", "Ready"):
        found = condition(service, kind) or {}
        if found.get("reason") == RECONCILE_FAILED and found.get("message") and NAMESPACE_GOES not in found["message"]:
            said = words.explain(found["message"], REFUSALS)
            reason = said.reason if said else Reason.ADMISSION_DENIED
            since = parse_time(found.get("lastTransitionTime"))
            yield Cause(reason, f"KServe: {words.unwrapped(found['message'])}", since, reason.is_final)
            return


def of_replica_makers(snapshot: Snapshot) -> Iterator[Cause]:
    """Pods that could not even be created: a quota, a policy or a webhook refuses them."""
    for maker in (*snapshot.deployments, *snapshot.replica_sets):
        failure = condition(maker, "ReplicaFailure") or {}
        if failure.get("status") == "True":
            said = words.explain(failure.get("message", ""), REFUSALS)
            reason = said.reason if said else Reason.API_ERROR
            since = parse_time(failure.get("lastTransitionTime"))
            yield Cause(
                reason, f"A pod can't be created: {words.unwrapped(failure.get('message', ''))}", since, reason.is_final
            )
            return


def _of_pods(snapshot: Snapshot) -> Iterator[Cause]:
    """A pod that has ended and was not deleted is a cause only while a replica is missing. One of an older version is
    about to be replaced, so only what its node did to it counts."""
    awaits = is_awaited(snapshot)
    for raw, cause in _seen_in_pods(snapshot):
        if cause.reason in OF_NODES or not (awaits or is_outdated(raw, snapshot)):
            yield cause


def _seen_in_pods(snapshot: Snapshot) -> Iterator[tuple[Object, Cause]]:
    pods = [Pod(raw, snapshot) for raw in snapshot.pods]
    whole = any(pod.is_ready for pod in pods) and not any(pod.is_on_its_way for pod in pods)
    for pod in pods:
        cause = None if pod.is_left_behind and whole else cause_of_pod(pod.raw, snapshot)
        if cause:
            yield pod.raw, cause


def _with_older_pods(cause: Cause, snapshot: Snapshot) -> Cause:
    """While the new version finds no place, nothing replaces the pods of the older one, so it matters how they are."""
    found = worst(older for raw, older in _seen_in_pods(snapshot) if is_outdated(raw, snapshot))
    if found is None or is_awaited(snapshot):
        return cause
    older = f"pod {found.pod} of the version before doesn't serve either: {found.reason}: {found.message}"
    return replace(cause, message=f"{cause.message.rstrip('.')}; {older}")


def _title(raw: Object) -> str:
    return f"{raw.get('kind', 'Object')} {raw['metadata']['name']}"


def _owner(raw: Object) -> str:
    owners = raw["metadata"].get("ownerReferences") or []
    label = raw["metadata"].get("labels", {}).get("app.kubernetes.io/managed-by")
    if owners:
        return f"belongs to {owners[0]['kind']} {owners[0]['name']}"
    return f"is managed by {label}" if label else "isn't ours; delete it, or give this deployment another name"
