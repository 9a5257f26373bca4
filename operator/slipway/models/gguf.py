"""The key-value pairs of a GGUF header → what is known of the model. Pure, for any input.

llama.cpp reads them by the name of the architecture: `llama.block_count`. Where it has a fact in its own code, as how
often a layer of Gemma 3 sees everything, it is here, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from slipway.contract.tasks import GGUF_ENCODERS, task_of_gguf
from slipway.models.facts import Evidence, Experts, Keeps, Layers, Model
from slipway.models.layers import MOST_LAYERS, NOTHING, grouped
from slipway.models.values import MOST, Config, Unclear, items, needed, text, whole

# Every nth layer sees everything; the others have a window.
SEES_ALL = {"gemma2": 2, "gemma3": 6, "gemma3n": 5, "cohere2": 4, "exaone4": 4, "gpt-oss": 2, "llama4": 4, "olmo2": 4}
SEES_ALL |= {"exaone-moe": 4, "smallthinker": 4, "gemma-embedding": 6}
WITHOUT_WINDOWS = ("llama", "phi3", "qwen2", "qwen2moe", "qwen3", "qwen3moe", "starcoder2", "mistral3", "falcon")
CHUNK_OF_LLAMA4 = 8_192
LATENT = ("deepseek2", "deepseek32", "minicpm3", "plm", "glm-dsa", "mistral4")
# What an unknown architecture has if its layers keep something else than keys and values for each token.
HINTS = (
    "ssm.",
    "wkv.",
    "shortconv.",
    "attention.kv_lora_rank",
    "attention.indexer.",
    "attention.shared_kv_layers",
    "kda.",
)


def model_of_gguf(pairs: Mapping[str, Any], *, name: str = "", tokens: int | None = None) -> Model:
    """`tokens`: the length of its vocabulary, which isn't among the pairs that are kept."""
    architecture = text(pairs, "general.architecture")
    told = _of_architecture(pairs, architecture)
    unclear: list[str] = ["parameters"]
    layers: tuple[Layers, ...] = ()
    try:
        layers = grouped(_layers(told, architecture))
    except Unclear as error:
        unclear.append(error.field)
    found = {
        "hiddenSize": whole(told, "embedding_length"),
        "attentionHeads": _largest(told, "attention.head_count"),
        "vocabularySize": whole(told, "vocab_size") or whole({"tokens": tokens}, "tokens"),
        "contextLength": whole(told, "context_length"),
    }
    return Model(
        name=name or text(pairs, "general.name"),
        architecture=architecture,
        model_type=architecture,
        task=task_of_gguf(architecture, told.get("pooling_type")).value,
        layers=layers,
        hidden_size=found["hiddenSize"],
        intermediate_size=_largest(told, "feed_forward_length"),
        attention_heads=found["attentionHeads"],
        vocabulary_size=found["vocabularySize"],
        context_length=found["contextLength"],
        longest_context=found["contextLength"],
        dtype="float16",
        experts=_experts(told),
        evidence={field: Evidence.EXACT for field, value in found.items() if value is not None},
        missing=tuple(dict.fromkeys([*unclear, *(field for field, value in found.items() if value is None)])),
    )


def _of_architecture(pairs: Config, architecture: str) -> dict[str, Any]:
    prefix = f"{architecture}."
    return {key.removeprefix(prefix): value for key, value in pairs.items() if key.startswith(prefix)}


def _largest(told: Config, name: str) -> int | None:
    """Some fields have one value for each layer."""
    values = [value for value in items(told, name) or [] if isinstance(value, int) and 0 < value <= MOST]
    return max(values, default=None) if values else whole(told, name)


def _each(told: Config, name: str, count: int) -> list[int]:
    """Returns the value for each layer; 0 where a layer has none."""
    values = items(told, name)
    if values is None:
        return [whole(told, name, least=0) or 0] * count
    if len(values) < count or not all(isinstance(value, int) and 0 <= value <= MOST for value in values):
        raise Unclear("layers")
    return values[:count]


def _experts(told: Config) -> Experts | None:
    count, used = whole(told, "expert_count", most=100_000), whole(told, "expert_used_count", most=100_000)
    size = _largest(told, "expert_feed_forward_length") or _largest(told, "feed_forward_length")
    layers = (whole(told, "block_count", most=MOST_LAYERS) or 0) - (
        whole(told, "leading_dense_block_count", least=0) or 0
    )
    if not count or not used or not size or layers <= 0:
        return None
    return Experts(count=count, per_token=min(used, count), intermediate_size=size, layers=layers)


# --- what each layer keeps -------------------------------------------------------------------------------------------


def _layers(told: Config, architecture: str) -> list[Layers]:
    count = needed("layers", told, "block_count", most=MOST_LAYERS)
    count -= min(count - 1, whole(told, "nextn_predict_layers", least=0) or 0)
    if architecture in GGUF_ENCODERS:
        return [replace(NOTHING, count=count)]
    if architecture in LATENT:
        return [replace(_latent(told), count=count)]
    rule = RULES.get(architecture)
    if rule is None and any(key.startswith(HINTS) for key in told):
        raise Unclear("layers")
    return (rule or _attention)(told, architecture, count)


def _attention(told: Config, architecture: str, count: int) -> list[Layers]:
    heads = _each(told, "attention.head_count_kv", count)
    if not any(heads):
        heads = _each(told, "attention.head_count", count)
    if not any(heads):
        raise Unclear("kvHeads")
    layers = [_heads(told, each) if each else NOTHING for each in heads]
    shared = whole(told, "attention.shared_kv_layers", least=0) or 0
    layers = [NOTHING if index >= count - shared else layer for index, layer in enumerate(layers)]
    windows = _windows(told, architecture, count)
    return [
        _windowed(told, layer, window) if window and layer.kv_heads else layer
        for layer, window in zip(layers, windows, strict=True)
    ]


def _heads(told: Config, kv_heads: int) -> Layers:
    return Layers(count=1, kv_heads=kv_heads, key_size=_head_size(told, "key"), value_size=_head_size(told, "value"))


def _head_size(told: Config, of: str) -> int:
    size = whole(told, f"attention.{of}_length", most=1_000_000)
    heads = _largest(told, "attention.head_count")
    return size or max(1, needed("headDim", told, "embedding_length") // (heads or 1))


def _windowed(told: Config, layer: Layers, window: int) -> Layers:
    """Gemma 4's layers with a window have smaller heads."""
    return replace(
        layer,
        window=window,
        key_size=whole(told, "attention.key_length_swa", most=1_000_000) or layer.key_size,
        value_size=whole(told, "attention.value_length_swa", most=1_000_000) or layer.value_size,
    )


def _windows(told: Config, architecture: str, count: int) -> list[int]:
    """Returns the window of each layer; 0: it sees everything."""
    window = whole(told, "attention.sliding_window", "attention.chunk_size", most=1_000_000_000)
    if architecture == "llama4":
        window = whole(told, "attention.chunk_size") or CHUNK_OF_LLAMA4
    if not window or architecture in WITHOUT_WINDOWS:
        return [0] * count
    pattern = items(told, "attention.sliding_window_pattern")
    if pattern is not None:
        if len(pattern) < count:
            raise Unclear("slidingLayers")
        return [window if each else 0 for each in pattern[:count]]
    period = whole(told, "attention.sliding_window_pattern", most=MOST_LAYERS) or SEES_ALL.get(architecture)
    if period is None:
        raise Unclear("slidingLayers")
    return [window if (index + 1) % period else 0 for index in range(count)]


def _latent(told: Config) -> Layers:
    """Files from before multi-head latent attention was supported have keys and values of all heads instead."""
    size = whole(told, "attention.key_length_mla", most=1_000_000)
    if size is None:
        return _heads(told, needed("kvHeads", told, "attention.head_count_kv", most=1_000_000))
    rank = needed("latentSize", told, "attention.kv_lora_rank", most=1_000_000)
    rotary = whole(told, "rope.dimension_count", least=0, most=1_000_000) or 0
    return Layers(
        count=1,
        keeps=Keeps.LATENT,
        key_size=max(1, size - rotary),
        value_size=whole(told, "attention.value_length_mla", most=1_000_000) or size,
        latent_size=rank + rotary,
        rotary_size=rotary,
    )


# --- states, which llama.cpp keeps in 32 bits ------------------------------------------------------------------------


def _state(told: Config) -> Layers:
    inner = needed("stateBytes", told, "ssm.inner_size")
    size, kernel = (
        needed("stateBytes", told, "ssm.state_size", most=1 << 20),
        needed("stateBytes", told, "ssm.conv_kernel"),
    )
    convolved = inner + 2 * (whole(told, "ssm.group_count", least=0, most=1 << 20) or 0) * size
    return Layers(count=1, keeps=Keeps.STATE, state_32_bit=min(MOST, (kernel - 1) * convolved + inner * size))


def _convolution(told: Config) -> Layers:
    kernel = needed("stateBytes", told, "shortconv.l_cache", most=1 << 20)
    return Layers(
        count=1, keeps=Keeps.STATE, state_32_bit=(kernel - 1) * needed("hiddenSize", told, "embedding_length")
    )


def _by_heads(state: Callable[[Config], Layers]) -> Callable[[Config, str, int], list[Layers]]:
    """Layers without heads for keys and values have a state."""

    def rule(told: Config, architecture: str, count: int) -> list[Layers]:
        heads = _each(told, "attention.head_count_kv", count)
        return [_heads(told, each) if each else state(told) for each in heads]

    return rule


def _nemotron_h(told: Config, architecture: str, count: int) -> list[Layers]:
    """Layers without heads have a state, or an MLP."""
    heads, sizes = _each(told, "attention.head_count_kv", count), _each(told, "feed_forward_length", count)
    state = _state(told)
    return [_heads(told, each) if each else NOTHING if size else state for each, size in zip(heads, sizes, strict=True)]


def _every_nth(told: Config, architecture: str, count: int) -> list[Layers]:
    """Qwen3-Next and Qwen3.5: attention in each fourth layer."""
    period = whole(told, "full_attention_interval", most=MOST_LAYERS) or 4
    attention, state = _attention(told, architecture, 1)[0], _state(told)
    return [state if (index + 1) % period else attention for index in range(count)]


def _both(told: Config, architecture: str, count: int) -> list[Layers]:
    state = _state(told)
    return [replace(each, state_32_bit=state.state_32_bit) for each in _attention(told, architecture, count)]


def _state_alone(told: Config, architecture: str, count: int) -> list[Layers]:
    return [replace(_state(told), count=count)]


RULES: dict[str, Callable[[Config, str, int], list[Layers]]] = {
    **dict.fromkeys(("granitehybrid", "jamba", "bamba"), _by_heads(_state)),
    **dict.fromkeys(("lfm2", "lfm2moe"), _by_heads(_convolution)),
    **dict.fromkeys(("nemotron_h", "nemotron_h_moe"), _nemotron_h),
    **dict.fromkeys(("qwen3next", "qwen35", "qwen35moe"), _every_nth),
    "falcon-h1": _both,
    **dict.fromkeys(("mamba", "mamba2"), _state_alone),
    **dict.fromkeys(("gemma3n", "gemma4"), _attention),
}
