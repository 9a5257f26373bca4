"""What holds for any model and any profile: hypothesis looks for counterexamples."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as some
from slipway.models.facts import Evidence, Experts, Keeps, Layers, Model, Quantization, Weights
from slipway.models.sources import Known
from slipway.operator.planning import Plan, Supply, Unplannable, make_plan
from slipway.operator.planning.memory import vllm
from slipway.operator.planning.memory.blocks import cache_of
from slipway.operator.planning.memory.releases import CURRENT
from slipway.operator.planning.memory.settings import GIB, Device, Settings
from slipway.operator.planning.supply import ProfileSupply
from support.builders.models import DEEPSEEK_LITE, GEMMA_12B, LLAMA_8B, LLAMA_70B, MIXTRAL, QWEN_14B
from support.builders.rendering import deployment, profile

PUBLISHED = some.sampled_from([LLAMA_8B, LLAMA_70B, QWEN_14B, GEMMA_12B, MIXTRAL, DEEPSEEK_LITE])
RUNS = some.builds(
    Settings,
    sequences=some.integers(1, 4096),
    batched_tokens=some.integers(1, 65536),
    utilization=some.floats(0.1, 1),
    largest_graph=some.integers(0, 512),
    adapters=some.integers(0, 8),
    is_drafting=some.booleans(),
)
SIZES = some.integers(1, 300).map(lambda count: count * GIB)
LENGTH = 8192


def tokens(model: Model, size: int, run: Settings) -> int:
    cache = cache_of(model, run, CURRENT)
    assert cache
    return cache.tokens(vllm.divide(model, Device(total=size), run, CURRENT).kv_cache, LENGTH)


@settings(deadline=None)
@given(PUBLISHED, SIZES, SIZES, RUNS)
def test_more_memory_never_holds_fewer_tokens(model: Model, one: int, other: int, run: Settings) -> None:
    assert tokens(model, min(one, other), run) <= tokens(model, max(one, other), run)


@settings(deadline=None)
@given(PUBLISHED, SIZES, RUNS)
def test_quantizing_never_makes_weights_larger(model: Model, size: int, run: Settings) -> None:
    small = vllm.divide(model, Device(total=size), replace(run, weight_bits=8), CURRENT)
    assert small.weights <= vllm.divide(model, Device(total=size), run, CURRENT).weights


@settings(deadline=None)
@given(PUBLISHED, SIZES, RUNS, some.sampled_from([1, 2, 4, 8]))
def test_twice_the_devices_never_need_more_weights_on_each(model: Model, size: int, run: Settings, tensor: int) -> None:
    few = vllm.divide(model, Device(total=size), replace(run, tensor=tensor), CURRENT)
    assert vllm.divide(model, Device(total=size), replace(run, tensor=2 * tensor), CURRENT).weights <= few.weights


@settings(deadline=None)
@given(PUBLISHED, SIZES, RUNS)
def test_what_is_planned_and_what_is_used_besides_fit_into_the_device(model: Model, size: int, run: Settings) -> None:
    memory = vllm.divide(model, Device(total=size), run, CURRENT)
    if memory.kv_cache:
        assert memory.weights + memory.overhead + memory.kv_cache + memory.outside <= memory.total


@settings(deadline=None)
@given(PUBLISHED, some.integers(0, 200 * GIB), RUNS, some.integers(1, 200_000))
def test_a_longer_request_never_needs_fewer_blocks(model: Model, size: int, run: Settings, length: int) -> None:
    cache = cache_of(model, run, CURRENT)
    assert cache
    assert cache.blocks(length) <= cache.blocks(length + 1)
    longest = cache.longest(size, at_most=length)
    assert longest == 0 or cache.request_bytes(longest) <= size


# --- nothing makes it raise ------------------------------------------------------------------------------------------

NUMBERS = some.one_of(some.integers(1, 300_000), some.integers(1, 10**12))
LAYERS = some.builds(
    Layers,
    count=some.integers(0, 10_000),
    keeps=some.sampled_from(Keeps),
    kv_heads=some.integers(0, 10_000),
    key_size=some.integers(0, 100_000),
    value_size=some.integers(0, 100_000),
    window=some.one_of(some.none(), some.integers(0, 10**7)),
    latent_size=some.integers(0, 10**6),
    state_16_bit=some.integers(0, 10**8),
    state_32_bit=some.integers(0, 10**8),
)
COUNTS = some.one_of(some.integers(0, 10**10), some.integers(0, 10**13))
WEIGHTS = some.builds(
    Weights,
    total=COUNTS,
    active=COUNTS,
    embedding=COUNTS,
    head=COUNTS,
    experts=COUNTS,
    encoders=COUNTS,
    unsplit=COUNTS,
    file_bytes=some.one_of(some.none(), COUNTS),
)
EXPERTS = some.builds(
    Experts,
    count=some.integers(0, 10_000),
    per_token=some.integers(0, 10_000),
    intermediate_size=some.integers(0, 10**6),
    layers=some.integers(0, 10_000),
)
QUANTIZATION = some.builds(
    Quantization,
    method=some.sampled_from(["fp8", "awq", "mxfp4", ""]),
    bits=some.floats(0, 64),
    group_size=some.one_of(some.none(), some.integers(0, 10**6)),
    only_experts=some.booleans(),
)
KNOWN: Any = some.builds(
    Model,
    architecture=some.sampled_from(["LlamaForCausalLM", ""]),
    task=some.sampled_from(["Generate", "Embed", "Rerank", ""]),
    layers=some.lists(LAYERS, min_size=1, max_size=4).map(tuple),
    hidden_size=NUMBERS,
    intermediate_size=some.one_of(some.none(), NUMBERS),
    attention_heads=some.one_of(some.none(), NUMBERS),
    vocabulary_size=NUMBERS,
    context_length=NUMBERS,
    longest_context=some.one_of(some.none(), NUMBERS),
    rope_values=some.integers(0, 10**12),
    dtype=some.sampled_from(["float32", "bfloat16", "int4", "strange"]),
    weights=WEIGHTS,
    experts=some.one_of(some.none(), EXPERTS),
    quantization=some.one_of(some.none(), QUANTIZATION),
    evidence=some.just({"parameters": Evidence.EXACT}),
)
UNKNOWN = some.tuples(KNOWN, some.sampled_from(["weights", "hidden_size", "context_length", "vocabulary_size"])).map(
    lambda pair: replace(pair[0], **{pair[1]: None})
)
SUPPLIES = some.builds(
    Supply,
    some.one_of(
        some.none(),
        some.dictionaries(
            some.sampled_from(["h100", "l4", "cpu"]),
            some.builds(
                ProfileSupply,
                nodes=some.integers(0, 5000),
                devices=some.integers(0, 5000),
                most_on_a_node=some.integers(0, 16),
                free=some.one_of(some.none(), some.integers(0, 99)),
                most_free_on_a_node=some.one_of(some.none(), some.integers(0, 16)),
                can_grow=some.booleans(),
            ),
        ),
    ),
)
SPECS: Any = some.fixed_dictionaries(
    {
        "engine": some.fixed_dictionaries(
            {
                "name": some.sampled_from(["vllm", "vllm", "llamacpp", "sglang"]),
                "mode": some.sampled_from(["Latency", "Balanced", "Throughput"]),
                "extraArgs": some.sampled_from([[], ["--max-num-batched-tokens=64"], ["--enforce-eager"]]),
            },
            optional={
                "contextLength": some.integers(64, 16_777_216),
                "maxConcurrency": some.integers(1, 4096),
                "parallelism": some.sampled_from([{"tensor": 3}, {"tensor": 8, "pipeline": 4}, {"pipeline": 2}]),
            },
        ),
        "accelerator": some.sampled_from([{}, {"profiles": ["l4", "none", "h100"]}, {"policy": "Fastest"}]),
    }
)
PROFILES = [
    profile("h100", bandwidth="3350G", compute={"bf16": 989}, features=["bf16", "fp8"], costPerHour=7),
    profile("l4", memory="64Mi"),
    profile("cpu", vendor="CPU", resource={"name": "cpu"}, memory="64Gi", nodeLabels={}, tolerations=[]),
]


@settings(max_examples=400, deadline=None)
@given(SPECS, some.one_of(KNOWN, KNOWN, UNKNOWN), SUPPLIES)
def test_no_spec_and_no_facts_make_planning_fail(spec: Any, model: Model, supply: Supply) -> None:
    made = make_plan(deployment(**spec).spec, PROFILES, name="llama", known=Known(model), supply=supply)
    assert isinstance(made, Plan | Unplannable)
    if isinstance(made, Unplannable):
        assert made.message.endswith((".", ")"))
