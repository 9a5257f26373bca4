"""What each layer of a model keeps of a request, from its config.json. Pure.

The same field has other meanings in other families: so each family that isn't plain has its own rule here. A family
that isn't known is taken for plain attention only if nothing in its config hints at another kind.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from slipway.models import states
from slipway.models.attention import (
    attention,
    attention_of_zamba2,
    latent_attention,
    latent_rank,
    window_of,
)
from slipway.models.facts import Keeps, Layers
from slipway.models.nas_blocks import layers_of_nas
from slipway.models.values import Config, Unclear, flag, items, needed, section, text, whole

MOST_LAYERS = 4096
NOTHING = Layers(count=1, keeps=Keeps.NOTHING)
INDEX_BLOCK = 128  # values of DeepSeek-V3.2's index that share a scale of 4 bytes; a value has one byte
ENCODERS = (
    *("bert", "camembert", "distilbert", "electra", "modernbert", "mpnet", "new", "nomic_bert", "roberta"),
    *("xlm-roberta",),
)

# What a config of an unknown family has if its layers keep something else than keys and values, or not for all tokens.
HINTS = re.compile(
    "ssm|mamba|conv|linear_attn|linear_attention|lightning|kv_lora|latent|compress|sparse_attention|index_topk|index_head"
    "|kv_shared|block_configs|attn_layer|recurrent|rwkv|wkv|retention|layers_block_type|hybrid|cross_attention|state_size"
    "|chunk_size|global_attn|sliding_windows|cache_implementation|per_layer_config"
)


def layers_of(told: Config) -> tuple[Layers, ...]:
    """Returns the layers in groups; `told` has the language model's fields with the defaults of its class."""
    model_type = text(told, "model_type")
    if model_type in ENCODERS:
        return (replace(NOTHING, count=_count(told)),)
    rule = RULES.get(model_type)
    if rule is None and (hint := next((key for key in told if _hints(key, told[key])), None)):
        raise Unclear("slidingWindow" if "window" in hint or "chunk" in hint else "layers")
    return grouped((rule or by_layer_types)(told))


def grouped(layers: Iterable[Layers]) -> tuple[Layers, ...]:
    found: dict[Layers, int] = {}
    for each in layers:
        found[replace(each, count=1)] = found.get(replace(each, count=1), 0) + each.count
    return tuple(replace(each, count=count) for each, count in found.items())


def _uniform(told: Config, layer: Layers) -> list[Layers]:
    return [replace(layer, count=_count(told))]


def _count(told: Config) -> int:
    return needed("layers", told, "num_hidden_layers", "n_layer", "num_layers", "n_layers", most=MOST_LAYERS)


def _hints(key: str, value: Any) -> bool:
    return bool(value) and HINTS.search(key) is not None and not isinstance(value, str)


# --- by the list of layer types --------------------------------------------------------------------------------------


def by_layer_types(told: Config) -> list[Layers]:
    """Takes the list in the config; without one, all layers have the same window, if there is any."""
    types = layer_types(told)
    if types is None:
        if latent_rank(told):
            raise Unclear("latentSize")
        window = whole(told, "sliding_window") if flag(told, "use_sliding_window", default=True) else None
        return _uniform(told, attention(told, window))
    return [_of_type(told, each) for each in types]


def layer_types(told: Config) -> list[Any] | None:
    """Some lists go on with layers for speculative decoding."""
    types, count = items(told, "layer_types", "layers_block_type"), _count(told)
    if types is not None and len(types) < count:
        raise Unclear("layers")
    return None if types is None else types[:count]


def _of_type(told: Config, layer_type: Any) -> Layers:
    if layer_type in ("full_attention", "attention", "global_attention"):
        return attention(told)
    if layer_type in ("sliding_attention", "local_attention"):
        return attention(told, window_of(told))
    if layer_type == "chunked_attention":
        return attention(told, window_of(told, "attention_chunk_size"))
    raise Unclear("layers")


def every(period: int) -> Callable[[Config], list[Layers]]:
    """Windows, but for each nth layer, where the config has no list."""

    def rule(told: Config) -> list[Layers]:
        if items(told, "layer_types") is not None:
            return by_layer_types(told)
        every_nth = whole(told, "sliding_window_pattern", "_sliding_window_pattern", most=MOST_LAYERS) or period
        window = window_of(told)
        local, everything = attention(told, window), attention(told)
        return [local if (index + 1) % every_nth else everything for index in range(_count(told))]

    return rule


# --- families with rules of their own --------------------------------------------------------------------------------


def _qwen(told: Config) -> list[Layers]:
    """The first layers see everything, if any has a window at all."""
    if items(told, "layer_types") is not None:
        return by_layer_types(told)
    if not flag(told, "use_sliding_window") or not whole(told, "sliding_window"):
        return _uniform(told, attention(told))
    first = whole(told, "max_window_layers", least=0) or 0
    local, everything = attention(told, window_of(told)), attention(told)
    return [local if index >= first else everything for index in range(_count(told))]


def _all_see_everything(told: Config) -> list[Layers]:
    return _uniform(told, attention(told))


def _cohere2(told: Config) -> list[Layers]:
    """vLLM's window has one token more."""
    return [replace(each, window=each.window + 1) if each.window else each for each in every(4)(told)]


def _exaone4(told: Config) -> list[Layers]:
    pattern = text(told, "sliding_window_pattern")
    if items(told, "layer_types") is not None or not pattern:
        return by_layer_types(told) if not whole(told, "sliding_window_pattern") else every(4)(told)
    if not whole(told, "sliding_window"):
        return _uniform(told, attention(told))
    local, everything, count = attention(told, window_of(told)), attention(told), _count(told)
    kinds = [pattern[index % len(pattern)] for index in range(count - 1)]
    return [local if kind == "L" else everything for kind in kinds] + [everything]  # the last is global in any case


def _llama4(told: Config) -> list[Layers]:
    """Layers without rotary embeddings see everything, others a chunk."""
    if not whole(told, "attention_chunk_size"):
        return _uniform(told, attention(told))
    if items(told, "layer_types") is not None:
        return by_layer_types(told)
    local, everything = attention(told, window_of(told, "attention_chunk_size")), attention(told)
    count, period = _count(told), whole(told, "no_rope_layer_interval", most=MOST_LAYERS) or 4
    rotary = items(told, "no_rope_layers") or [int((index + 1) % period != 0) for index in range(count)]
    if len(rotary) < count:
        raise Unclear("slidingLayers")
    return [local if rotary[index] else everything for index in range(count)]


def _gemma3n(told: Config) -> list[Layers]:
    """The last layers read the keys and values of earlier ones."""
    layers = every(5)(told)
    shared = whole(told, "num_kv_shared_layers", least=0) or 0
    return [*layers[: len(layers) - shared], *[NOTHING] * min(shared, len(layers))]


def _gemma4(told: Config) -> list[Layers]:
    return [layer if kept else NOTHING for layer, kept in gemma4_layers(told)]


def gemma4_layers(told: Config) -> list[tuple[Layers, bool]]:
    """Returns each layer's attention, and whether it keeps keys and values itself: the last ones may read earlier ones.

    Global layers have heads of their own.
    """
    if "per_layer_config" in told:
        raise Unclear("layers")
    wide = {**told, "head_dim": told.get("global_head_dim") or 512}
    if flag(told, "attention_k_eq_v") and whole(told, "num_global_key_value_heads"):
        wide["num_key_value_heads"] = told["num_global_key_value_heads"]
    types = layer_types(told)
    if types is None:
        types = ["sliding_attention" if (index + 1) % 6 else "full_attention" for index in range(_count(told))]
        types[-1] = "full_attention"
    layers = [_of_type(wide if each == "full_attention" else told, each) for each in types]
    first_shared = len(layers) - (whole(told, "num_kv_shared_layers", least=0) or 0)
    return [(layer, index < first_shared or first_shared <= 0) for index, layer in enumerate(layers)]


def _latent(told: Config) -> list[Layers]:
    """DeepSeek-V2 and V3, Kimi-K2, GLM-4.7-Flash; and with an index, DeepSeek-V3.2 and GLM-5."""
    layer, size = latent_attention(told), whole(told, "index_head_dim", most=1_000_000)
    if not size or not whole(told, "index_topk"):
        return _uniform(told, layer)
    indexed = replace(layer, index_bytes=size + size // INDEX_BLOCK * 4)
    kinds = items(told, "indexer_types") or ["full"] * _count(told)  # others share the choice of an earlier layer
    if len(kinds) < _count(told) or not set(map(str, kinds)) <= {"full", "shared"}:
        raise Unclear("layers")
    return [indexed if kind == "full" else layer for kind in kinds[: _count(told)]]


def _nemotron_h(told: Config) -> list[Layers]:
    """One letter for each layer: Mamba, attention, MLP or experts."""
    pattern = told.get("hybrid_override_pattern")
    if isinstance(pattern, str) and len(pattern) <= MOST_LAYERS:
        kinds: list[Any] = list(pattern.replace("|", ""))
    else:
        kinds = layer_types(told) or []
    makers = {"M": states.mamba2, "mamba": states.mamba2, "*": attention, "attention": attention}
    nothing = ("-", "E", "mlp", "moe")
    if not kinds or not all(kind in nothing or kind in makers for kind in kinds):
        raise Unclear("layers")
    made = {kind: maker(told) for kind, maker in makers.items() if kind in kinds}
    return [made.get(kind, NOTHING) for kind in kinds]


def mixed(
    state: Callable[[Config], Layers], *names: str, period: str = "", full: Callable[[Config], Layers] | None = None
) -> Callable[[Config], list[Layers]]:
    """Attention, and layers with a state under any of these names."""

    def rule(told: Config) -> list[Layers]:
        types = layer_types(told)
        if types is None:
            types = _by_indices(told, period)
        made = {name: state(told) for name in names if name in types}
        if full is not None:
            made |= {name: full(told) for name in ("full_attention", "attention") if name in types}
        return [made[each] if each in made else _of_type(told, each) for each in types]

    return rule


def _by_indices(told: Config, period: str) -> list[Any]:
    """Configs from before `layer_types`: the indices of attention layers, or each nth."""
    count, indices = _count(told), items(told, "attn_layer_indices", "full_attn_idxs")
    if indices is not None:
        return ["attention" if index in set(map(str, indices)) else "state" for index in map(str, range(count))]
    every_nth = whole(told, period, most=MOST_LAYERS) if period else None
    if not every_nth:
        raise Unclear("stateLayers")
    offset = whole(told, "attn_layer_offset", least=0, most=MOST_LAYERS)
    at = every_nth - 1 if offset is None else offset % every_nth
    return ["attention" if index % every_nth == at else "state" for index in range(count)]


def _falcon_h1(told: Config) -> list[Layers]:
    state = states.mamba2(told)
    both = replace(attention(told), state_16_bit=state.state_16_bit, state_32_bit=state.state_32_bit)
    return _uniform(told, both)


def _zamba2(told: Config) -> list[Layers]:
    """Each layer has Mamba; `hybrid` ones have attention, over twice the width, besides."""
    state, kinds = states.mamba2(told), layer_types(told)
    if kinds is None or not set(map(str, kinds)) <= {"mamba", "linear_attention", "hybrid"}:
        raise Unclear("stateLayers")
    both = replace(attention_of_zamba2(told), state_16_bit=state.state_16_bit, state_32_bit=state.state_32_bit)
    return [both if kind == "hybrid" else state for kind in kinds]


def _minimax_01(told: Config) -> list[Layers]:
    kinds = items(told, "attn_type_list")
    if kinds is None:
        return mixed(states.lightning, "linear_attention")(told)
    if len(kinds) < _count(told) or not all(kind in (0, 1) for kind in kinds):
        raise Unclear("stateLayers")
    return [attention(told) if kind else states.lightning(told) for kind in kinds[: _count(told)]]


def _kimi_linear(told: Config) -> list[Layers]:
    """Layers are counted from one."""
    linear = items(section(told, "linear_attn_config"), "kda_layers")
    if linear is None:
        return mixed(states.kimi_delta, "linear_attention", full=latent_attention)(told)
    at = {index for index in linear if isinstance(index, int)}
    state, latent = states.kimi_delta(told), latent_attention(told)
    return [state if index + 1 in at else latent for index in range(_count(told))]


def _mimo_v2(told: Config) -> list[Layers]:
    """Layers with a window have heads of their own."""
    kinds = items(told, "hybrid_layer_pattern")
    if kinds is None or len(kinds) < _count(told):
        raise Unclear("slidingLayers")
    local = {
        **told,
        "num_key_value_heads": told.get("swa_num_key_value_heads"),
        "head_dim": told.get("swa_head_dim"),
        "v_head_dim": told.get("swa_v_head_dim"),
    }
    window = window_of(told, "sliding_window", "sliding_window_size")
    return [attention(local, window) if kind else attention(told) for kind in kinds[: _count(told)]]


def _mamba(told: Config) -> list[Layers]:
    return _uniform(told, states.mamba1(told))


def _mamba2(told: Config) -> list[Layers]:
    return _uniform(told, states.mamba2(told))


_gdn = mixed(states.gated_delta_net, "linear_attention", "state", period="full_attention_interval")
_granite4 = mixed(states.mamba2, "mamba", "linear_attention", "state")  # transformers 5.23 renamed them
_lfm2 = mixed(states.short_convolution, "conv", "state")

RULES: dict[str, Callable[[Config], list[Layers]]] = {
    **dict.fromkeys(("llama", "gemma", "granite", "granitemoe", "granitemoeshared", "phi", "gpt2"), by_layer_types),
    **dict.fromkeys(("mistral", "mixtral", "ministral", "ministral3", "phi3", "phimoe", "starcoder2"), by_layer_types),
    **dict.fromkeys(
        ("olmo", "olmo2", "olmoe", "glm", "glm4", "glm4_moe", "seed_oss", "cohere", "opt", "solar_open"),
        _all_see_everything,
    ),
    **dict.fromkeys(("qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "qwen2_vl_text", "qwen2_5_vl_text"), _qwen),
    **dict.fromkeys(("qwen2_vl", "qwen2_5_vl", "dots1", "mimo"), _qwen),
    **dict.fromkeys(("qwen3_vl_text", "qwen3_vl_moe_text", "minimax_m2", "smollm3", "apertus"), _all_see_everything),
    **dict.fromkeys(("gemma2", "gpt_oss"), every(2)),
    **dict.fromkeys(("gemma3", "gemma3_text"), every(6)),
    **dict.fromkeys(("olmo3", "afmoe", "exaone_moe"), every(4)),
    "olmo_hybrid": mixed(states.gated_delta_net, "linear_attention"),
    "gemma3n": _gemma3n,
    "gemma3n_text": _gemma3n,
    "gemma4": _gemma4,
    "gemma4_text": _gemma4,
    "cohere2": _cohere2,
    "exaone4": _exaone4,
    "llama4": _llama4,
    "llama4_text": _llama4,
    **dict.fromkeys(("deepseek_v2", "deepseek_v3", "deepseek_v32", "kimi_k2", "glm4_moe_lite", "glm_moe_dsa"), _latent),
    "nemotron_h": _nemotron_h,
    **dict.fromkeys(("qwen3_next", "qwen3_5_text", "qwen3_5_moe_text", "qwen3_5", "qwen3_5_moe"), _gdn),
    "granitemoehybrid": _granite4,
    "bamba": _granite4,
    "jamba": mixed(states.mamba1, "mamba", "state", period="attn_layer_period"),
    "falcon_h1": _falcon_h1,
    "zamba2": _zamba2,
    "falcon": _all_see_everything,
    "nemotron-nas": layers_of_nas,
    **dict.fromkeys(("lfm2", "lfm2_moe"), _lfm2),
    **dict.fromkeys(("minimax", "minimax_text_01", "minimax_m1"), _minimax_01),
    "kimi_linear": _kimi_linear,
    **dict.fromkeys(("mimo_v2_flash", "mimo_v2"), _mimo_v2),
    **dict.fromkeys(("mamba", "falcon_mamba"), _mamba),
    "mamba2": _mamba2,
}
