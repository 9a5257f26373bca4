"""`status`: the state of a deployment, as the operator last observed it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from slipway.api import units
from slipway.api.engine import MOST_CONCURRENCY
from slipway.api.kubernetes import keyed
from slipway.api.scaling import ScaledStatus
from slipway.api.schema import LIST_TYPE, MAP_TYPE, MOST_LINES, Line, ReportModel
from slipway.api.slo import SloStatus
from slipway.api.spending import BudgetStatus, CostStatus
from slipway.contract.pod import REPORT_LIMIT
from slipway.contract.runbooks import LONGEST_URL

LONGEST_SYNC = 64
PROMPT = 1000  # tokens, for which the time to the first token is reported
LONGEST_DURATION = 32  # characters
Duration = Annotated[str, Field(max_length=LONGEST_DURATION, pattern=units.DURATION)]
Size = Annotated[str, Field(max_length=32, pattern=units.QUANTITY)]
Compiled = Literal["Nothing", "Something", "Everything"]


class Condition(ReportModel):
    """A condition, in the form of Kubernetes."""

    type: str = Field(max_length=316, description="Type of the condition, such as Ready or Planned.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether the condition holds.")
    reason: str = Field(max_length=1024, description="The cause as one word, for programs.")
    message: str = Field(max_length=32768, description="The cause as a sentence, for people.")
    last_transition_time: str = Field(
        description="When the status of the condition last changed.", json_schema_extra={"format": "date-time"}
    )
    observed_generation: int = Field(default=0, ge=0, description="The generation of the spec that was observed.")


class ReplicasStatus(ReportModel):
    """Numbers of replicas."""

    desired: int = Field(default=0, description="Replicas that are wanted now.")
    ready: int = Field(default=0, description="Replicas that are ready.")
    warming_up: int = Field(default=0, description="Replicas that are starting.")


class PlannedMemory(ReportModel):
    """How the plan divides the memory of one device; for CPUs, the memory of the container."""

    total: str | None = Field(default=None, description="Memory of the device, as the engine counts it.")
    budget: str | None = Field(
        default=None, description="Memory that the engine may use: weights, overhead and KV cache together."
    )
    weights: str | None = Field(default=None, description="Memory for the weights.")
    kv_cache: str | None = Field(default=None, description="Memory for the KV cache.")
    overhead: str | None = Field(
        default=None, description="Memory for the engine itself: activations, CUDA graphs, libraries."
    )
    outside: str | None = Field(
        default=None, description="Memory that is in use beyond the budget once the engine is ready."
    )
    evidence: dict[str, Literal["exact", "measured", "reported", "estimated"]] = Field(
        default_factory=dict,
        max_length=16,
        description="How each of these numbers is known: exact, from the checkpoint's own files; measured, by an "
        "engine; reported, by the spec, the catalogue or a profile; estimated, by a formula.",
    )


class ExpectedSpeed(ReportModel):
    """The speed that the plan expects of one replica: estimates, from the device's bandwidth and compute."""

    time_per_token: Duration | None = Field(default=None, description="Time per output token of a single request.")
    time_per_token_at_max_concurrency: Duration | None = Field(
        default=None, description="Time per output token of each request with maxConcurrency of them running."
    )
    time_to_first_token: Duration | None = Field(
        default=None, description=f"Time to first token for a prompt of {PROMPT:,} tokens, if nothing else runs."
    )
    tokens_per_second: float | None = Field(
        default=None, description="Output tokens per second of all requests together, at maxConcurrency."
    )
    cost_per_million_tokens: float | None = Field(
        default=None, description="Cost per million output tokens at that speed, by the price of the profile."
    )
    formula: Line | None = Field(default=None, description="How it was computed, with the numbers.")


class PlanStatus(ReportModel):
    """The plan: the accelerator, its number, the memory, and why."""

    task: Literal["Generate", "Embed", "Rerank", "Classify", "Transcribe"] | None = Field(
        default=None, description="What the model is for, by spec.model.task or its architecture; unknown if missing."
    )
    accelerator: str | None = Field(default=None, description="The accelerator profile that was chosen.")
    gpus_per_replica: int | None = Field(default=None, description="Accelerators that one replica uses.")
    tensor: int | None = Field(default=None, description="Tensor parallelism: accelerators that split each layer.")
    pipeline: int | None = Field(default=None, description="Pipeline parallelism: stages of the model's layers.")
    memory: PlannedMemory | None = Field(default=None, description="How the memory of one device is divided.")
    kv_tokens: int | None = Field(default=None, description="Planned size of one replica's KV cache, in tokens.")
    max_concurrency: int | None = Field(
        default=None, ge=1, le=MOST_CONCURRENCY, description="Maximum concurrent requests of one replica."
    )
    concurrency_at_full_length: float | None = Field(
        default=None, description="Requests of contextLength tokens that the KV cache holds at the same time."
    )
    context_length: int | None = Field(default=None, description="Maximum tokens of one request.")
    start_limit: Duration | None = Field(
        default=None, description="Time after which a start counts as failed, computed from the size of the weights."
    )
    expected: ExpectedSpeed | None = Field(default=None, description="The expected speed of one replica.")
    why: list[Line] = Field(
        default_factory=list,
        max_length=MOST_LINES,
        description="The reasons for this choice, most important first.",
        json_schema_extra={LIST_TYPE: "atomic"},
    )
    rejected: list[Line] = Field(
        default_factory=list,
        max_length=MOST_LINES,
        description="Profiles that were not chosen, with the reason: what comes closest first, and many with the same "
        "reason in one line.",
        json_schema_extra={LIST_TYPE: "atomic"},
    )
    warnings: list[Line] = Field(
        default_factory=list,
        max_length=MOST_LINES,
        description="What the plan promises less of than the spec asks for, such as a target that won't be met.",
        json_schema_extra={LIST_TYPE: "atomic"},
    )


class PlannedThen(ReportModel):
    """What the plan had, by which the pod was made."""

    kv_tokens: int | None = Field(default=None, ge=0, description="Size of the KV cache of one replica, in tokens.")
    kv_cache: Size | None = Field(default=None, description="Memory of the KV cache, by which the pod was sized.")
    weights: Size | None = Field(default=None, description="Weights on one device.")
    memory_in_use: Size | None = Field(default=None, description="Memory of one device in use, in all.")


class SpeculativeStatus(ReportModel):
    """How well speculative decoding works, by the requests of the last hours."""

    acceptance: float | None = Field(default=None, ge=0, le=100, description="Drafted tokens that were accepted, in %.")
    accepted_length: float | None = Field(
        default=None, ge=1, description="Tokens per step of the model: those accepted, and the one of its own."
    )
    band: Literal["Excellent", "Good", "Marginal", "Off"] | None = Field(
        default=None, description="Excellent: above 80 %; Good: from 60; Marginal: from 40; Off: below, where it slows."
    )
    advice: Line | None = Field(default=None, description="What to set instead, if anything.")


class ParsersStatus(ReportModel):
    """What finds calls of tools and the reasoning in what the model writes."""

    tool_calls: str | None = Field(
        default=None,
        max_length=64,
        description="vLLM's parser of tool calls, or template, since llama.cpp follows the chat template; without one, "
        "requests with tools are refused.",
    )
    reasoning: str | None = Field(
        default=None,
        max_length=64,
        description="The same for the reasoning; without one, it stays in the answer.",
    )
    message: Line | None = Field(default=None, description="Why there is no parser, and what would change it.")


class MeasuredStatus(ReportModel):
    """What the engine that loaded the model last has reported, to compare with the plan."""

    kv_tokens: int | None = Field(default=None, ge=0, description="Size of the KV cache of one replica, in tokens.")
    kv_cache: Size | None = Field(default=None, description="Memory of the KV cache, on one device.")
    weights: Size | None = Field(default=None, description="Memory of the weights, on one device.")
    activation: Size | None = Field(default=None, description="Memory of one step at its peak, on one device.")
    graphs: Size | None = Field(default=None, description="Memory of CUDA graphs, on one device.")
    memory_in_use: Size | None = Field(
        default=None,
        description="Memory of one device in use once the model was loaded, by everything on it; on CPUs, of the "
        "container.",
    )
    memory_total: Size | None = Field(default=None, description="Memory of that device, or limit of the container.")
    outside_budget: Size | None = Field(
        default=None, description="Memory in use besides the plan's budget; negative if the budget was not used up."
    )
    planned: PlannedThen | None = Field(
        default=None, description="What the plan had that made the pod; the present plan may use what was measured."
    )
    plan_error_percent: float | None = Field(
        default=None,
        description="Largest error of a planned number, in percent of what was measured; positive: more was planned.",
    )
    plan_error_of: Literal["kvTokens", "weights", "memoryInUse"] | None = Field(
        default=None, description="The number that has this error."
    )
    parsers: ParsersStatus | None = Field(
        default=None,
        description="The parsers that the engine of this pod uses; chosen by engine.toolCalls and reasoning.",
    )
    pod: str | None = Field(default=None, max_length=253, description="The pod that was measured.")
    started_at: str | None = Field(
        default=None,
        description="When the engine's container started.",
        json_schema_extra={"format": "date-time"},
    )
    key: str | None = Field(
        default=None,
        max_length=64,
        description="Digest of the model, accelerator, engine and flags for which this was measured.",
    )
    speculative: SpeculativeStatus | None = Field(
        default=None, description="How well speculative decoding works, where it is on."
    )


class ColdStart(ReportModel):
    """The last start from zero, phase by phase, each as a duration."""

    model_config = ConfigDict(json_schema_extra={MAP_TYPE: "atomic"})  # each write replaces all of it

    held: Duration | None = Field(default=None, description="From the arrival of the first request until it was held.")
    push: Duration | None = Field(default=None, description="Until the scaler pushed the wake to KEDA.")
    scale: Duration | None = Field(default=None, description="Until the number of replicas was raised.")
    schedule: Duration | None = Field(default=None, description="Until the pod was scheduled.")
    pull: Duration | None = Field(default=None, description="Until the images were on the node.")
    start: Duration | None = Field(default=None, description="Until the container was running.")
    import_: Duration | None = Field(default=None, alias="import", description="Until the engine's code was loaded.")
    load: Duration | None = Field(default=None, description="Until the weights were in memory.")
    compile: Duration | None = Field(default=None, description="Until kernels and graphs were ready.")
    ready: Duration | None = Field(default=None, description="Until the pod was ready.")
    first_token: Duration | None = Field(default=None, description="Until the client received its first token.")
    compiled: Compiled | None = Field(
        default=None, description="What this start had to compile: Nothing, if all of it was in the compile cache."
    )
    pod: str | None = Field(default=None, max_length=253, description="The pod that started.")


class LastStart(ReportModel):
    """What the last start of a replica took from the compile cache."""

    model_config = ConfigDict(json_schema_extra={MAP_TYPE: "atomic"})  # each write replaces all of it

    state: Literal["Used", "Filling", "Filled", "Unavailable", "Off"] | None = Field(
        default=None,
        description="Used: it was read; Filling: what was compiled isn't published yet; Filled: it is published; "
        "Unavailable: it can't be; Off: there is no store.",
    )
    compiled: Compiled | None = Field(
        default=None,
        description="What was compiled: Nothing, because all of it was in the compile cache; Something that it lacked; "
        "or Everything.",
    )
    message: Line | None = Field(default=None, description="Why the compile cache was not used, or not filled.")
    compile: Duration | None = Field(default=None, description="Time that compiling took.")
    read: Duration | None = Field(default=None, description="Time that reading from the compile cache took.")
    size: Size | None = Field(default=None, description="Size of what was read or written.")
    pod: str | None = Field(default=None, max_length=253, description="The pod that started.")
    started_at: str | None = Field(
        default=None, description="When the engine's container started.", json_schema_extra={"format": "date-time"}
    )


class PushedImage(ReportModel):
    """The image that a Job has pushed."""

    image: str = Field(default="", max_length=512, description="The image, with its digest.")
    identity: str = Field(default="", max_length=64, description="Digest of what it was made for.")
    size: Size | None = Field(default=None, description="Size of the image.")
    at: str = Field(default="", max_length=32, description="Time at which it was pushed.")


class PushFailure(ReportModel):
    """Why the last Job has pushed no image."""

    identity: str = Field(default="", max_length=64, description="Digest of what it was to be made for.")
    reason: str = Field(default="", max_length=64, description="The cause as one word.")
    message: Line = Field(default="", description="The cause as a sentence.")
    tries: int = Field(default=0, ge=0, description="Number of Jobs that have failed one after another.")
    at: str = Field(default="", max_length=32, description="Time of the last failure.")


class GivenUp(ReportModel):
    """A claim or an image that was given up, because it would have kept a replica from running."""

    reason: str = Field(default="", max_length=64, description="The cause as one word.")
    message: Line = Field(default="", description="The cause as a sentence.")
    tries: int = Field(default=0, ge=0, description="Number of times that it was given up, one after another.")
    at: str = Field(default="", max_length=32, description="Time at which it was given up last.")
    claim: str = Field(default="", max_length=64, description="Digest of what was claimed, or of the image.")


class CompileCacheStatus(ReportModel):
    """Where compiled code is kept now, and what the last start took from there."""

    kind: Literal["PVC", "Image", "EmptyDir"] | None = Field(
        default=None,
        description="PVC: a volume that outlives the pods; Image: an image from a registry; EmptyDir: nothing outlives "
        "the pod, so that each start compiles.",
    )
    claim: str | None = Field(default=None, max_length=253, description="The PersistentVolumeClaim, for kind PVC.")
    storage_class_name: str | None = Field(
        default=None, max_length=253, description="Storage class of that claim, if it has one."
    )
    access_mode: str | None = Field(default=None, max_length=32, description="Access mode of that claim.")
    image: str | None = Field(
        default=None, max_length=512, description="The image that is mounted, with its digest, for kind Image."
    )
    message: Line | None = Field(
        default=None, description="Why it is kept there; for EmptyDir, what each start costs and how to change it."
    )
    given_up: GivenUp | None = Field(default=None, description="The last claim or image that was given up, and why.")
    pushed: PushedImage | None = Field(
        default=None, description="The image that a Job has pushed, for kind Image with repository."
    )
    push_failure: PushFailure | None = Field(
        default=None, description="Why the last such Job has failed; it is tried again while the model sleeps."
    )
    last_start: LastStart | None = Field(
        default=None, description="What the last start of a replica took from the compile cache."
    )


class ModelCacheStatus(ReportModel):
    """Where the model's files are kept now."""

    kind: Literal["Node", "PVC", "Image", "None"] | None = Field(
        default=None,
        description="Node: a folder of each node that it runs on; PVC: a volume that outlives the pods; Image: an "
        "image from a registry; None: nothing outlives the pod, so that each replica fetches the files.",
    )
    claim: str | None = Field(default=None, max_length=253, description="The PersistentVolumeClaim, for kind PVC.")
    storage_class_name: str | None = Field(
        default=None, max_length=253, description="Storage class of that claim, if it has one."
    )
    access_mode: str | None = Field(default=None, max_length=32, description="Access mode of that claim.")
    message: Line | None = Field(
        default=None, description="Why they are kept there; for None, why nothing is kept and how to change it."
    )
    image: str | None = Field(
        default=None, max_length=512, description="The image that is mounted, with its digest, for kind Image."
    )
    given_up: GivenUp | None = Field(default=None, description="The last claim or image that was given up, and why.")
    pushed: PushedImage | None = Field(default=None, description="The image that a Job has pushed, for kind Image.")
    push_failure: PushFailure | None = Field(
        default=None, description="Why the last such Job has failed; it is tried again."
    )


class MadeStatus(ReportModel):
    """What the model's pods were made from. A newer version of Slipway doesn't replace them on its own."""

    version: str = Field(default="", max_length=64, description="The version of Slipway that made them.")
    spec: str = Field(default="", max_length=64, description="Digest of the part of the spec that affects the pods.")
    pods: str = Field(default="", max_length=64, description="Digest of the InferenceService's part for the pods.")
    sync: str = Field(
        default="", max_length=LONGEST_SYNC, description="Value of the annotation slipway.dev/sync at that time."
    )
    accelerator: str = Field(default="", max_length=63, description="AcceleratorProfile of the plan at that time.")
    gpus_per_replica: int = Field(default=0, ge=0, description="Accelerators per replica in that plan.")
    max_concurrency: int | None = Field(default=None, ge=0, description="Concurrent requests per replica in that plan.")
    tensor: int | None = Field(default=None, ge=1, description="Tensor parallelism in that plan.")
    pipeline: int | None = Field(default=None, ge=1, description="Pipeline parallelism in that plan.")
    context_length: int | None = Field(default=None, ge=1, description="Maximum tokens of one request in that plan.")
    kv_tokens: int | None = Field(default=None, ge=0, description="Size of a replica's KV cache in that plan.")
    compile_cache: str = Field(
        default="", max_length=2048, description="spec.engine.compileCache at that time, as JSON."
    )
    model_cache: str = Field(default="", max_length=2048, description="spec.model.cache at that time, as JSON.")


class InspectionFailure(ReportModel):
    """Why the model's files couldn't be read."""

    digest: str = Field(default="", max_length=64, description="Digest of the source that was tried.")
    sync: str = Field(default="", max_length=LONGEST_SYNC, description="Value of slipway.dev/sync at that time.")
    reason: str = Field(default="", max_length=64, description="The cause as one word.")
    message: Line = Field(default="", description="The cause as a sentence.")
    tries: int = Field(default=0, ge=0, description="Number of tries so far.")
    at: str = Field(default="", max_length=32, description="Time of the last try.")


class FetchStatus(ReportModel):
    """How far a pod is that fetches the model's files, as of the last few seconds."""

    pod: str = Field(default="", max_length=253, description="The pod that fetches, of several the oldest.")
    bytes: int = Field(default=0, ge=0, description="Bytes that have arrived.")
    total: int | None = Field(default=None, ge=0, description="Bytes of all files, as far as the source says.")
    percent: int | None = Field(default=None, ge=0, le=100, description="The share that has arrived.")
    bytes_per_second: int = Field(default=0, ge=0, description="Bytes that arrived per second, lately.")
    seconds_left: int | None = Field(default=None, ge=0, description="Seconds until the rest has arrived at that rate.")
    waits_for: str | None = Field(
        default=None, max_length=256, description="Why nothing arrives: a busy server, or another pod's download."
    )


class ModelStatus(ReportModel):
    """What the model's own files say about it, or the Hub, and how they come into its pods."""

    source: str = Field(default="", max_length=2048, description="The source whose files were read.")
    digest: str = Field(default="", max_length=64, description="Digest of the source and its credentials' name.")
    sync: str = Field(default="", max_length=LONGEST_SYNC, description="Value of slipway.dev/sync at that time.")
    facts: str | None = Field(
        default=None,
        max_length=REPORT_LIMIT,
        description="What the headers of the files say, as JSON: config.json or the GGUF header, and sums of tensors.",
    )
    evidence: Literal["exact", "reported"] | None = Field(
        default=None,
        description="exact: they were read from the files; reported: the Hub says so, of config.json alone.",
    )
    read_at: str | None = Field(default=None, max_length=32, description="Time at which the files were read.")
    failure: InspectionFailure | None = Field(
        default=None, description="Why the last try to read the files has failed; it is tried again, five times in all."
    )
    version: str | None = Field(
        default=None,
        max_length=256,
        description="What the source was resolved to for its pods: the commit of a Hugging Face repository, the digest "
        "of an image, the version in an MLflow registry, or a digest of names, sizes and ETags.",
    )
    folder: str | None = Field(
        default=None, max_length=64, description="Folder of the volume slipway-weights that has this version."
    )
    fetch: FetchStatus | None = Field(default=None, description="How far a pod is with the files, while it fetches.")


class UpdateStatus(ReportModel):
    """What the installed version of Slipway would change. The annotation slipway.dev/sync applies it."""

    version: str = Field(default="", max_length=64, description="The installed version of Slipway.")
    changes: list[str] = Field(
        default_factory=list,
        max_length=32,
        description="Changes of the pods, or of how they are made.",
        json_schema_extra={LIST_TYPE: "atomic"},
    )


class LLMDeploymentStatus(ReportModel):
    """The state of the deployment, as the operator last observed it."""

    observed_generation: int = Field(default=0, ge=0, description="The generation of the spec that was observed.")
    state: Literal["Idle", "Waking", "Serving", "Updating", "Degraded", "Failed"] | None = Field(
        default=None, description="The state as one word. Idle, at zero replicas, is healthy."
    )
    message: str = Field(default="", description="What is happening, or what went wrong, as a sentence.")
    runbook: str | None = Field(
        default=None, max_length=LONGEST_URL, description="URL of what to do about it, while something is wrong."
    )
    url: str | None = Field(default=None, description="URL for requests, within the cluster or through the Gateway.")
    conditions: list[Condition] = Field(
        default_factory=list,
        max_length=32,
        description="Ready (a request would be answered now, if necessary after a wake), Planned, ModelLoaded, Scaled, "
        "Reachable, Reconciling and Stalled.",
        json_schema_extra=keyed("type"),
    )
    replicas: ReplicasStatus = Field(default_factory=ReplicasStatus, description="Numbers of replicas.")
    last_scaled: ScaledStatus | None = Field(
        default=None, description="The last change of the number of replicas, where scaling.target has times."
    )
    plan: PlanStatus | None = Field(
        default=None, description="The plan: the accelerator, its number, the memory, and why."
    )
    measured: MeasuredStatus | None = Field(default=None, description="Measured values, to compare with the plan.")
    last_cold_start: ColdStart | None = Field(
        default=None, description="Durations of the last start from zero, phase by phase."
    )
    compile_cache: CompileCacheStatus | None = Field(
        default=None, description="Where compiled code is kept now, and what the last start took from there."
    )
    model_cache: ModelCacheStatus | None = Field(default=None, description="Where the model's files are kept now.")
    model: ModelStatus | None = Field(
        default=None, description="What the model's own files say about it, if Slipway has read them."
    )
    made: MadeStatus | None = Field(default=None, description="What the pods were made from.")
    update: UpdateStatus | None = Field(
        default=None, description="Changes that a newer Slipway would make, once slipway.dev/sync asks for them."
    )
    slo: SloStatus | None = Field(default=None, description="How the objectives of spec.slo are counted.")
    cost: CostStatus | None = Field(default=None, description="The cost, by the prices of the accelerator profiles.")
    budget: BudgetStatus | None = Field(default=None, description="How much of spec.budget is spent.")
