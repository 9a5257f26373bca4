"""`spec.engine`: what runs the model, and how."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from slipway.api.kubernetes import keyed
from slipway.api.model import ServedName, Uri
from slipway.api.schema import ApiModel, Auto, ObjectName, Rule, cel, rules, whole_number_or_auto

VLLM, LLAMACPP = "vllm", "llamacpp"
ANY_CONCURRENCY = 16  # requests at a time, where neither the spec nor the plan says

# Flags that a field of ours writes: set the field, so that the plan knows of it.
FIELD_OF_FLAG = {
    "--served-model-name": "model.servedName",
    "--alias": "model.servedName",
    "-a": "model.servedName",
    "--revision": "model.revision",
    "--max-model-len": "engine.contextLength",
    "--ctx-size": "engine.contextLength",
    "-c": "engine.contextLength",
    "--max-num-seqs": "engine.maxConcurrency",
    "--parallel": "engine.maxConcurrency",
    "-np": "engine.maxConcurrency",
    "--quantization": "engine.quantization",
    "-q": "engine.quantization",
    "--kv-cache-dtype": "engine.kvCacheDtype",
    "--cache-type-k": "engine.kvCacheDtype",
    "--cache-type-v": "engine.kvCacheDtype",
    "-ctk": "engine.kvCacheDtype",
    "-ctv": "engine.kvCacheDtype",
    "--enable-prefix-caching": "engine.prefixCaching",
    "--no-enable-prefix-caching": "engine.prefixCaching",
    "--speculative-config": "engine.speculative",
    "--spec-method": "engine.speculative",
    "--spec-model": "engine.speculative",
    "--spec-tokens": "engine.speculative",
    "--model-draft": "engine.speculative",
    "-md": "engine.speculative",
    "--enable-lora": "engine.adapters",
    "--lora-modules": "engine.adapters",
    "--lora": "engine.adapters",
    "--tensor-parallel-size": "engine.parallelism.tensor",
    "-tp": "engine.parallelism.tensor",
    "--pipeline-parallel-size": "engine.parallelism.pipeline",
    "-pp": "engine.parallelism.pipeline",
    "--performance-mode": "engine.mode",
    "--otlp-traces-endpoint": "observability.tracing.endpoint",
}

# Flags that Slipway itself depends on.
OURS = (
    "--host",
    "--port",
    "--uds",
    "--model",
    "-m",
    "--model-tag",
    "--hf-repo",
    "-hf",
    "--config",
    "--root-path",
    "--api-server-count",
    "--headless",
    "--metrics",
    "--gpu-memory-utilization",
    "--device-memory-utilization",
    "--kv-cache-memory-bytes",
    "--data-parallel-size",
    "-dp",
    "--nnodes",
    "--node-rank",
    "--master-addr",
    "--master-port",
    "--download-dir",
    "--shutdown-timeout",
    "--disable-log-stats",
)

# Flags that open a hole, with the hole and the way out.
_OWN_RUNTIME = "if you must have it, name a ServingRuntime of your own in engine.name"
_RUNS_CODE = f"loads code by name into the engine; {_OWN_RUNTIME}"
_READS_FILES = f"lets clients read files of the pod; {_OWN_RUNTIME}"
_HIDES = "hides the engine from its probes; end TLS at access.gateway"
DANGEROUS = {
    "--trust-remote-code": f"runs code that comes with the model; {_OWN_RUNTIME}",
    "--middleware": _RUNS_CODE,
    "--worker-cls": _RUNS_CODE,
    "--worker-extension-cls": _RUNS_CODE,
    "--logits-processors": _RUNS_CODE,
    "--tool-parser-plugin": _RUNS_CODE,
    "--reasoning-parser-plugin": _RUNS_CODE,
    "--allowed-local-media-path": _READS_FILES,
    "--media-path": _READS_FILES,
    "--enable-sleep-mode": f"lets clients put the engine to sleep; {_OWN_RUNTIME}",
    "--slots": f"shows clients what others ask; {_OWN_RUNTIME}",
    "--props": f"lets clients change the engine's settings; {_OWN_RUNTIME}",
    "--api-key": "shows the key to all who can read the pod; name a Secret in access.apiKeysSecret",
    "--api-key-file": "keeps out clients whose keys are right; name a Secret in access.apiKeysSecret",
    "--ssl-keyfile": _HIDES,
    "--ssl-certfile": _HIDES,
    "--ssl-key-file": _HIDES,
    "--ssl-cert-file": _HIDES,
}

# vLLM takes `_` for `-`, and `--flag.key=value` for one key of a JSON value.
_FLAG = "self.split('=')[0].split('.')[0].replace('_', '-')"

ARGUMENT_RULES = (
    Rule(
        rule=r"!self.contains('{{')",
        message="must not contain '{{': KServe would read it as a template; write '{ {' in JSON, or put it into a file "
        "of a ConfigMap",
    ),
    Rule(
        rule=r"!self.matches('^--?[A-Za-z][-A-Za-z_.]*\\s')",
        message="is two arguments in one: write '--flag=value', or flag and value as two items",
    ),
    Rule(
        rule=f"!({_FLAG} in {cel(FIELD_OF_FLAG)})",
        message="is a flag that a field of the spec sets: set the field instead",
        says=f"{_FLAG} + ' is written by Slipway: set spec.' + {cel(FIELD_OF_FLAG)}[{_FLAG}] + ' instead'",
        why="FieldValueForbidden",
    ),
    Rule(
        rule=f"!({_FLAG} in {cel(list(OURS))})",
        message="is a flag that Slipway depends on and sets itself: leave it out",
        says=f"{_FLAG} + ' is set by Slipway, which depends on it: leave it out'",
        why="FieldValueForbidden",
    ),
    Rule(
        rule=f"!({_FLAG} in {cel(DANGEROUS)})",
        message="is a flag that opens a hole: leave it out, or serve with a ServingRuntime of your own",
        says=f"{_FLAG} + ' is refused because it ' + {cel(DANGEROUS)}[{_FLAG}]",
        why="FieldValueForbidden",
    ),
)


class SpeculativeSpec(ApiModel):
    """Several tokens guessed at once and checked by the model in one step: faster where the guesses are good."""

    method: Literal["ngram", "eagle3", "draft"] = Field(
        description="ngram guesses from the prompt and needs no model; eagle3 and draft guess with a small model."
    )
    tokens: int = Field(ge=1, le=16, description="How many tokens are guessed at a time.")
    model: Uri | None = Field(default=None, description="The small model that guesses, for eagle3 and draft.")

    constraints: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="self.method == 'ngram' || has(self.model)",
            message="this method guesses with a small model: set model, or choose method ngram",
            at=".model",
            why="FieldValueRequired",
        ),
        Rule(
            rule="self.method != 'ngram' || !has(self.model)",
            message="method ngram guesses without a model: leave model out, or choose eagle3 or draft",
            at=".model",
            why="FieldValueForbidden",
        ),
    )


class Adapter(ApiModel):
    """A LoRA adapter, served beside the model under a name of its own."""

    name: ServedName = Field(description='What clients send as "model" to get it.')
    uri: Uri = Field(description="Where the adapter's files are, as in model.uri.")


class ParallelismSpec(ApiModel):
    """How one replica is spread over several accelerators."""

    tensor: Annotated[int | Auto, whole_number_or_auto(1, 64)] = Field(
        default="Auto", description="Accelerators that share each layer; Auto takes as few as hold the model."
    )
    pipeline: int = Field(default=1, ge=1, le=64, description="Groups of accelerators that take layers in turn.")


class EngineSpec(ApiModel):
    """What runs the model, and how."""

    name: ObjectName = Field(
        default=VLLM,
        description="vllm (GPUs), llamacpp (CPUs and the edge), or the name of any ServingRuntime or "
        "ClusterServingRuntime.",
    )
    mode: Literal["Latency", "Balanced", "Throughput"] = Field(
        default="Balanced",
        description="What counts most: Latency answers each request fast, Throughput answers most in all.",
    )
    context_length: int | None = Field(
        default=None,
        ge=64,
        le=16_777_216,
        description="Most tokens of one request, question and answer together; by default what the plan can afford, up "
        "to the model's own.",
    )
    max_concurrency: int | None = Field(
        default=None,
        ge=1,
        le=4096,
        description="Most requests that one replica works on at a time; by default what the plan has memory for.",
    )
    quantization: Literal["None", "FP8", "AWQ", "GPTQ", "W8A8", "W4A16", "GGUF"] = Field(
        default="None",
        description="How the weights are made smaller: FP8 also online, the others as the checkpoint has them; None "
        "leaves them as they are.",
    )
    kv_cache_dtype: Literal["Auto", "FP16", "BF16", "FP8", "Q8", "Q4"] = Field(
        default="Auto",
        description="Type of the attention cache; a smaller one holds more tokens. FP8 is vLLM's, Q8 and Q4 are "
        "llama.cpp's.",
    )
    prefix_caching: bool = Field(
        default=True, description="Keeps the work done for a prompt's beginning, for the next prompt that begins alike."
    )
    speculative: SpeculativeSpec | None = Field(
        default=None, description="Guesses several tokens at once and checks them in one step."
    )
    adapters: list[Adapter] = Field(
        default_factory=list,
        max_length=64,
        description="LoRA adapters, loaded on every replica and chosen by name in the request.",
        json_schema_extra=keyed("name"),
    )
    parallelism: ParallelismSpec = Field(
        default_factory=ParallelismSpec, description="How one replica is spread over several accelerators."
    )
    extra_args: list[Annotated[str, Field(min_length=1, max_length=1024, json_schema_extra=rules(*ARGUMENT_RULES))]] = (
        Field(
            default_factory=list,
            max_length=64,
            description="Further arguments for the engine, as its own documentation writes them; those that Slipway "
            "sets itself, or that open a hole, are refused.",
            json_schema_extra={"x-kubernetes-list-type": "atomic"},
        )
    )

    constraints: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="self.name != 'llamacpp' || self.quantization in ['None', 'GGUF']",
            message="llamacpp serves GGUF files: set quantization to GGUF or None, or choose engine vllm",
            at=".quantization",
        ),
        Rule(
            rule="self.name != 'vllm' || self.quantization != 'GGUF'",
            message="vllm doesn't serve GGUF files: choose engine llamacpp, or another quantization",
            at=".quantization",
        ),
        Rule(
            rule="self.name != 'llamacpp' || self.kvCacheDtype != 'FP8'",
            message="llamacpp has no FP8 cache: set kvCacheDtype to Q8, FP16 or Auto",
            at=".kvCacheDtype",
        ),
        Rule(
            rule="self.name != 'vllm' || !(self.kvCacheDtype in ['Q8', 'Q4'])",
            message="vllm has no Q8 or Q4 cache: set kvCacheDtype to FP8, BF16 or Auto",
            at=".kvCacheDtype",
        ),
        Rule(
            rule="self.name != 'llamacpp' || (self.parallelism.pipeline == 1 && "
            "(type(self.parallelism.tensor) == string || self.parallelism.tensor == 1))",
            message="llamacpp runs a replica on one node's processors: leave parallelism out, or choose vllm",
            at=".parallelism",
        ),
        Rule(
            rule="self.name != 'llamacpp' || !has(self.speculative) || self.speculative.method != 'eagle3'",
            message="llamacpp doesn't know eagle3: choose draft or ngram, or engine vllm",
            at=".speculative",
        ),
    )
