"""The one cause that explains a deployment best: of its pods, of the controllers that make them, or of the platform."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from slipway.api.reasons import Reason

from . import platform, scaler, words
from .cause import Cause, worst
from .pods import Pod, cause_of
from .references import in_words
from .world import INFERENCE_SERVICE, Object, Refusal, WorldView, condition, parse_time

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
RECONCILE_FAILED = "ReconcileFailed"
NAMESPACE_GOES = "because it is being terminated"


def cause_in(world: WorldView) -> Cause | None:
    """None: nothing is known to be wrong."""
    found = worst(
        [*_of_platform(world), *_of_lacks(world), *_of_kserve(world), *of_replica_makers(world), *_of_pods(world)]
    )
    return _with_missing_credentials(found, world) if found and found.reason == Reason.IMAGE_PULL_FAILED else found


def _of_platform(world: WorldView) -> Iterator[Cause]:
    if INFERENCE_SERVICE not in world.kinds:
        message = "The cluster has no InferenceServices; as soon as KServe is installed, this goes on"
        yield Cause(Reason.KSERVE_MISSING, message, final=Reason.KSERVE_MISSING.is_final)
    for thing in world.foreign:
        yield Cause(Reason.NAME_TAKEN, f"{_title(thing)} is there already and {_owner(thing)}", final=True)
    yield from platform.causes_in(world)
    yield from scaler.causes_in(world)
    yield from map(_of_refusal, world.refusals)


def _of_lacks(world: WorldView) -> Iterator[Cause]:
    for lack in world.lacks:
        if lack.problem:
            yield Cause(Reason.VOLUME_NOT_READY, in_words(lack), final=lack.is_final)
        elif lack.is_needed:
            yield Cause(Reason.POD_CONFIG_ERROR, in_words(lack), final=True)


def _with_missing_credentials(cause: Cause, world: WorldView) -> Cause:
    """A registry that refuses an image doesn't say which credentials are missing; so we do."""
    told = (cause.message.rstrip("."), *(in_words(each) for each in world.lacks if not each.is_needed))
    return replace(cause, message="; ".join(told))


def _of_refusal(refusal: Refusal) -> Cause:
    said = words.explain(refusal.message.replace("\n", " "), REFUSALS)
    reason = said.reason if said else Reason.API_ERROR
    message = f"{refusal.kind} {refusal.name} was refused: {words.plain(refusal.message)}"
    return Cause(reason, message, final=reason.is_final)


def _of_kserve(world: WorldView) -> Iterator[Cause]:
    """What KServe itself reports. It is trusted about its own work, and never about pods."""
    service = world.inference_service or {}
    failure = service.get("status", {}).get("modelStatus", {}).get("lastFailureInfo") or {}
    if reason := KSERVE_FAILURES.get(failure.get("reason", "")):
        yield Cause(reason, words.shorten(failure.get("message", "") or reason.meaning), final=True)
    elif service and not world.deployments:
        yield from _of_conditions(service)


def _of_conditions(service: Object) -> Iterator[Cause]:
    """KServe's reconcile failed before there was a Deployment: a webhook, a policy or the API server refused it."""
    for kind in ("PredictorReady", "Ready"):
        found = condition(service, kind) or {}
        if found.get("reason") == RECONCILE_FAILED and found.get("message") and NAMESPACE_GOES not in found["message"]:
            said = words.explain(found["message"], REFUSALS)
            reason = said.reason if said else Reason.ADMISSION_DENIED
            since = parse_time(found.get("lastTransitionTime"))
            yield Cause(reason, f"KServe: {words.plain(found['message'])}", since, reason.is_final)
            return


def of_replica_makers(world: WorldView) -> Iterator[Cause]:
    """Pods that can't be created: a quota, a policy or a webhook refuses them."""
    for maker in (*world.deployments, *world.replica_sets):
        failure = condition(maker, "ReplicaFailure") or {}
        if failure.get("status") == "True":
            said = words.explain(failure.get("message", ""), REFUSALS)
            reason = said.reason if said else Reason.API_ERROR
            since = parse_time(failure.get("lastTransitionTime"))
            yield Cause(
                reason, f"A pod can't be created: {words.plain(failure.get('message', ''))}", since, reason.is_final
            )
            return


def _of_pods(world: WorldView) -> Iterator[Cause]:
    """A pod that Kubernetes keeps after its end explains something only while a replica is missing."""
    pods = [Pod(raw, world) for raw in world.pods]
    whole = any(pod.is_ready for pod in pods) and not any(pod.is_on_its_way for pod in pods)
    for pod in pods:
        if not (pod.is_left_behind and whole) and (cause := cause_of(pod.raw, world)):
            yield cause


def _title(thing: Object) -> str:
    return f"{thing.get('kind', 'Object')} {thing['metadata']['name']}"


def _owner(thing: Object) -> str:
    owners = thing["metadata"].get("ownerReferences") or []
    label = thing["metadata"].get("labels", {}).get("app.kubernetes.io/managed-by")
    if owners:
        return f"belongs to {owners[0]['kind']} {owners[0]['name']}"
    return f"is managed by {label}" if label else "isn't ours; delete it, or give this deployment another name"
