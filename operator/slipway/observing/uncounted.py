"""Objectives of `spec.slo` that a model's pods can't count, because their histograms lack the boundary. Pure.

An upgrade of Slipway keeps the pods that run, perhaps for weeks, and the histograms of an older version may have other
boundaries. What such pods answer is counted nowhere. So the status says it, and the objective isn't exposed: the rest
of the replicas alone would say something else than the objective means.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from slipway.api.names import SYNC_ANNOTATION
from slipway.contract.buckets import Boundaries
from slipway.objects.kinds import Object
from slipway.objects.times import parse_time
from slipway.observing.objectives import FIELDS
from slipway.observing.usage import RunningPod

ANOTHER_IMAGE = (
    "Its image is of another version of Slipway, or spec.engine.extraArgs has --custom-histogram-buckets: change "
    "that, or choose targets that are among its boundaries."
)


def with_uncounted(
    status: Object, before: Object | None, pods: Sequence[RunningPod], known: Mapping[str, Boundaries]
) -> Object:
    """`before`: the status as it was; `known`: the boundaries of the pods that have been read, by uid."""
    slo = status.get("slo")
    if not slo:
        return status
    found = _uncounted(slo.get("boundaries") or {}, pods, known, why_pods_differ(status, ANOTHER_IMAGE))
    if found is None:
        found = _still(((before or {}).get("slo") or {}).get("uncounted"), pods, known)
    return {**status, "slo": {**slo, **({"uncounted": found} if found else {})}}


def why_pods_differ(status: Object, otherwise: str, *, made: str = "it") -> str:
    """Why pods don't report what those of this version do. Where no update is available, no older version made them,
    and it is `otherwise`."""
    if not status.get("update"):
        return otherwise
    return (
        f"An older version of Slipway made {made}. Restart the model when convenient, by a new value of the annotation "
        f"{SYNC_ANNOTATION}."
    )


def fields_uncounted(status: Object) -> frozenset[str]:
    """The fields of `spec.slo` of which that is so, as the status has them."""
    found = (status.get("slo") or {}).get("uncounted") or {}
    return frozenset(each for each in found.get("objectives") or [] if isinstance(each, str))


def _uncounted(
    wanted: Mapping[str, str], pods: Iterable[RunningPod], known: Mapping[str, Boundaries], why: str
) -> Object | None:
    """`wanted`: the boundary of each objective."""
    missing = {pod: _missing(wanted, known[pod.uid]) for pod in pods if pod.uid in known}
    without = sorted((pod for pod in missing if missing[pod]), key=lambda pod: pod.started_at)
    if not without:
        return None
    objectives = [field for field in wanted if any(field in missing[pod] for pod in without)]
    first, more = without[0], len(without) - 1
    since = parse_time(first.started_at)
    which = f"pod {first.name}" + (f" and {more} more have" if more else " has")
    message = (
        f"{', '.join(objectives)}: not counted{f' since {since:%Y-%m-%d %H:%M:%S} UTC' if since else ''}, because "
        f"{which} histograms without the boundary {', '.join(wanted[each] for each in objectives)}. "
        f"{why}"
    )
    return {"objectives": objectives, "pod": first.name, "message": message}


def _missing(wanted: Mapping[str, str], boundaries: Boundaries) -> list[str]:
    names = {field: name for name, field in FIELDS.items()}
    return [field for field, boundary in wanted.items() if float(boundary) not in boundaries.get(names[field], ())]


def _still(before: Object | None, pods: Iterable[RunningPod], known: Mapping[str, Boundaries]) -> Object | None:
    """What an earlier leader has found, until its pod is read again."""
    unread = {pod.name for pod in pods if pod.uid not in known}
    return before if before and before.get("pod") in unread else None
