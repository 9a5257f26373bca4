"""What the cluster shows, by the operator's own rules: the same cause that the operator would report. Pure."""

from __future__ import annotations

from slipway.objects.kinds import (
    CORE_EVENT,
    DEPLOYMENT,
    HORIZONTAL_POD_AUTOSCALER,
    INFERENCE_SERVICE,
    POD,
    REPLICA_SET,
    SCALED_OBJECT,
    SERVICE,
)
from slipway.observing.cause import Cause
from slipway.observing.causes import main_cause
from slipway.observing.snapshot import Snapshot

from slipway_cli.cluster.world import World, owner_of


def observed_cause(world: World) -> Cause | None:
    return main_cause(snapshot_of(world))


def snapshot_of(world: World) -> Snapshot:
    """What couldn't be read is left out, so that nothing is concluded from it."""
    absent = {kind for kind, word in world.unreadable.items() if word == "NoKind"}
    return Snapshot(
        now=world.now,
        llm_deployment=world.llm,
        inference_service=world.one(INFERENCE_SERVICE),
        deployments=world.of(DEPLOYMENT),
        replica_sets=world.of(REPLICA_SET),
        pods=tuple(each for each in world.of(POD) if owner_of(each) == world.name),
        events=world.of(CORE_EVENT),
        service=world.one(SERVICE),
        scaled_object=world.one(SCALED_OBJECT),
        autoscaler=next(iter(world.of(HORIZONTAL_POD_AUTOSCALER)), None),
        kinds=frozenset({INFERENCE_SERVICE, SCALED_OBJECT} - absent),
    )
