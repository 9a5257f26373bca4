"""Why a model is as it is: the words that status, events, metrics, runbooks and error bodies use.

Written by `make generate`; instead of this file, change
runtime-image/contract/reasons.yaml.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """The state of a deployment in one word, for people."""

    meaning: str

    def __new__(cls, word: str, meaning: str = "") -> State:
        found = str.__new__(cls, word)
        found._value_ = word
        found.meaning = meaning
        return found

    IDLE = ("Idle", "No replica runs, and none is needed: the model is healthy.")
    WAKING = ("Waking", "The first replica is starting.")
    SERVING = ("Serving", "Requests are answered.")
    UPDATING = ("Updating", "A new version is being rolled out.")
    DEGRADED = ("Degraded", "Requests are answered, but something is wrong.")
    FAILED = ("Failed", "No request is answered, and none will be until the cause is fixed.")


class ConditionType(StrEnum):
    """The conditions of a deployment; all but the last two are good when True."""

    meaning: str

    def __new__(cls, word: str, meaning: str = "") -> ConditionType:
        found = str.__new__(cls, word)
        found._value_ = word
        found.meaning = meaning
        return found

    READY = (
        "Ready",
        "A request sent now would be answered, either directly or after a wake that is expected to succeed.",
    )
    PLANNED = ("Planned", "An accelerator, an engine and resources are chosen.")
    MODEL_LOADED = ("ModelLoaded", "A replica has the model in memory. False at zero replicas, which is healthy.")
    SCALED = ("Scaled", "As many replicas are ready as are wanted, and their number can follow the demand.")
    REACHABLE = ("Reachable", "The Service leads to a ready replica, or to the activator.")
    WITHIN_BUDGET = ("WithinBudget", "Less than the budget is spent. Only where the spec has a budget.")
    RECONCILING = ("Reconciling", "A change is still in progress.")
    STALLED = ("Stalled", "There is no further progress until a person acts.")


class Reason(StrEnum):
    """A cause with its meaning; final if waiting doesn't help and a person has to act."""

    meaning: str
    is_final: bool

    def __new__(cls, word: str, meaning: str = "", is_final: bool = False) -> Reason:
        found = str.__new__(cls, word)
        found._value_ = word
        found.meaning = meaning
        found.is_final = is_final
        return found

    SERVING = ("Serving", "A replica is ready and answers requests.", False)
    SCALED_TO_ZERO = (
        "ScaledToZero",
        "No replica runs because there are no requests; the next request wakes one.",
        False,
    )
    WAKING = ("Waking", "The first replica is starting.", False)
    SCALING = ("Scaling", "The number of replicas is changing.", False)
    UPDATING = ("Updating", "A new version is being rolled out.", False)
    PLANNED = ("Planned", "An accelerator, an engine and resources are chosen.", False)
    PAUSED = (
        "Paused",
        "The annotation slipway.dev/paused keeps the number of replicas as it is; remove it to resume scaling.",
        False,
    )
    SCALING_PAUSED = (
        "ScalingPaused",
        "An annotation of its ScaledObject pauses KEDA; remove it to resume scaling.",
        False,
    )
    AS_WANTED = ("AsWanted", "Everything is as the spec wants it.", False)
    DELETING = ("Deleting", "The object is being deleted, together with everything that belongs to it.", False)
    WITHIN_BUDGET = ("WithinBudget", "Less than 80 % of the budget is spent.", False)
    BUDGET_NEARLY_SPENT = ("BudgetNearlySpent", "Of the budget, 80 % or more is spent.", False)
    BUDGET_SPENT = (
        "BudgetSpent",
        "The budget of the day or month is spent, and budget.then says what happens until the next.",
        False,
    )
    PRICE_UNKNOWN = (
        "PriceUnknown",
        "An accelerator profile has no price, so what its devices cost isn't counted.",
        False,
    )
    PLAN_MISSED = ("PlanMissed", "The engine measured something else than the plan has, by more than 5 %.", False)
    SCHEDULING = ("Scheduling", "The pod is waiting for the scheduler to find a node.", False)
    PULLING_IMAGE = ("PullingImage", "The node is pulling the pod's images.", False)
    READING_MODEL = ("ReadingModel", "Slipway is reading the headers of the model's files, to plan by them.", False)
    FETCHING_MODEL = ("FetchingModel", "The model's files are being downloaded to the node.", False)
    STARTING = ("Starting", "The pod's containers are starting.", False)
    LOADING_MODEL = ("LoadingModel", "The engine is loading the model.", False)
    DRAINING = ("Draining", "A replica is finishing its requests before it ends.", False)
    INVALID_SPEC = ("InvalidSpec", "The spec can't be carried out as it is written.", True)
    NO_ACCELERATOR_FITS = (
        "NoAcceleratorFits",
        "None of the accelerator profiles that the spec allows can hold the model.",
        True,
    )
    PROFILE_MISSING = ("ProfileMissing", "The spec names an accelerator profile that doesn't exist.", True)
    RUNTIME_MISSING = ("RuntimeMissing", "The spec names an engine for which there is no serving runtime.", True)
    RUNTIME_SHADOWED = (
        "RuntimeShadowed",
        "A ServingRuntime in the namespace has the name of one of Slipway's own.",
        True,
    )
    NAME_TAKEN = (
        "NameTaken",
        "An object that Slipway needs to create already exists and belongs to another owner.",
        True,
    )
    KSERVE_MISSING = ("KServeMissing", "KServe isn't installed in the cluster.", True)
    KEDA_MISSING = ("KedaMissing", "KEDA isn't installed in the cluster, and the spec wants to scale with it.", True)
    KSERVE_DOWN = ("KServeDown", "KServe is installed but isn't working, so no pod of the model can be created.", False)
    KEDA_DOWN = ("KedaDown", "KEDA is installed but isn't working, so the number of replicas doesn't change.", False)
    ADMISSION_DENIED = ("AdmissionDenied", "A webhook or policy of the cluster refused one of Slipway's objects.", True)
    PORTS_EXHAUSTED = (
        "PortsExhausted",
        "The activator has no free port left for this deployment, or for its namespace.",
        False,
    )
    QUOTA_EXCEEDED = ("QuotaExceeded", "The namespace's quota has no room for the pod.", False)
    PERMISSION_DENIED = ("PermissionDenied", "The operator lacks a permission that this deployment needs.", True)
    API_ERROR = ("ApiError", "The API server didn't carry out a request of the operator, which will retry it.", False)
    INTERNAL_ERROR = ("InternalError", "The operator failed on this object. This is a bug; please report it.", True)
    BAD_ENGINE_ARGUMENTS = ("BadEngineArguments", "The engine refuses the arguments that it was started with.", True)
    POD_CONFIG_ERROR = (
        "PodConfigError",
        "The pod names a Secret, ConfigMap, volume or class that doesn't exist.",
        True,
    )
    UNSCHEDULABLE = ("Unschedulable", "No node has what the pod requests.", False)
    VOLUME_NOT_READY = ("VolumeNotReady", "A volume of the pod can't be attached or mounted.", False)
    IMAGE_PULL_FAILED = ("ImagePullFailed", "The node can't pull the pod's image.", False)
    IMAGE_NAME_INVALID = ("ImageNameInvalid", "The image's name isn't a valid image reference.", True)
    MODEL_NOT_FOUND = ("ModelNotFound", "There is no model where the spec says that it is.", True)
    MODEL_ACCESS_DENIED = ("ModelAccessDenied", "The model's source refuses the credentials, or none were given.", True)
    MODEL_DOWNLOAD_FAILED = ("ModelDownloadFailed", "Downloading the model's files failed.", False)
    MODEL_CORRUPT = ("ModelCorrupt", "The model's files exist, but they are damaged or incomplete.", True)
    UNSUPPORTED_ARCHITECTURE = ("UnsupportedArchitecture", "The engine doesn't support this kind of model.", True)
    QUANTIZATION_MISMATCH = (
        "QuantizationMismatch",
        "The checkpoint or the GPU doesn't support the quantization.",
        True,
    )
    GPU_UNHEALTHY = ("GpuUnhealthy", "The accelerator reports hardware errors.", False)
    DRIVER_MISMATCH = ("DriverMismatch", "The node's driver is too old for the engine, or is missing.", True)
    GPU_BUSY = ("GpuBusy", "Another process is using memory of the accelerator.", False)
    GPU_OUT_OF_MEMORY = (
        "GpuOutOfMemory",
        "The accelerator's memory is too small for the model and its KV cache.",
        True,
    )
    HOST_OUT_OF_MEMORY = ("HostOutOfMemory", "The model needs more memory than its container may use.", True)
    CONTEXT_TOO_LONG = ("ContextTooLong", "The context length is more than the model or the memory allows.", True)
    EVICTED = ("Evicted", "The node ran out of memory or disk space, and evicted the pod.", False)
    PREEMPTED = ("Preempted", "The scheduler removed this pod to make room for one of higher priority.", False)
    ENGINE_CRASHED = ("EngineCrashed", "The engine ended unexpectedly.", False)
    CRASH_LOOP = ("CrashLoop", "The engine keeps crashing; the kubelet waits longer before each restart.", False)
    START_TIMEOUT = ("StartTimeout", "The engine wasn't ready within the time that it has to start.", False)
    ENGINE_STUCK = ("EngineStuck", "The engine is running but doesn't answer its health check.", False)
    POD_STUCK = ("PodStuck", "A pod that was asked to stop still exists, and may still occupy its accelerator.", False)
    NODE_LOST = ("NodeLost", "The node of a replica is gone or doesn't respond.", False)
    PUSH_FAILED = ("PushFailed", "An image can't be pushed to its registry.", False)
    HOLD_FULL = ("HoldFull", "The maximum number of requests is already waiting for a replica.", False)
    HOLD_TIMEOUT = ("HoldTimeout", "No replica became ready within the time that a request may wait.", False)
    REQUEST_INVALID = ("RequestInvalid", "The request isn't HTTP in a form that is accepted here.", False)
    REQUEST_TOO_LARGE = ("RequestTooLarge", "The request's body is larger than the activator accepts.", False)
    TOO_MANY_CONNECTIONS = ("TooManyConnections", "The activator has as many open connections as it accepts.", False)
    REPLICA_LOST = (
        "ReplicaLost",
        "A replica failed while it was answering, and the request can't be sent again.",
        False,
    )
    ACTIVATOR_UNAVAILABLE = (
        "ActivatorUnavailable",
        "There is no activator to hold requests while no replica is ready.",
        False,
    )
    SCALER_UNAVAILABLE = (
        "ScalerUnavailable",
        "KEDA can't reach the activator, or doesn't act on this deployment.",
        False,
    )
    METRICS_MISSING = (
        "MetricsMissing",
        "The autoscaler gets no metrics, so the number of replicas doesn't change.",
        False,
    )
    NOT_READY = ("NotReady", "No replica is ready, and no other problem is known.", False)
    UNKNOWN = ("Unknown", "The cause isn't known; the message says what was observed.", False)
