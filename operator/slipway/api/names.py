"""The names that the operator and the activator agree on. No other module writes them out."""

from typing import Final

GROUP: Final = "slipway.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = "slipway.dev/v1alpha1"

KIND: Final = "LLMDeployment"
PLURAL = "llmdeployments"
PROFILE_KIND: Final = "AcceleratorProfile"
PROFILE_PLURAL = "acceleratorprofiles"

# --- labels and annotations ------------------------------------------------------------------------------------------

OWNER_LABEL = f"{GROUP}/llmdeployment"  # on every object of ours, and on the pods: the name of their LLMDeployment
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGED_BY = "slipway"
COMPONENT_LABEL = "app.kubernetes.io/component"
SERVICE_LABEL = "kubernetes.io/service-name"  # on EndpointSlices: the Service that they belong to
ACTIVATOR_LABEL = (
    f"{GROUP}/activator"  # on EndpointSlices that lead to an activator, and on its Service: the activator's name
)
PORT_TABLE_LABEL = f"{GROUP}/port-table"  # on ConfigMaps in Slipway's namespace: the activator whose ports they list
MODELS_LABEL = f"{GROUP}/models"  # on ConfigMaps in Slipway's namespace, "true": a site's own models for the planner
RUNTIME_LABEL = f"{GROUP}/runtime"  # on ClusterServingRuntimes that a release includes: of which engine
SYNC_ANNOTATION = f"{GROUP}/sync"  # on an LLMDeployment: a new value makes the installed version replace its pods
RESTART_ANNOTATION = f"{GROUP}/restart"  # on an LLMDeployment, and then on its pods: when a restart was requested
PAUSED_ANNOTATION = f"{GROUP}/paused"  # on an LLMDeployment: "true" keeps its number of replicas as it is
WAKE_ANNOTATION = (
    f"{GROUP}/wake"  # on an LLMDeployment: the time from which a replica is wanted, as if a request had arrived
)
INSPECTION = "inspection"  # the component label of Jobs that read a model's files, and of their pods
INSPECTION_SUFFIX = ".inspect"  # no LLMDeployment's name has a dot
COMPILATION = "compilation"  # the component label of Jobs that push an image of compiled code, and of their pods
COMPILATION_SUFFIX = ".compile"
IMAGING = "imaging"  # the component label of Jobs that push an image of a model's files, and of their pods
IMAGING_SUFFIX = ".image"
SUFFIXES_OF_JOBS = (INSPECTION_SUFFIX, COMPILATION_SUFFIX, IMAGING_SUFFIX)
PLAN_ANNOTATION = f"{GROUP}/plan"  # on a model's pods: a digest of what a measurement of them is valid for
NEXT_TO_ANNOTATION = f"{GROUP}/next-to"  # on a claim for compiled code: the other claims of the pods it was made for
ACCESS_MODES_ANNOTATION = f"{GROUP}/access-modes"  # on a StorageClass, ReadWriteMany: pods of all nodes share a volume
AUTOSCALER_CLASS_ANNOTATION = "serving.kserve.io/autoscalerClass"  # KServe copies it from its object to the Deployment
SLEEP_ANNOTATION = f"{GROUP}/sleep"  # on an LLMDeployment: the time before which nothing keeps it awake any more

# --- server-side apply -----------------------------------------------------------------------------------------------

FIELD_MANAGER = "slipway"
STATUS_FIELD_MANAGER = "slipway-status"

METRICS_PREFIX = "slipway"  # the first word of the names of all metrics

# --- the activator; the ports of a model's pod are in slipway.contract.pod --------------------------------------------

ACTIVATOR_SERVICE = "slipway-activator"
ACTIVATOR_GRPC_PORT = 9090
ACTIVATOR_FIRST_PORT = 20000  # one port for each deployment, from here
ACTIVATOR_LAST_PORT = 29999  # to here
PORT_NAME = "http"  # of the Service; the activator's slice must use the same

# --- the node plugin -------------------------------------------------------------------------------------------------

NODE_CACHE = "slipway-node-cache"  # its DaemonSet
NODE_CACHE_DRIVER = f"models.{GROUP}"  # the CSIDriver; and the audience of the tokens by which it knows pods
NODE_CACHE_KEYS = "keys"  # the attribute of its volumes that names the models of the pod, separated by commas
NODE_CACHE_MOST_KEYS = 64  # in one volume

# --- KServe ----------------------------------------------------------------------------------------------------------

MAX_NAME_LENGTH = 53  # KServe appends "-predictor" to it, and a Service's name has 63 characters at most
RESERVED_ENDINGS = (
    "-predictor",
    "-transformer",
    "-explainer",
)  # KServe appends them, and takes objects with such names for its own
OUR_ENDINGS = ("-activator", "-canary", "-cache")  # of objects that are ours
COMPILED_ENDING, WEIGHTS_ENDING = "-compiled", "-model"  # of claims; other objects of ours never have such names
KEDA_S_BEGINNING = "keda-hpa-"  # KEDA puts it before the name of a ScaledObject to name its HorizontalPodAutoscaler


def label_of_inspection(name: str) -> str:
    """The owner label of pods that read a model's files: no Service, policy or program takes them for replicas."""
    return f"{name}{INSPECTION_SUFFIX}"


def label_of_compilation(name: str) -> str:
    """The same for pods that compile for an image."""
    return f"{name}{COMPILATION_SUFFIX}"


def label_of_imaging(name: str) -> str:
    """The same for pods that make an image of a model's files."""
    return f"{name}{IMAGING_SUFFIX}"


def model_of_label(label: str) -> str:
    """The LLMDeployment that a pod with this owner label belongs to, whether it is a replica or of a Job."""
    suffix = next((each for each in SUFFIXES_OF_JOBS if label.endswith(each)), "")
    return label.removesuffix(suffix)


def is_label_of_job(label: str) -> bool:
    return label.endswith(SUFFIXES_OF_JOBS)


def compiled_claim_name(name: str) -> str:
    """The PersistentVolumeClaim for compiled code. Slipway makes only this one and that for weights, so that no
    LLMDeployment has to be refused because of its name."""
    return f"{name}{COMPILED_ENDING}"


def weights_claim_name(name: str) -> str:
    """The PersistentVolumeClaim for the model's files."""
    return f"{name}{WEIGHTS_ENDING}"


def model_of_claim(claim: str) -> str:
    """The LLMDeployment for which a claim of this name would be; empty: for none."""
    ending = next((each for each in (COMPILED_ENDING, WEIGHTS_ENDING) if claim.endswith(each)), "")
    return claim.removesuffix(ending) if ending else ""


def activator_slice_name(name: str) -> str:
    """The EndpointSlice that leads requests for a deployment to the activator."""
    return f"{name}-activator"
