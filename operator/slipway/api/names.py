"""The names that all parts of Slipway share. No other module may repeat them as strings."""

from typing import Final

GROUP: Final = "slipway.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = "slipway.dev/v1alpha1"

KIND: Final = "LLMDeployment"
PLURAL = "llmdeployments"
PROFILE_KIND: Final = "AcceleratorProfile"
PROFILE_PLURAL = "acceleratorprofiles"

# --- labels and annotations ------------------------------------------------------------------------------------------

OWNER_LABEL = f"{GROUP}/llmdeployment"  # on our objects, and on the pods: the name of their LLMDeployment
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGED_BY = "slipway"
SERVICE_LABEL = "kubernetes.io/service-name"  # on EndpointSlices: the Service that they belong to
ACTIVATOR_LABEL = f"{GROUP}/activator"  # on EndpointSlices that lead to an activator, and on its Service: its name
PORT_TABLE_LABEL = f"{GROUP}/port-table"  # on ConfigMaps in Slipway's namespace: the activator whose ports they list
RUNTIME_LABEL = f"{GROUP}/runtime"  # on ClusterServingRuntimes of a release: the engine
SYNC_ANNOTATION = f"{GROUP}/sync"  # on an LLMDeployment: a new value lets the installed version make its pods
PAUSED_ANNOTATION = f"{GROUP}/paused"  # on an LLMDeployment: "true" leaves its number of replicas as it is
WAKE_ANNOTATION = f"{GROUP}/wake"  # the same: the time from which a replica is wanted, as after a request
SLEEP_ANNOTATION = f"{GROUP}/sleep"  # the same: the time before which nothing keeps it awake

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
RESERVED_ENDINGS = (
    "-predictor",
    "-transformer",
    "-explainer",
)  # KServe appends them, and takes over objects with such names
OUR_ENDINGS = ("-activator", "-canary", "-cache")  # of objects that are ours
OTHER_RUNTIMES = ("slipway-lmdeploy", "slipway-nim", "slipway-ovms", "slipway-sglang", "slipway-tgi", "slipway-triton")
"""ClusterServingRuntimes for other engines, which the chart can create; `engine.name` names them."""
KEDA_S_BEGINNING = "keda-hpa-"  # KEDA names a HorizontalPodAutoscaler with this before the name of its ScaledObject


def activator_slice(name: str) -> str:
    """The EndpointSlice that leads requests for a deployment to the activator."""
    return f"{name}-activator"
