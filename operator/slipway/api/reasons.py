"""Why things are as they are: one word for programs, one line for people.

Status, events, metrics, runbooks and the activator's error bodies all use these words and no others.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """The state of a deployment in one word, for people."""

    IDLE = "Idle"  # at zero replicas, healthy
    WAKING = "Waking"  # a first replica is on its way
    SERVING = "Serving"
    UPDATING = "Updating"  # a new version is on its way
    DEGRADED = "Degraded"  # serving, but something is wrong
    FAILED = "Failed"  # not serving, and it won't before the cause is put right


class ConditionType(StrEnum):
    """The conditions of a deployment. All but the last two are good when True."""

    READY = "Ready"  # an ask now would be answered, directly or after a wake that is expected to succeed
    PLANNED = "Planned"  # an accelerator, an engine and resources are chosen
    MODEL_LOADED = "ModelLoaded"  # a replica has the model in memory; False at zero, which is healthy
    SCALED = "Scaled"  # as many replicas are ready as are wanted
    REACHABLE = "Reachable"  # the Service leads somewhere: to a ready replica or to the activator
    RECONCILING = "Reconciling"  # kstatus: something is still under way
    STALLED = "Stalled"  # kstatus: it goes no further without a person


class Reason(StrEnum):
    """A cause, in CamelCase, with its meaning; final when waiting doesn't help and a person has to change something."""

    meaning: str
    is_final: bool

    def __new__(cls, word: str, meaning: str = "", is_final: bool = False) -> Reason:
        reason = str.__new__(cls, word)
        reason._value_ = word
        reason.meaning = meaning
        reason.is_final = is_final
        return reason

    # --- all is well, or on its way ----------------------------------------------------------------------------------

    SERVING = "Serving", "A replica is ready and answers requests."
    SCALED_TO_ZERO = "ScaledToZero", "No replica runs because nobody asks; the next request wakes one."
    WAKING = "Waking", "The first replica is on its way."
    SCALING = "Scaling", "The number of replicas is changing."
    UPDATING = "Updating", "A new version is being rolled out."
    PLANNED = "Planned", "An accelerator, an engine and resources are chosen."
    PAUSED = "Paused", "The annotation slipway.dev/paused keeps the number of replicas as it is; remove it to go on."
    AS_WANTED = "AsWanted", "Everything is as the spec wants it."
    DELETING = "Deleting", "The object is being deleted, and what belongs to it with it."

    # --- on the way to a replica -------------------------------------------------------------------------------------

    SCHEDULING = "Scheduling", "The pod waits for the scheduler to find it a node."
    PULLING_IMAGE = "PullingImage", "The node is fetching the pod's images."
    FETCHING_MODEL = "FetchingModel", "The model's files are being fetched to the node."
    STARTING = "Starting", "The containers of the pod are starting."
    LOADING_MODEL = "LoadingModel", "The engine is loading the model."
    DRAINING = "Draining", "A replica finishes its requests before it ends."

    # --- before there is a pod ---------------------------------------------------------------------------------------

    INVALID_SPEC = "InvalidSpec", "The spec can't be carried out as it is written.", True
    NO_ACCELERATOR_FITS = "NoAcceleratorFits", "No accelerator profile that the spec allows can hold the model.", True
    PROFILE_MISSING = "ProfileMissing", "The spec names an accelerator profile that doesn't exist.", True
    RUNTIME_MISSING = "RuntimeMissing", "The spec names an engine for which there is no serving runtime.", True
    RUNTIME_SHADOWED = (
        "RuntimeShadowed",
        "A ServingRuntime of the namespace has the name of one of Slipway's own.",
        True,
    )
    NAME_TAKEN = "NameTaken", "An object with a name that we need belongs to somebody else.", True
    KSERVE_MISSING = "KServeMissing", "KServe isn't installed in the cluster.", True
    KEDA_MISSING = "KedaMissing", "KEDA isn't installed in the cluster, and the spec wants to scale with it.", True
    KSERVE_DOWN = "KServeDown", "KServe is installed but doesn't do its work, so no pod of the model can be made."
    KEDA_DOWN = "KedaDown", "KEDA is installed but doesn't do its work, so the number of replicas stays as it is."
    ADMISSION_DENIED = "AdmissionDenied", "A webhook or policy of the cluster refused one of our objects.", True
    PORTS_EXHAUSTED = "PortsExhausted", "The activator has no port left for this deployment, or for its namespace."
    QUOTA_EXCEEDED = "QuotaExceeded", "The namespace's quota has no room for the pod."
    PERMISSION_DENIED = "PermissionDenied", "The operator isn't allowed to do what this deployment needs.", True
    API_ERROR = "ApiError", "The API server didn't carry out a request of the operator; it tries again."
    INTERNAL_ERROR = "InternalError", "The operator failed on this object: a bug worth a report.", True

    # --- what stops a pod --------------------------------------------------------------------------------------------

    UNSCHEDULABLE = "Unschedulable", "No node has what the pod asks for."
    POD_CONFIG_ERROR = "PodConfigError", "The pod names a Secret, ConfigMap, volume or class that isn't there.", True
    VOLUME_NOT_READY = "VolumeNotReady", "A volume of the pod can't be attached or mounted."
    IMAGE_PULL_FAILED = "ImagePullFailed", "The node can't fetch the pod's image."
    IMAGE_NAME_INVALID = "ImageNameInvalid", "The image's name isn't one that a registry could have.", True
    MODEL_NOT_FOUND = "ModelNotFound", "There is no model where the spec says that it is.", True
    MODEL_ACCESS_DENIED = (
        "ModelAccessDenied",
        "The model's source refuses the credentials, or has been given none.",
        True,
    )
    MODEL_DOWNLOAD_FAILED = "ModelDownloadFailed", "Fetching the model's files failed on the way."
    MODEL_CORRUPT = "ModelCorrupt", "The model's files are there, but damaged or incomplete.", True
    UNSUPPORTED_ARCHITECTURE = "UnsupportedArchitecture", "The engine doesn't know this kind of model.", True
    QUANTIZATION_MISMATCH = "QuantizationMismatch", "The checkpoint or the GPU doesn't fit the quantization.", True
    BAD_ENGINE_ARGUMENTS = "BadEngineArguments", "The engine refuses the arguments that it was started with.", True
    CONTEXT_TOO_LONG = "ContextTooLong", "The context length is more than the model or the memory allows.", True
    GPU_OUT_OF_MEMORY = "GpuOutOfMemory", "The accelerator's memory is too small for the model and its KV cache.", True
    GPU_BUSY = "GpuBusy", "Another process holds memory of the accelerator."
    GPU_UNHEALTHY = "GpuUnhealthy", "The accelerator reports errors of its own."
    HOST_OUT_OF_MEMORY = "HostOutOfMemory", "The model needs more memory than its container may use.", True
    EVICTED = "Evicted", "The node ran out of memory or disk and put the pod out."
    PREEMPTED = "Preempted", "A pod of higher priority took the place of this one."
    DRIVER_MISMATCH = "DriverMismatch", "The node's driver is too old for the engine, or is missing.", True
    ENGINE_CRASHED = "EngineCrashed", "The engine ended by itself."
    CRASH_LOOP = "CrashLoop", "The engine ends again and again; the kubelet waits longer each time."
    START_TIMEOUT = "StartTimeout", "The engine wasn't ready within the time that it has to start."
    ENGINE_STUCK = "EngineStuck", "The engine runs but doesn't answer its health check."
    POD_STUCK = "PodStuck", "A pod that has been told to go is still there, and may keep its accelerator."
    NODE_LOST = "NodeLost", "The node of a replica is gone or doesn't answer."

    # --- what stops a request ----------------------------------------------------------------------------------------

    HOLD_FULL = "HoldFull", "As many requests as allowed are waiting for a replica already."
    HOLD_TIMEOUT = "HoldTimeout", "No replica came in the time that a request may wait."
    REQUEST_INVALID = "RequestInvalid", "The request isn't HTTP as it is taken here."
    REQUEST_TOO_LARGE = "RequestTooLarge", "The request's body is larger than a model could ever want."
    TOO_MANY_CONNECTIONS = "TooManyConnections", "More connections are open than the activator takes."
    REPLICA_LOST = "ReplicaLost", "A replica failed while it answered, and the request can't be sent again."
    ACTIVATOR_UNAVAILABLE = "ActivatorUnavailable", "No activator is there to hold requests while no replica is ready."
    SCALER_UNAVAILABLE = "ScalerUnavailable", "KEDA can't reach the activator, or doesn't act on this deployment."
    METRICS_MISSING = "MetricsMissing", "The autoscaler has no metrics to go by, so the number of replicas stays."
    NOT_READY = "NotReady", "No replica is ready, and nothing else is known to be wrong."
    UNKNOWN = "Unknown", "The cause isn't known; the message says what was seen."
