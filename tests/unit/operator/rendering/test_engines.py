"""Each field of the spec about the engine becomes a flag of the engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from slipway.api.llmdeployment import LLMDeployment
from slipway.api.reasons import Reason
from slipway.operator.planning.engines import RUNTIMES
from slipway.operator.rendering import Desired, Unrenderable
from slipway.operator.rendering.engines import ENGINES
from slipway_runtime import cli
from support.builders.rendering import (
    arguments,
    deployment,
    desired,
    of_kind,
    on_h100,
    plan,
    predictor,
    rendered,
    runtime,
)

OF_RUNTIME = ["--served-name=llama", "--drain-limit=120"]
NO_MEDIA = ["--allowed-media-domains", "/"]
ALWAYS = [*OF_RUNTIME, "--", "--max-num-seqs=256", "--enable-prefix-caching", *NO_MEDIA]

VLLM = [
    ({}, []),
    ({"contextLength": 8192}, ["--max-model-len=8192"]),
    ({"maxConcurrency": 64}, ["--max-num-seqs=64"]),
    ({"maxBatchedTokens": 4096}, ["--max-num-batched-tokens=4096"]),
    ({"toolCalls": "hermes", "reasoning": "None"}, ["--tool-calls=hermes", "--reasoning=None"]),
    ({"mode": "Latency"}, ["--mode=Latency"]),
    ({"mode": "Throughput"}, ["--mode=Throughput", "--max-num-seqs=512"]),
    ({"quantization": "FP8"}, ["--quantization=fp8"]),
    ({"quantization": "AWQ"}, []),
    ({"quantization": "GPTQ"}, []),
    ({"kvCacheDtype": "FP8"}, ["--kv-cache-dtype=fp8"]),
    ({"kvCacheDtype": "BF16"}, ["--kv-cache-dtype=bfloat16"]),
    (
        {"speculative": {"method": "ngram", "tokens": 4}},
        ['--speculative-config={"method":"ngram","num_speculative_tokens":4}'],
    ),
    (
        {"speculative": {"method": "draft", "tokens": 3, "model": "hf://org/small"}},
        ['--speculative-config={"method":"draft_model","model":"/mnt/draft","num_speculative_tokens":3}'],
    ),
    (
        {"adapters": [{"name": "sql", "uri": "s3://b/sql"}, {"name": "a/b", "uri": "s3://b/ab"}]},
        ["--enable-lora", "--max-loras=2", "--lora-modules", "sql=/mnt/adapters/sql", "a/b=/mnt/adapters/a%2Fb"],
    ),
    ({"parallelism": {"tensor": 2}}, ["--tensor-parallel-size=2"]),
    ({"parallelism": {"pipeline": 2}}, ["--pipeline-parallel-size=2"]),
    ({"extraArgs": ["--max-lora-rank=64"]}, ["--max-lora-rank=64"]),
]


@pytest.mark.parametrize(("engine", "flags"), VLLM, ids=[str(row[0]) for row in VLLM])
def test_fields_of_the_spec_become_flags_of_vllm(engine: dict[str, Any], flags: list[str]) -> None:
    assert [each for each in arguments(on_h100(engine=engine)) if each not in ALWAYS] == flags


def test_the_options_before_the_flags_of_vllm_are_understood_by_our_runtime() -> None:
    understood(["serve", "vllm", *arguments(on_h100(engine={"mode": "Latency", "contextLength": 8192}))])


def understood(command_line: list[str]) -> None:
    """Exits on an option that the runtime doesn't know."""
    ours = command_line[: command_line.index("--")] if "--" in command_line else command_line
    cli.parser().parse_args(ours)


def test_vllm_always_gets_its_name_drain_timeout_concurrency_and_prefix_caching_and_no_host() -> None:
    assert arguments(on_h100()) == ALWAYS


def test_vllm_without_prefix_caching() -> None:
    assert "--no-enable-prefix-caching" in arguments(on_h100(engine={"prefixCaching": False}))


# --- what the plan decides --------------------------------------------------------------------------------------------


def planned_arguments(wanted: LLMDeployment, **planned: Any) -> list[str]:
    found: list[str] = model_of(wanted, **planned)["args"]
    return found


def model_of(wanted: LLMDeployment, **planned: Any) -> Any:
    made = replace(plan(wanted), **planned)
    answer = rendered(wanted, made, serving_runtime=runtime(made.runtime))
    assert isinstance(answer, Desired), answer
    return of_kind(answer, "InferenceService")["spec"]["predictor"]["model"]


PLANNED: list[tuple[dict[str, Any], dict[str, Any], list[str]]] = [
    ({}, {"context_length": 6144}, ["--max-model-len=6144"]),
    ({"contextLength": 8192}, {"context_length": 8192}, ["--max-model-len=8192"]),
    ({"contextLength": 8192}, {"context_length": None}, ["--max-model-len=8192"]),
    ({}, {"max_concurrency": 40}, ["--max-num-seqs=40"]),
    ({}, {"tensor": 4, "gpus_per_replica": 4}, ["--tensor-parallel-size=4"]),
    ({}, {"kv_cache_bytes": 7, "weights_bytes": 5}, ["--kv-cache-bytes=7", "--weights-bytes=5"]),
    ({}, {"kv_cache_bytes": 7}, ["--kv-cache-bytes=7"]),
    ({}, {"weights_bytes": 5}, []),
    ({}, {"memory_share": 0.23}, ["--gpu-memory-utilization=0.23"]),
]


@pytest.mark.parametrize(("engine", "planned", "flags"), PLANNED)
def test_the_plan_becomes_options_of_vllm_and_of_our_runtime(
    engine: dict[str, Any], planned: dict[str, Any], flags: list[str]
) -> None:
    given = planned_arguments(on_h100(engine=engine), **planned)
    assert [each for each in given if each not in ALWAYS] == flags
    understood(["serve", "vllm", *given])


def test_the_runtimes_own_options_come_before_those_of_the_engine() -> None:
    given = planned_arguments(on_h100(), kv_cache_bytes=7, weights_bytes=5, context_length=64)
    assert given.index("--kv-cache-bytes=7") < given.index("--") < given.index("--max-model-len=64")


def test_llamacpp_gets_the_context_and_the_requests_that_its_cache_was_planned_for() -> None:
    given = planned_arguments(llamacpp(), context_length=2048, max_concurrency=2, kv_cache_bytes=7, weights_bytes=5)
    assert [each for each in given if each not in OF_RUNTIME] == ["--context-length=2048", "--parallel=2"]


def remarks_of(wanted: LLMDeployment, **planned: Any) -> list[str]:
    made = replace(plan(wanted), **planned)
    answer = rendered(wanted, made, serving_runtime=runtime(made.runtime))
    assert isinstance(answer, Desired), answer
    return [each for each in answer.remarks if "wins over" in each]


ADAPTERS = [{"name": "a", "uri": "s3://b/a"}, {"name": "b", "uri": "s3://b/b"}]
ON_CPUS = {"vendor": "CPU", "kv_cache_bytes": 4 << 30}
BY_HAND: list[tuple[dict[str, Any], dict[str, Any], list[str]]] = [
    ({"engine": {"extraArgs": ["--seed=1"]}}, {}, []),
    (
        {"engine": {"adapters": ADAPTERS, "extraArgs": ["--max_loras=1"]}},
        {},
        ["engine.extraArgs: --max_loras=1 wins over --max-loras=2."],
    ),
    (
        {"pod": {"env": [{"name": "VLLM_CPU_KVCACHE_SPACE", "value": "9"}]}},
        ON_CPUS,
        ["pod.env: VLLM_CPU_KVCACHE_SPACE wins over the plan's KV cache of 4.00Gi."],
    ),
    ({"pod": {"env": [{"name": "VLLM_CPU_KVCACHE_SPACE", "value": "9"}]}}, {}, []),
    ({}, ON_CPUS, []),
]


@pytest.mark.parametrize(("spec", "planned", "remarks"), BY_HAND)
def test_a_value_that_is_set_by_hand_wins_and_the_object_says_so(
    spec: dict[str, Any], planned: dict[str, Any], remarks: list[str]
) -> None:
    assert remarks_of(on_h100(**spec), **planned) == remarks


# --- the rest ---------------------------------------------------------------------------------------------------------


def test_extra_arguments_come_last_so_that_they_win() -> None:
    assert arguments(on_h100(engine={"extraArgs": ["-O3"]}))[-1] == "-O3"


SERVED_BY: dict[str, Callable[..., LLMDeployment]] = {
    "vllm": on_h100,
    "llamacpp": lambda **spec: deployment(engine={"name": "llamacpp"}, **spec),
}
TRACING = {"tracing": {"endpoint": "http://otel:4318", "sampleRatio": 0.5}}


@pytest.mark.parametrize("engine", ["vllm", "llamacpp"])
def test_traces_are_sent_to_the_endpoint_of_the_spec_under_the_name_of_the_deployment(engine: str) -> None:
    wanted = SERVED_BY[engine](observability=TRACING)
    given = arguments(wanted)
    assert {"--traces-endpoint=http://otel:4318", "--traces-sample-ratio=0.5"} <= set(given)
    understood(["serve", engine, *given])
    environment = {each["name"]: each["value"] for each in predictor(wanted)["model"]["env"]}
    environment.pop("VLLM_MEDIA_URL_ALLOW_REDIRECTS", None)
    assert environment == {
        "OTEL_SERVICE_NAME": "llama",
        "OTEL_RESOURCE_ATTRIBUTES": "service.namespace=chat,k8s.namespace.name=chat",
    }


@pytest.mark.parametrize("engine", ["vllm", "llamacpp"])
def test_without_a_collector_there_is_no_setting_for_traces(engine: str) -> None:
    wanted = SERVED_BY[engine]()
    assert not [each for each in arguments(wanted) if "traces" in each]
    assert not [each for each in predictor(wanted)["model"].get("env", []) if "OTEL" in each["name"]]


def llamacpp(**engine: Any) -> Any:
    return deployment(engine={"name": "llamacpp", **engine})


@pytest.mark.parametrize(
    ("engine", "flags"),
    [
        ({}, ["--parallel=4"]),
        ({"contextLength": 4096, "maxConcurrency": 2}, ["--context-length=4096", "--parallel=2"]),
        ({"mode": "Latency"}, ["--mode=Latency", "--parallel=1"]),
        ({"maxBatchedTokens": 1024}, ["--parallel=4", "--batched-tokens=1024"]),
        ({"toolCalls": "None"}, ["--tool-calls=None", "--parallel=4"]),
        ({"mode": "Throughput", "maxConcurrency": 2}, ["--mode=Throughput", "--parallel=2"]),
        ({"extraArgs": ["--n_batch=512"]}, ["--parallel=4", "--", "--n_batch=512"]),
    ],
)
def test_our_llamacpp_understands_its_flags(engine: dict[str, Any], flags: list[str]) -> None:
    given = arguments(llamacpp(**engine))
    assert [each for each in given if each not in OF_RUNTIME] == flags
    understood(["serve", "llamacpp", *given])


def test_a_field_that_llamacpp_does_not_support_is_refused() -> None:
    wanted = llamacpp(kvCacheDtype="Q8", adapters=[{"name": "sql", "uri": "pvc://a/b"}])
    answer = rendered(wanted, plan(wanted), serving_runtime=runtime("slipway-llamacpp"))
    assert answer == Unrenderable(
        Reason.INVALID_SPEC,
        "llamacpp can't carry out engine.kvCacheDtype, engine.adapters: leave it out, or choose another engine.",
    )


def test_a_third_party_runtime_gets_extra_arguments_and_its_own_format_and_port() -> None:
    wanted = deployment(engine={"name": "sglang", "extraArgs": ["--x"], "contextLength": 4096})
    theirs = runtime("sglang", ports=[{"containerPort": 30000}])
    theirs["spec"]["supportedModelFormats"] = [{"name": "safetensors", "version": "1"}]
    answer = desired(wanted, serving_runtime=theirs)
    model = predictor(wanted, serving_runtime=theirs)["model"]
    service = answer.apply[0].manifest
    assert (model["runtime"], model["modelFormat"], model["args"]) == ("sglang", {"name": "safetensors"}, ["--x"])
    assert service["spec"]["ports"][0]["targetPort"] == 30000
    assert any(sentence.startswith("engine.contextLength:") for sentence in answer.remarks)


def test_tracing_of_a_third_party_runtime_is_left_to_it() -> None:
    answer = desired(deployment(engine={"name": "sglang"}, observability=TRACING), serving_runtime=runtime("sglang"))
    assert any(sentence.startswith("observability.tracing: the ServingRuntime sglang") for sentence in answer.remarks)


def test_a_missing_runtime_is_reported() -> None:
    wanted = deployment(engine={"name": "sglang"})
    answer = rendered(wanted, plan(wanted), serving_runtime=None)
    assert answer == Unrenderable(
        Reason.RUNTIME_MISSING,
        "There is no ServingRuntime or ClusterServingRuntime sglang: create one, or choose vllm or llamacpp in "
        "engine.name, which are part of Slipway.",
    )


OF_OTHERS = ["slipway-llamacpp-1-aa", "slipway-vllm-rocm-1-aa", "theirs"]


@pytest.mark.parametrize("name", OF_OTHERS)
def test_the_runtime_of_the_pods_replaces_no_missing_one_of_another_engine_or_hardware(name: str) -> None:
    wanted, live = on_h100(), {"spec": {"predictor": {"model": {"runtime": name}}}}
    answer = rendered(wanted, plan(wanted), serving_runtime=None, pods_runtime=runtime(name), inference_service=live)
    assert isinstance(answer, Unrenderable)
    assert answer.reason is Reason.RUNTIME_MISSING
    assert "There is no ServingRuntime or ClusterServingRuntime slipway-vllm-cuda:" in answer.message


def test_every_engine_that_can_be_planned_can_be_rendered() -> None:
    assert set(ENGINES) == set(RUNTIMES)


# --- media -----------------------------------------------------------------------------------------------------------


def test_vllm_fetches_nothing_that_a_request_names_unless_its_host_is_listed() -> None:
    given = arguments(on_h100())
    place = given.index("--allowed-media-domains")
    hosts = given[place + 1 : place + 2]
    assert hosts == ["/"], "an empty list would allow every host, and no host has this name"


def test_vllm_gets_the_hosts_that_media_may_come_from() -> None:
    given = arguments(on_h100(engine={"mediaDomains": ["images.example.com", "cdn.example.com"]}))
    assert given[-3:] == ["--allowed-media-domains", "images.example.com", "cdn.example.com"]


def test_a_listed_host_cannot_lead_vllm_to_another() -> None:
    environment = predictor(on_h100())["model"]["env"]
    assert {"name": "VLLM_MEDIA_URL_ALLOW_REDIRECTS", "value": "0"} in environment
