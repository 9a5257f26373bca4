"""How a new version takes the place of the old one.

`Auto` tries: the new replica is to start beside the old one, and the scheduler, who alone knows all that counts, says
whether there is room. Where it finds none, the old one goes first, and requests are held until the new one is ready;
of several, one goes at a time, and the others serve on. What was learnt holds until this rollout is over.
"""

from __future__ import annotations

from collections.abc import Iterator

from slipway.api.llmdeployment import LLMDeploymentSpec
from slipway.operator.rendering.desired import Object, World

ONE_MORE: Object = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
ONE_LESS: Object = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}
RECREATE: Object = {"type": "Recreate"}


def deployment_strategy(spec: LLMDeploymentSpec, world: World) -> Object:
    """It is no part of the pods' template, so that changing it restarts nothing."""
    if spec.rollout.strategy == "Recreate":
        return RECREATE
    if spec.rollout.strategy == "Auto" and _makes_room(world):
        return RECREATE if spec.scaling.max_replicas == 1 else ONE_LESS
    return ONE_MORE


def told_of_rollout(spec: LLMDeploymentSpec, world: World) -> Iterator[str]:
    if spec.rollout.strategy != "Auto":
        return
    if _makes_room(world):
        others = "requests are held meanwhile" if spec.scaling.max_replicas == 1 else "the others serve on"
        yield f"rollout.strategy: there is no room for one replica more, so an old one goes first; {others}."
    elif world.is_updating:
        yield "rollout.strategy: the new replica starts beside the old one."


def _makes_room(world: World) -> bool:
    return world.lacks_room or (world.has_missing and _made_room(world.inference_service))


def _made_room(inference_service: Object | None) -> bool:
    """In this rollout, up to now."""
    live = ((inference_service or {}).get("spec", {}).get("predictor") or {}).get("deploymentStrategy") or {}
    return live.get("type") == "Recreate" or (live.get("rollingUpdate") or {}).get("maxSurge") == 0
