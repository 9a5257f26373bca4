"""How the pods of a model are replaced, and what happens to requests meanwhile: by its spec, in sentences. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from slipway.api.names import RESTART_ANNOTATION
from slipway.api.rollout import RolloutSpec
from slipway.api.scaling import HoldSpec, ScalingSpec
from slipway.objects.kinds import Object
from slipway.objects.times import parse_time

from slipway_cli.cluster.state import State, is_ready
from slipway_cli.cluster.timeline import phases_in, total_of


def replacing(llm: Object, status: Mapping[str, Any]) -> Iterator[str]:
    """What a rollout does by the spec of `llm`, which may differ from the one that the status is of."""
    spec = llm.get("spec") or {}
    rollout, scaling = spec.get("rollout") or {}, spec.get("scaling") or {}
    most = scaling.get("maxReplicas", ScalingSpec().max_replicas)
    strategy = str(rollout.get("strategy") or RolloutSpec().strategy)
    held = f"Requests that arrive while no replica is ready are held: {_hold(scaling.get('hold') or {})}."
    if strategy == "Recreate":
        yield f"All replicas stop first, then new ones start (spec.rollout.strategy: Recreate). {held}"
    elif strategy in ("Surge", "Canary"):
        yield (
            f"One by one: a new replica starts next to the old one, which stops once the new one is ready "
            f"(spec.rollout.strategy: {strategy}). It waits for a free accelerator as long as there is none. Nothing "
            "is held."
        )
    elif most == 1:
        yield (
            "The new replica starts next to the old one if there is room, and nothing is held; if there is none, the "
            f"old one stops first (spec.rollout.strategy: Auto). {held}"
        )
    else:
        yield (
            "One by one: a new replica starts next to an old one if there is room; if there is none, one old replica "
            "stops first, and the others continue to serve (spec.rollout.strategy: Auto). Where there is one replica "
            f"only: {held[0].lower()}{held[1:]}"
        )
    drain = rollout.get("drainTimeout") or RolloutSpec().drain_timeout
    yield f"An old replica has {drain} to finish its requests (spec.rollout.drainTimeout)."
    if phases := phases_in(status.get("lastColdStart") or {}):
        yield f"The last start from zero took {total_of(phases):.1f} s (status.lastColdStart)."


def _hold(hold: Mapping[str, Any]) -> str:
    defaults = HoldSpec()
    count = hold.get("maxRequests", defaults.max_requests)
    timeout = hold.get("timeout") or defaults.timeout
    long = "for at least 5 minutes (spec.scaling.hold, timeout: Auto)"
    return f"up to {count}, each {long if timeout == 'Auto' else f'for {timeout} (spec.scaling.hold)'}"


def time_of_restart(pod: Object) -> str:
    return str((pod["metadata"].get("annotations") or {}).get(RESTART_ANNOTATION) or "")


def is_restarted(state: State, pods: tuple[Object, ...], at: str) -> bool:
    """Whether only pods of this restart, or of a later one, are left, and as many of them are ready as are wanted."""
    left = _left(pods)
    ready = [each for each in left if is_ready(each)]
    return all(_is_of(each, at) for each in left) and len(ready) >= max(1, state.desired)


def is_at_zero(state: State, pods: tuple[Object, ...]) -> bool:
    """Whether it went to sleep meanwhile, so that its next start makes new pods."""
    return state.is_current and state.word == "Idle" and state.desired == 0 and not _left(pods)


def _left(pods: tuple[Object, ...]) -> list[Object]:
    """Without pods that stop, and those that are over, as evicted ones, which stay until someone deletes them."""
    return [
        each
        for each in pods
        if not each["metadata"].get("deletionTimestamp")
        and (each.get("status") or {}).get("phase") not in ("Succeeded", "Failed")
    ]


def _is_of(pod: Object, at: str) -> bool:
    time, wanted = parse_time(time_of_restart(pod)), parse_time(at)
    return time is not None and wanted is not None and time >= wanted
