"""`spec.engine`: what runs the model, and how."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from slipway.api.arguments import LET_THROUGH, ONE_ARGUMENT
from slipway.api.kubernetes import keyed
from slipway.api.model import ServedName, Uri
from slipway.api.schema import LIST_TYPE, ApiModel, Auto, ObjectName, Rule, cel, matches, text, whole_number_or_auto
from slipway.contract.engines import OTHER_RUNTIMES, VLLM

ANY_CONCURRENCY = 16  # requests at a time, where neither the spec nor the plan says
MOST_CONCURRENCY = 4096

MEDIA_DOMAIN = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?\.)+[a-z]([-a-z0-9]*[a-z0-9])?$"
MediaDomain = Annotated[
    str,
    matches(
        MEDIA_DOMAIN,
        "must be a host's whole name in lower case, such as images.example.com: no address, port or wildcard",
    ),
]
Argument = Annotated[str, Field(min_length=1), text(1024, "write '{ {' in JSON"), ONE_ARGUMENT]


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
        default=VLLM.name,
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
        le=MOST_CONCURRENCY,
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
    media_domains: list[MediaDomain] = Field(
        default_factory=list,
        max_length=32,
        description="Hosts from which vLLM may fetch the pictures, sounds and films that requests name by their URL, "
        "redirects excepted; by default none. What requests bring along themselves needs none.",
        json_schema_extra={LIST_TYPE: "set"},
    )
    extra_args: list[Argument] = Field(
        default_factory=list,
        max_length=64,
        description="Further flags for the engine, as its own documentation writes them, each as one item, such as "
        "--seed=1; those that Slipway sets itself, or doesn't know to be harmless, are refused.",
        json_schema_extra={LIST_TYPE: "atomic"},
    )

    constraints: ClassVar[tuple[Rule, ...]] = (
        LET_THROUGH,
        Rule(
            rule=f"!self.name.startsWith('slipway-') || self.name in {cel(OTHER_RUNTIMES)}",
            message="names that begin with slipway- are those of Slipway's own runtimes: name vllm, llamacpp or one of "
            f"{', '.join(OTHER_RUNTIMES)}, or give a ServingRuntime of your own another name",
            at=".name",
            why="FieldValueForbidden",
        ),
        Rule(
            rule="self.name == 'vllm' || !has(self.mediaDomains) || size(self.mediaDomains) == 0",
            message="only vllm fetches media by their URL: leave mediaDomains out, or choose engine vllm",
            at=".mediaDomains",
            why="FieldValueForbidden",
        ),
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
