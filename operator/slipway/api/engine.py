"""`spec.engine`: the engine that runs the model, and its settings."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from slipway.api.arguments import LET_THROUGH, ONE_ARGUMENT
from slipway.api.compile_cache import CompileCache
from slipway.api.kubernetes import keyed
from slipway.api.model import ServedName, Uri
from slipway.api.schema import (
    LEFT_TO_THE_OPERATOR,
    LIST_TYPE,
    ApiModel,
    Auto,
    ObjectName,
    Rule,
    cel,
    matches,
    text,
    whole_number_or_auto,
)
from slipway.contract import parsers
from slipway.contract.engines import BUILT_IN, OTHER_RUNTIMES, VLLM

ANY_CONCURRENCY = 16  # concurrent requests, if neither the spec nor the plan sets a number
MOST_CONCURRENCY = 4096
MOST_BATCHED = 1 << 20
COMPILING = sorted(each.name for each in BUILT_IN if each.compile_cache)  # engines with a compile cache

MEDIA_DOMAIN = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?\.)+[a-z]([-a-z0-9]*[a-z0-9])?$"
MediaDomain = Annotated[
    str,
    matches(
        MEDIA_DOMAIN,
        "must be a full host name in lower case, such as images.example.com: no address, port or wildcard",
    ),
]
Argument = Annotated[str, Field(min_length=1), text(1024, "write '{ {' in JSON"), ONE_ARGUMENT]


Parser = Annotated[
    str,
    matches(r"^[A-Za-z0-9][-A-Za-z0-9._]*$", "must be Auto, None or the name of a parser, such as hermes", at_most=64),
]


class SpeculativeSpec(ApiModel):
    """Speculative decoding: several tokens are drafted, and the model verifies them in one step."""

    method: Literal["ngram", "eagle3", "draft"] = Field(
        description="ngram drafts tokens from the prompt, without a model; eagle3 and draft use a draft model."
    )
    tokens: int = Field(ge=1, le=16, description="Number of tokens that are drafted per step.")
    model: Uri | None = Field(default=None, description="The draft model, for eagle3 and draft.")

    constraints: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="self.method == 'ngram' || has(self.model)",
            message="this method needs a draft model: set model, or choose method ngram",
            at=".model",
            why="FieldValueRequired",
        ),
        Rule(
            rule="self.method != 'ngram' || !has(self.model)",
            message="method ngram needs no draft model: remove model, or choose eagle3 or draft",
            at=".model",
            why="FieldValueForbidden",
        ),
    )


class Adapter(ApiModel):
    """A LoRA adapter, served under its own name by the replicas of the model."""

    name: ServedName = Field(description='The name that clients send as "model" to use it.')
    uri: Uri = Field(description="Where the adapter's files are, in the form of model.uri.")


class ParallelismSpec(ApiModel):
    """How one replica is distributed over several accelerators."""

    tensor: Annotated[int | Auto, whole_number_or_auto(1, 64)] = Field(
        default="Auto",
        description="Tensor parallelism: accelerators that each layer is split over. Auto uses as few as hold the "
        "model.",
    )
    pipeline: int = Field(
        default=1, ge=1, le=64, description="Pipeline parallelism: stages that the layers are divided into."
    )


PARSERS = {"toolCalls": parsers.TOOL_CALLS, "reasoning": parsers.REASONING}


def _known_parser(field: str, names: Collection[str]) -> Rule:
    message = f"is not one of vLLM's parsers: write Auto, None, or one of {', '.join(names)}"
    return Rule(
        rule=f"!has(self.{field}) || self.name != 'vllm' || self.{field} in {cel(['Auto', 'None', *names])}",
        message=message,
        says=f"'{field} ' + self.{field} + ' ' + {cel(message)}",
        at=f".{field}",
    )


def _own_format(field: str) -> Rule:
    message = "can't be chosen for llamacpp, which reads the format from the chat template: write Auto or None, or "
    return Rule(
        rule=f"!has(self.{field}) || self.name != 'llamacpp' || self.{field} in ['Auto', 'None']",
        message=message + "choose engine vllm",
        says=f"'{field} ' + self.{field} + ' ' + {cel(message + 'choose engine vllm')}",
        at=f".{field}",
        why="FieldValueForbidden",
    )


class EngineSpec(ApiModel):
    """The engine that runs the model, and its settings."""

    name: ObjectName = Field(
        default=VLLM.name,
        description="vllm (GPUs), llamacpp (CPUs and the edge), or the name of a ServingRuntime or "
        "ClusterServingRuntime.",
    )
    mode: Literal["Latency", "Balanced", "Throughput"] = Field(
        default="Balanced",
        description="What to optimise for: Latency answers each request faster, Throughput more requests in total.",
    )
    context_length: int | None = Field(
        default=None,
        ge=64,
        le=16_777_216,
        description="Maximum tokens of one request, prompt and completion together; by default as many as the plan has "
        "memory for, up to the model's own maximum.",
    )
    max_concurrency: int | None = Field(
        default=None,
        ge=1,
        le=MOST_CONCURRENCY,
        description="Maximum concurrent requests of one replica; by default as many as the plan has memory for.",
    )
    max_batched_tokens: int | None = Field(
        default=None,
        ge=32,
        le=MOST_BATCHED,
        description="Maximum tokens that one step computes, of all requests together; by default what the engine takes "
        "on this hardware in this mode. More of them read long prompts faster, delay the tokens of other requests "
        "longer, and take more memory.",
    )
    quantization: Literal["None", "FP8", "AWQ", "GPTQ", "W8A8", "W4A16", "GGUF"] = Field(
        default="None",
        description="Quantization of the weights: FP8 can be applied while loading, the others must be in the "
        "checkpoint; None loads the weights as they are.",
    )
    kv_cache_dtype: Literal["Auto", "FP16", "BF16", "FP8", "Q8", "Q4"] = Field(
        default="Auto",
        description="Data type of the KV cache; with a smaller one the cache holds more tokens. FP8 is for vLLM, Q8 "
        "and Q4 are for llama.cpp.",
    )
    prefix_caching: bool = Field(
        default=True, description="Prefix caching: reuses the KV cache for prompts that start with the same tokens."
    )
    speculative: SpeculativeSpec | None = Field(
        default=None, description="Speculative decoding: drafts several tokens and verifies them in one step."
    )
    adapters: list[Adapter] = Field(
        default_factory=list,
        max_length=64,
        description="LoRA adapters, loaded by every replica; a request selects one by its name.",
        json_schema_extra=keyed("name"),
    )
    parallelism: ParallelismSpec = Field(
        default_factory=ParallelismSpec, description="Tensor and pipeline parallelism of one replica."
    )
    tool_calls: Parser = Field(
        default="Auto",
        description="How calls of tools are found in what the model writes: Auto, the default, by its chat template, "
        "None not at all, so that requests with tools are refused; or the name of one of vLLM's parsers, such as "
        "hermes.",
        json_schema_extra=LEFT_TO_THE_OPERATOR,
    )
    reasoning: Parser = Field(
        default="Auto",
        description="How the model's reasoning is separated from its answer: Auto, the default, by its chat template, "
        "None not at all; or the name of one of vLLM's parsers, such as deepseek_r1.",
        json_schema_extra=LEFT_TO_THE_OPERATOR,
    )
    media_domains: list[MediaDomain] = Field(
        default_factory=list,
        max_length=32,
        description="Hosts from which vLLM may fetch images, audio and video that requests reference by URL, without "
        "redirects; by default none. Media inside a request need no entry.",
        json_schema_extra={LIST_TYPE: "set"},
    )
    compile_cache: CompileCache = Field(
        default_factory=CompileCache,
        description="Where compiled code is kept, so that later starts of vLLM don't compile it again.",
    )
    extra_args: list[Argument] = Field(
        default_factory=list,
        max_length=64,
        description="Additional flags for the engine, as in its own documentation, one per item, such as --seed=1. "
        "Flags that Slipway sets itself, or doesn't know to be harmless, are refused.",
        json_schema_extra={LIST_TYPE: "atomic"},
    )

    constraints: ClassVar[tuple[Rule, ...]] = (
        LET_THROUGH,
        Rule(
            rule=f"!self.name.startsWith('slipway-') || self.name in {cel(OTHER_RUNTIMES)}",
            message="names that start with slipway- are reserved for Slipway's own runtimes: use vllm, llamacpp or one "
            f"of {', '.join(OTHER_RUNTIMES)}, or give your own ServingRuntime another name",
            at=".name",
            why="FieldValueForbidden",
        ),
        Rule(
            rule="!has(self.maxBatchedTokens) || !has(self.maxConcurrency) || self.name != 'vllm' || "
            "self.maxBatchedTokens >= self.maxConcurrency",
            message="vllm needs a token of each step for each concurrent request: raise maxBatchedTokens to "
            "maxConcurrency at least, or lower maxConcurrency",
            at=".maxBatchedTokens",
        ),
        *(_known_parser(field, names) for field, names in PARSERS.items()),
        *(_own_format(field) for field in PARSERS),
        Rule(
            rule="self.name == 'vllm' || !has(self.mediaDomains) || size(self.mediaDomains) == 0",
            message="only vllm fetches media by URL: remove mediaDomains, or choose engine vllm",
            at=".mediaDomains",
            why="FieldValueForbidden",
        ),
        Rule(
            rule=f"self.name in {cel(COMPILING)} || (self.compileCache.kind in ['Auto', 'None'] && "
            "!has(self.compileCache.size) && !has(self.compileCache.storageClassName))",
            message="this engine compiles nothing that could be kept: remove compileCache, or choose "
            + " or ".join(COMPILING),
            at=".compileCache",
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
            message="llamacpp runs a replica on the CPUs of one node: remove parallelism, or choose vllm",
            at=".parallelism",
        ),
        Rule(
            rule="self.name != 'llamacpp' || !has(self.speculative) || self.speculative.method != 'eagle3'",
            message="llamacpp doesn't support eagle3: choose draft or ngram, or engine vllm",
            at=".speculative",
        ),
    )


def engine_name(spec: object) -> str:
    """The name of the engine in the spec as the API server has it, or the default; an older CRD may have admitted a
    spec of any form."""
    engine = spec.get("engine") if isinstance(spec, dict) else None
    named = engine.get("name") if isinstance(engine, dict) else None
    return str(named or EngineSpec.model_fields["name"].default)
