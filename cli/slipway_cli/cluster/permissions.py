"""What each command may have to do in a cluster, and what it lacks without it; docs/cli.md has it as a table, the chart
as ClusterRoles. Pure."""

from __future__ import annotations

from dataclasses import dataclass

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
    NAMESPACE,
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
)

ALL = ("status", "why", "tree", "timeline", "events", "logs", "wait", "wake", "sleep", "pause", "resume")
SHOWN = ("status", "why", "tree", "events")
PARTS_OF_A_MODEL = (
    SERVICE,
    ENDPOINT_SLICE,
    DEPLOYMENT,
    REPLICA_SET,
    HORIZONTAL_POD_AUTOSCALER,
    INFERENCE_SERVICE,
    SCALED_OBJECT,
)


@dataclass(frozen=True)
class Permission:
    """`commands`: that make such requests, and `without`: what those lack without it. `is_of_cluster`: it helps only if
    it is granted for the whole cluster. `is_acting`: it changes something, and isn't in the role for reading."""

    verbs: tuple[str, ...]
    kinds: tuple[Kind, ...]
    commands: tuple[str, ...]
    without: str
    subresource: str = ""
    is_of_cluster: bool = False
    is_acting: bool = False
    only: tuple[str, ...] = ()  # names of objects

    @property
    def resources(self) -> tuple[str, ...]:
        return tuple(f"{kind.plural}/{self.subresource}" if self.subresource else kind.plural for kind in self.kinds)


READ = ("get", "list")
PERMISSIONS = (
    Permission(READ, (LLM_DEPLOYMENT,), (*ALL, "support-bundle"), "nothing works; the archive has no models"),
    Permission(("watch",), (LLM_DEPLOYMENT,), ("wait", "tree --watch"), "the model is listed each second instead"),
    Permission(
        READ,
        (POD,),
        (*SHOWN, "logs", "support-bundle"),
        "why a replica doesn't start isn't seen; there are no logs",
    ),
    Permission(("get",), (POD,), ("why", "logs", "support-bundle"), "no line of a log is seen", subresource="log"),
    Permission(
        ("list",),
        (CORE_EVENT,),
        (*SHOWN, "support-bundle"),
        "what the scheduler and the nodes report isn't seen; `events` has no answer",
    ),
    Permission(
        ("list",),
        PARTS_OF_A_MODEL,
        (*SHOWN, "support-bundle"),
        "the address, and what KServe, KEDA and the controllers of pods report, isn't seen",
    ),
    Permission(
        ("watch",), (POD, CORE_EVENT, *PARTS_OF_A_MODEL), ("tree --watch",), "they are listed each second instead"
    ),
    Permission(
        ("list",),
        (JOB, NETWORK_POLICY, PERSISTENT_VOLUME_CLAIM, SERVING_RUNTIME),
        ("support-bundle",),
        "the archive lacks them",
    ),
    Permission(("list",), (LEASE, CONFIG_MAP), ("support-bundle",), "the archive lacks the leader and the ports"),
    Permission(
        ("list",),
        (ACCELERATOR_PROFILE,),
        ("accelerators", "doctor", "support-bundle"),
        "`accelerators` has no answer",
        is_of_cluster=True,
    ),
    Permission(
        ("list",),
        (LLM_DEPLOYMENT,),
        ("status --all-namespaces", "accelerators", "doctor"),
        "`accelerators` knows holders of your namespace only",
        is_of_cluster=True,
    ),
    Permission(
        ("list",),
        (DEPLOYMENT, INFERENCE_SERVICE, SCALED_OBJECT, CLUSTER_SERVING_RUNTIME, STORAGE_CLASS),
        ("doctor", "support-bundle"),
        "those checks are unknown; the archive looks for programs in slipway-system, kserve and keda",
        is_of_cluster=True,
    ),
    Permission(
        ("list",),
        (CONFIG_MAP,),
        ("doctor", "support-bundle"),
        "KServe's default mode is unknown",
        is_of_cluster=True,
        only=("inferenceservice-config",),
    ),
    Permission(("list",), (NODE,), ("support-bundle",), "the archive has no nodes", is_of_cluster=True),
    Permission(
        ("list",), (NAMESPACE,), ("completion",), "the shell doesn't complete `--namespace`", is_of_cluster=True
    ),
    Permission(
        ("patch",),
        (LLM_DEPLOYMENT,),
        ("wake", "sleep", "pause", "resume"),
        "they don't work",
        is_acting=True,
    ),
)
