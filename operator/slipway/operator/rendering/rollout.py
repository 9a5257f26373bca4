"""How a new version replaces the old one.

`Auto` tries: the new replica starts next to the old one, and the scheduler, which alone knows the free capacity, shows
whether there is room. Where there is none, an old replica is stopped first. With one replica, requests are held until
the new one is ready; of several replicas, one is replaced at a time, and the others continue to serve. The result
holds until this rollout is over.
"""

from __future__ import annotations

from collections.abc import Iterator

from slipway.api.llmdeployment import LLMDeploymentSpec
from slipway.objects.kinds import Object
from slipway.observing.rollout import has_missing, has_stuck_pod, is_updating, lacks_room
from slipway.observing.snapshot import Snapshot

ONE_MORE: Object = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
ONE_LESS: Object = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}
RECREATE: Object = {"type": "Recreate"}


def deployment_strategy(spec: LLMDeploymentSpec, snapshot: Snapshot) -> Object:
    """Not a part of the pod template, so that changing it restarts nothing."""
    if spec.rollout.strategy == "Recreate":
        return stopping_first(snapshot)
    if spec.rollout.strategy == "Auto" and _makes_room(snapshot):
        return stopping_first(snapshot) if spec.scaling.max_replicas == 1 else ONE_LESS
    return ONE_MORE


def stopping_first(snapshot: Snapshot) -> Object:
    """The old pods end before new ones are made; but Kubernetes would wait for a pod on a lost node, too, for ever."""
    return ONE_LESS if has_stuck_pod(snapshot) else RECREATE


def remarks_on_rollout(spec: LLMDeploymentSpec, snapshot: Snapshot) -> Iterator[str]:
    if spec.rollout.strategy != "Auto":
        return
    if _makes_room(snapshot):
        others = "requests are held meanwhile" if spec.scaling.max_replicas == 1 else "the others continue to serve"
        yield f"rollout.strategy: there is no room for one more replica, so an old one is stopped first; {others}."
    elif is_updating(snapshot):
        yield "rollout.strategy: the new replica starts next to the old one."


def _makes_room(snapshot: Snapshot) -> bool:
    return lacks_room(snapshot) or (has_missing(snapshot) and _made_room(snapshot.inference_service))


def _made_room(inference_service: Object | None) -> bool:
    """Whether this rollout has already stopped an old replica first."""
    live = ((inference_service or {}).get("spec", {}).get("predictor") or {}).get("deploymentStrategy") or {}
    return live.get("type") == "Recreate" or (live.get("rollingUpdate") or {}).get("maxSurge") == 0
