"""The kinds of objects that Slipway reads or writes, and where the API server serves them.

A table instead of discovery: it costs no call, and a missing CRD shows in the answer to the first request for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

Object = dict[str, Any]
"""A Kubernetes object as JSON has it."""


class UnknownKindError(Exception):
    """A bug: the kind must be added to this table."""


@dataclass(frozen=True)
class Kind:
    group: str  # "" is the core group
    version: str
    name: str
    plural: str
    namespaced: bool = True

    def __hash__(self) -> int:
        """Cheap, because every lookup in a cache starts with a kind."""
        return hash(self.plural)

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def api_path(self) -> str:
        """The path at which the API server lists the resources of the group and version."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """Without a name, all objects of the namespace; without a namespace too, all of the cluster."""
        where = ["namespaces", namespace] if self.namespaced and namespace else []
        return "/".join([self.api_path, *where, self.plural, *(part for part in (name, subresource) if part)])

    def __str__(self) -> str:
        return self.name


class ObjectKey(NamedTuple):
    """Identifies one object of the cluster, or its successor of the same name."""

    kind: Kind
    namespace: str  # "" for objects of the cluster
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


LLM_DEPLOYMENT = Kind("slipway.dev", "v1alpha1", "LLMDeployment", "llmdeployments")
ACCELERATOR_PROFILE = Kind("slipway.dev", "v1alpha1", "AcceleratorProfile", "acceleratorprofiles", namespaced=False)
INFERENCE_SERVICE = Kind("serving.kserve.io", "v1beta1", "InferenceService", "inferenceservices")
SERVING_RUNTIME = Kind("serving.kserve.io", "v1alpha1", "ServingRuntime", "servingruntimes")
CLUSTER_SERVING_RUNTIME = Kind(
    "serving.kserve.io", "v1alpha1", "ClusterServingRuntime", "clusterservingruntimes", namespaced=False
)
SCALED_OBJECT = Kind("keda.sh", "v1alpha1", "ScaledObject", "scaledobjects")
POD_MONITOR = Kind("monitoring.coreos.com", "v1", "PodMonitor", "podmonitors")
POD = Kind("", "v1", "Pod", "pods")
POD_TEMPLATE = Kind("", "v1", "PodTemplate", "podtemplates")
SERVICE = Kind("", "v1", "Service", "services")
NAMESPACE = Kind("", "v1", "Namespace", "namespaces", namespaced=False)
SECRET = Kind("", "v1", "Secret", "secrets")
NODE = Kind("", "v1", "Node", "nodes", namespaced=False)
CONFIG_MAP = Kind("", "v1", "ConfigMap", "configmaps")
CORE_EVENT = Kind("", "v1", "Event", "events")
EVENT = Kind("events.k8s.io", "v1", "Event", "events")
DEPLOYMENT = Kind("apps", "v1", "Deployment", "deployments")
REPLICA_SET = Kind("apps", "v1", "ReplicaSet", "replicasets")
HORIZONTAL_POD_AUTOSCALER = Kind("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
NETWORK_POLICY = Kind("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies")
ENDPOINT_SLICE = Kind("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices")
RESOURCE_CLAIM_TEMPLATE = Kind("resource.k8s.io", "v1", "ResourceClaimTemplate", "resourceclaimtemplates")
JOB = Kind("batch", "v1", "Job", "jobs")
LEASE = Kind("coordination.k8s.io", "v1", "Lease", "leases")
SUBJECT_ACCESS_REVIEW = Kind(
    "authorization.k8s.io", "v1", "SubjectAccessReview", "subjectaccessreviews", namespaced=False
)
NODE_POOL = Kind("karpenter.sh", "v1", "NodePool", "nodepools", namespaced=False)
DEVICE_CLASS = Kind("resource.k8s.io", "v1", "DeviceClass", "deviceclasses", namespaced=False)
RESOURCE_SLICE = Kind("resource.k8s.io", "v1", "ResourceSlice", "resourceslices", namespaced=False)
RESOURCE_CLAIM = Kind("resource.k8s.io", "v1", "ResourceClaim", "resourceclaims")
SERVICE_ACCOUNT = Kind("", "v1", "ServiceAccount", "serviceaccounts")
PERSISTENT_VOLUME_CLAIM = Kind("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims")
STORAGE_CLASS = Kind("storage.k8s.io", "v1", "StorageClass", "storageclasses", namespaced=False)
PRIORITY_CLASS = Kind("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", namespaced=False)
RUNTIME_CLASS = Kind("node.k8s.io", "v1", "RuntimeClass", "runtimeclasses", namespaced=False)
ACCESS_REVIEW = Kind(
    "authorization.k8s.io", "v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews", namespaced=False
)
TOKEN_REVIEW = Kind("authentication.k8s.io", "v1", "TokenReview", "tokenreviews", namespaced=False)

WELL_KNOWN: Mapping[tuple[str, str], Kind] = {
    (kind.api_version, kind.name): kind for kind in list(vars().values()) if isinstance(kind, Kind)
}


def kind_of(manifest: Object) -> Kind:
    """The kind that the object names in apiVersion and kind, for recorded objects; elsewhere the code knows it."""
    named = (manifest.get("apiVersion", ""), manifest.get("kind", ""))
    if named not in WELL_KNOWN:
        raise UnknownKindError(
            f"{' '.join(named).strip() or 'an object without a kind'} is not in slipway.objects.kinds"
        )
    return WELL_KNOWN[named]
