"""What each command may have to do in a cluster, and what it lacks without it; docs/cli.md has it as a table, the chart
as ClusterRoles. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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
    SECRET,
    SERVICE,
    SERVING_RUNTIME,
    STORAGE_CLASS,
    Kind,
)

CHANGING = ("wake", "sleep", "pause", "resume", "restart")
ASKING = ("chat", "complete")
ALL = ("status", "why", "tree", "timeline", "events", "logs", "wait", "top", "diff", *CHANGING, *ASKING)
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
    it is granted for the whole cluster. `role`: the published one that has it; none reads Secrets."""

    verbs: tuple[str, ...]
    kinds: tuple[Kind, ...]
    commands: tuple[str, ...]
    without: str
    subresource: str = ""
    is_of_cluster: bool = False
    role: Literal["view", "edit", "none"] = "view"
    only: tuple[str, ...] = ()  # names of objects

    @property
    def resources(self) -> tuple[str, ...]:
        return tuple(f"{kind.plural}/{self.subresource}" if self.subresource else kind.plural for kind in self.kinds)


READ = ("get", "list")
PERMISSIONS = (
    Permission(READ, (LLM_DEPLOYMENT,), (*ALL, "support-bundle"), "nothing works; the archive has no models"),
    Permission(
        ("watch",),
        (LLM_DEPLOYMENT,),
        ("wait", "tree --watch", "restart --wait", *ASKING),
        "the model is listed each second instead",
    ),
    Permission(
        READ,
        (POD,),
        (*SHOWN, "logs", "top", "restart", "diff", "support-bundle"),
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
        ("watch",),
        (POD, CORE_EVENT, *PARTS_OF_A_MODEL),
        ("tree --watch", "restart --wait"),
        "they are listed each second instead",
    ),
    Permission(
        ("list",),
        (JOB, NETWORK_POLICY, PERSISTENT_VOLUME_CLAIM),
        ("support-bundle",),
        "the archive lacks them",
    ),
    Permission(
        ("list",),
        (SERVING_RUNTIME,),
        ("why", "diff", "support-bundle"),
        "the command of `why` doesn't correct one; `diff` plans without them",
    ),
    Permission(("list",), (LEASE, CONFIG_MAP), ("support-bundle",), "the archive lacks the leader and the ports"),
    Permission(
        ("list",),
        (ACCELERATOR_PROFILE,),
        ("accelerators", "diff", "doctor", "support-bundle"),
        "`accelerators` has no answer; `diff` plans without them",
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
        (CLUSTER_SERVING_RUNTIME,),
        ("diff", "doctor", "support-bundle"),
        "`diff` plans without them; that check is unknown",
        is_of_cluster=True,
    ),
    Permission(
        ("list",),
        (DEPLOYMENT, INFERENCE_SERVICE, SCALED_OBJECT, STORAGE_CLASS),
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
    Permission(
        ("list",),
        (NODE,),
        ("why", "support-bundle"),
        "the command of `why` doesn't name a taint; the archive has no nodes",
        is_of_cluster=True,
    ),
    Permission(
        ("list",), (NAMESPACE,), ("completion",), "the shell doesn't complete `--namespace`", is_of_cluster=True
    ),
    Permission(
        ("patch",),
        (LLM_DEPLOYMENT,),
        (*CHANGING, "diff", *ASKING),
        "they don't work; `chat` and `complete` wake nothing",
        role="edit",
    ),
    Permission(("create",), (LLM_DEPLOYMENT,), ("diff",), "a file with a new model has no answer", role="edit"),
    Permission(("create",), (SERVICE,), ASKING, "they don't work", subresource="proxy", role="edit"),
    Permission(
        ("get",),
        (POD,),
        ("top",),
        "requests, tokens, times and KV cache aren't seen; without it in Slipway's namespace, held requests aren't",
        subresource="proxy",
        role="edit",
    ),
    Permission(("get",), (SECRET,), ("chat --key-secret", "complete --key-secret"), "they don't work", role="none"),
)
