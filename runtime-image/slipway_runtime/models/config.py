"""What a checkpoint's config.json says, under any of its names; and Mistral's params.json. Pure.

The same name has other meanings in other families of models: EXAONE's `sliding_window_pattern` is a string. So a
dimension of an unexpected type counts as unknown, since the engine may understand it. A value that can't be a dimension
of any model, or that has only one meaning, is refused.
"""

from __future__ import annotations

from typing import Any

from slipway_runtime.models.facts import Shape
from slipway_runtime.models.values import MOST, JsonObject, Unfit, as_text, is_whole, mapping, real, text, whole

LANGUAGE_MODEL = (
    "text_config",
    "llm_config",
    "language_config",
    "thinker_config",
)  # of a model with vision or audio
DEEPEST = 4  # nested parts; models have two levels
MOST_BITS = 64
MOST_STRETCHED = 1_000_000  # times

NAMES: dict[str, tuple[str, ...]] = {
    "layers": ("num_hidden_layers", "n_layer", "num_layers", "n_layers"),
    "hidden_size": ("hidden_size", "n_embd", "d_model", "dim"),
    "attention_heads": ("num_attention_heads", "n_head", "n_heads", "num_heads"),
    "kv_heads": ("num_key_value_heads", "n_head_kv", "num_kv_heads", "multi_query_group_num", "n_kv_heads"),
    "head_dim": ("head_dim", "attention_head_dim", "kv_channels"),
    "vocabulary_size": ("vocab_size", "padded_vocab_size"),
    "context_length": ("max_position_embeddings", "n_positions", "max_sequence_length", "max_seq_len", "seq_length"),
    "experts": ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts"),
    "experts_per_token": ("num_experts_per_tok", "moe_topk", "num_experts_per_token"),
    "sliding_window": ("sliding_window",),
}

# Kinds of rope scaling that multiply the context length; others leave it, or it includes them already.
STRETCHED = ("linear", "dynamic", "ntk")


def architecture_of(config: JsonObject) -> str:
    named = config.get("architectures")
    if named and not isinstance(named, list):
        raise Unfit("architectures", named, "a list of names")
    if named:
        return as_text("architectures", named[0])
    return "PixtralForConditionalGeneration" if "vision_encoder" in config else "MistralForCausalLM"


def labels_of(config: JsonObject) -> int | None:
    """Returns the number of labels of a model that classifies; None where the config leaves it open."""
    named, counted = config.get("id2label"), config.get("num_labels")
    if isinstance(named, dict) and named:
        return len(named)
    return counted if is_whole(counted) else None


def names_architecture(config: JsonObject) -> bool:
    return bool(config.get("architectures")) or "n_layers" in config  # Mistral's own format


def shape_of(config: JsonObject) -> Shape:
    told = language_model(config)
    found = {field: _number(told, names) for field, names in NAMES.items()}
    heads, hidden = found["attention_heads"], found["hidden_size"]
    layer_types = _layer_types(told, found["layers"])
    found["kv_heads"] = found["kv_heads"] or heads
    found["head_dim"] = found["head_dim"] or (hidden // heads if hidden and heads else None)
    found["context_length"] = _stretched(found["context_length"], told)
    return Shape(
        **found,
        latent_size=_latent_size(told),
        sliding_layers=_sliding_layers(told, layer_types, found),
        stateless_layers=_count(layer_types, "linear_attention", "mamba", "conv", "recurrent"),
    )


def language_model(config: JsonObject) -> JsonObject:
    """Returns the part that describes the language model, merged with what surrounds it."""
    for _ in range(DEEPEST):
        name = next((name for name in LANGUAGE_MODEL if isinstance(config.get(name), dict)), None)
        if name is None:
            return config
        config = {**{key: value for key, value in config.items() if key != name}, **config[name]}
    raise Unfit("text_config", config, f"nested no more than {DEEPEST} levels deep")


def quantization_of(config: JsonObject) -> tuple[str | None, int | None]:
    """Returns the method by which the checkpoint is quantized, and the bits of a weight."""
    name = "quantization_config"
    told = mapping(config, name) or mapping(language_model(config), name)
    method = text(told, "quant_method", within=f"{name}.") or text(told, "quant_algo", within=f"{name}.")
    bits = told.get("bits") or told.get("w_bit") or _group_bits(told)
    if is_whole(bits) and not 0 < bits <= MOST_BITS:
        raise Unfit(f"{name}: the bits of a weight", bits, f"a number from 1 to {MOST_BITS}")
    return (method.lower() if method else None), (bits if is_whole(bits) else None)


def needs_remote_code(config: JsonObject) -> bool:
    """Returns whether the checkpoint contains Python code."""
    return any(key.startswith("AutoModel") for key in mapping(config, "auto_map"))


def _number(config: JsonObject, names: tuple[str, ...]) -> int | None:
    """Returns the first one that is a number; where each layer has its own, the largest."""
    for name in names:
        value = config.get(name)
        if isinstance(value, list) and value and all(map(is_whole, value)):
            value = max(value)
        if is_whole(value) and value > 0:
            return whole({name: value}, name)
    return None


def _stretched(context_length: int | None, config: JsonObject) -> int | None:
    name = "rope_parameters" if config.get("rope_parameters") else "rope_scaling"
    told = config.get(name)
    if not (context_length and isinstance(told, dict)) or "gemma3" in (text(config, "model_type") or ""):
        return context_length
    kind = told.get("rope_type") or told.get("type")
    if kind not in STRETCHED:
        return context_length
    factor = real(told, "factor", most=MOST_STRETCHED, within=f"{name}.")
    return min(MOST, int(context_length * (factor or 1)))


def _latent_size(config: JsonObject) -> int | None:
    """Multi-head latent attention, as in DeepSeek."""
    rank, rope = _number(config, ("kv_lora_rank",)), _number(config, ("qk_rope_head_dim",))
    return rank + rope if rank and rope else None


def _sliding_layers(config: JsonObject, layer_types: list[Any] | None, shape: dict[str, int | None]) -> int:
    """Counts layers that see only a window. Without a list of them: all but each nth, or all, or none."""
    if not shape["sliding_window"] or config.get("use_sliding_window") is False:
        return 0
    if layer_types is not None:
        return _count(layer_types, "sliding_attention", "chunked_attention")
    layers, pattern = shape["layers"] or 0, _number(config, ("sliding_window_pattern",))
    return layers - layers // pattern if pattern else layers


def _layer_types(config: JsonObject, layers: int | None) -> list[Any] | None:
    """Some lists continue with layers for speculative decoding."""
    told = config.get("layer_types")
    return told[:layers] if isinstance(told, list) else None


def _count(layer_types: list[Any] | None, *kinds: str) -> int:
    return sum(kind in kinds for kind in layer_types or ())


def _group_bits(told: JsonObject) -> Any:
    """compressed-tensors names the bits of each group of layers; they rarely differ."""
    groups = told.get("config_groups")
    for group in groups.values() if isinstance(groups, dict) else ():
        weights = group.get("weights") if isinstance(group, dict) else None
        if isinstance(weights, dict):
            return weights.get("num_bits")
    return None
