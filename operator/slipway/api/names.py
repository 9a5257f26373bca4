"""The names that the parts of Slipway agree on. Nobody else spells them out."""

from typing import Final

GROUP: Final = "slipway.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = "slipway.dev/v1alpha1"

KIND: Final = "LLMDeployment"
PLURAL = "llmdeployments"
PROFILE_KIND: Final = "AcceleratorProfile"
PROFILE_PLURAL = "acceleratorprofiles"

# --- labels and annotations ------------------------------------------------------------------------------------------

OWNER_LABEL = f"{GROUP}/llmdeployment"  # on all that is ours, and on the pods: the name of their LLMDeployment
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGED_BY = "slipway"
SERVICE_LABEL = "kubernetes.io/service-name"  # on EndpointSlices: the Service that they belong to
ACTIVATOR_LABEL = f"{GROUP}/activator"  # on EndpointSlices that lead to an activator, and on its Service: its name
PORT_TABLE_LABEL = f"{GROUP}/port-table"  # on ConfigMaps of Slipway's namespace: the activator whose ports they tell
RUNTIME_LABEL = f"{GROUP}/runtime"  # on ClusterServingRuntimes that a release brings along: of which engine
SYNC_ANNOTATION = f"{GROUP}/sync"  # on an LLMDeployment: another value has its pods made by the version that is there
PAUSED_ANNOTATION = f"{GROUP}/paused"  # on an LLMDeployment: "true" leaves its number of replicas as it is
WAKE_ANNOTATION = f"{GROUP}/wake"  # the same: the moment from which on a replica is wanted, as if somebody had asked
SLEEP_ANNOTATION = f"{GROUP}/sleep"  # the same: the moment before which nothing keeps it awake any more

# --- server-side apply -----------------------------------------------------------------------------------------------

FIELD_MANAGER = "slipway"
STATUS_FIELD_MANAGER = "slipway-status"

METRICS_PREFIX = "slipway"  # the first word of the names of all metrics

# --- ports -----------------------------------------------------------------------------------------------------------

ENGINE_PORT = 8080
RUNTIME_PORT = 8081  # the runtime's own: /livez /readyz /startupz /info /metrics
ACTIVATOR_SERVICE = "slipway-activator"
ACTIVATOR_GRPC_PORT = 9090
ACTIVATOR_FIRST_PORT = 20000  # one port for each deployment, from here …
ACTIVATOR_LAST_PORT = 29999  # … to here
PORT_NAME = "http"  # of the Service; the activator's slice must use the same

# --- KServe ----------------------------------------------------------------------------------------------------------

MAX_NAME_LENGTH = 53  # KServe appends "-predictor" to it, and a Service's name has 63 characters at most
RESERVED_ENDINGS = ("-predictor", "-transformer", "-explainer")  # KServe appends them, and takes who has such a name
OUR_ENDINGS = ("-activator", "-canary", "-cache")  # of objects that are ours
OTHER_RUNTIMES = ("slipway-lmdeploy", "slipway-nim", "slipway-ovms", "slipway-sglang", "slipway-tgi", "slipway-triton")
"""ClusterServingRuntimes of others' engines, which the chart brings if it is told to; `engine.name` names them."""
KEDA_S_BEGINNING = "keda-hpa-"  # before the name of a ScaledObject, for the HorizontalPodAutoscaler that KEDA makes


def activator_slice(name: str) -> str:
    """The EndpointSlice that leads requests for a deployment to the activator."""
    return f"{name}-activator"
