"""What a checkpoint's config.json says, under whichever of its names; and Mistral's params.json. Pure."""

from __future__ import annotations

from typing import Any

from slipway_runtime.models.facts import Shape
from slipway_runtime.models.files import JsonObject

LANGUAGE_MODEL = (
    "text_config",
    "llm_config",
    "language_config",
    "thinker_config",
)  # of a model that also sees or hears

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

# How a rope scaling of that kind changes the context length: those missing here leave it, or have it counted already.
STRETCHED = ("linear", "dynamic", "ntk")


def architecture_of(config: JsonObject) -> str:
    named = config.get("architectures")
    if isinstance(named, list) and named:
        return str(named[0])
    return "PixtralForConditionalGeneration" if "vision_encoder" in config else "MistralForCausalLM"


def names_architecture(config: JsonObject) -> bool:
    return bool(config.get("architectures")) or "n_layers" in config  # the latter is Mistral's own form


def shape_of(config: JsonObject) -> Shape:
    text = language_model(config)
    found = {field: _number(text, names) for field, names in NAMES.items()}
    heads, hidden = found["attention_heads"], found["hidden_size"]
    layer_types = text.get("layer_types")
    found["kv_heads"] = found["kv_heads"] or heads
    found["head_dim"] = found["head_dim"] or (hidden // heads if hidden and heads else None)
    found["context_length"] = _stretched(found["context_length"], text)
    return Shape(
        **found,
        latent_size=_latent_size(text),
        sliding_layers=_sliding_layers(text, layer_types, found),
        stateless_layers=_count(layer_types, "linear_attention", "mamba", "conv", "recurrent"),
    )


def language_model(config: JsonObject) -> JsonObject:
    """The part that describes the language model, with what stands around it."""
    for name in LANGUAGE_MODEL:
        inner = config.get(name)
        if isinstance(inner, dict):
            return language_model({**{key: value for key, value in config.items() if key != name}, **inner})
    return config


def quantization_of(config: JsonObject) -> tuple[str | None, int | None]:
    """The method that the checkpoint is quantized by, and the bits of a weight."""
    told = config.get("quantization_config") or language_model(config).get("quantization_config")
    if not isinstance(told, dict):
        return None, None
    method = told.get("quant_method") or told.get("quant_algo")
    bits = told.get("bits") or told.get("w_bit") or _group_bits(told)
    return (str(method).lower() if method else None), (bits if isinstance(bits, int) else None)


def needs_remote_code(config: JsonObject) -> bool:
    """Whether the checkpoint brings Python of its own."""
    return any(key.startswith("AutoModel") for key in config.get("auto_map") or {})


def _number(config: JsonObject, names: tuple[str, ...]) -> int | None:
    """The first that is there and is a number; where each layer has its own, the largest."""
    for name in names:
        value = config.get(name)
        if isinstance(value, list) and value and all(isinstance(each, int) for each in value):
            value = max(value)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None


def _stretched(context_length: int | None, config: JsonObject) -> int | None:
    told = config.get("rope_parameters") or config.get("rope_scaling")
    if not (context_length and isinstance(told, dict)) or "gemma3" in str(config.get("model_type")):
        return context_length
    kind, factor = told.get("rope_type") or told.get("type"), told.get("factor")
    is_stretched = kind in STRETCHED and isinstance(factor, int | float)
    return int(context_length * float(factor or 1)) if is_stretched else context_length


def _latent_size(config: JsonObject) -> int | None:
    """Multi-head latent attention, as DeepSeek has it."""
    rank, rope = config.get("kv_lora_rank"), config.get("qk_rope_head_dim")
    return rank + rope if isinstance(rank, int) and isinstance(rope, int) else None


def _sliding_layers(config: JsonObject, layer_types: Any, shape: dict[str, int | None]) -> int:
    """Layers that see only a window. Without a list of them: every one but each nth, or all, or none."""
    if not shape["sliding_window"] or config.get("use_sliding_window") is False:
        return 0
    if isinstance(layer_types, list):
        return _count(layer_types, "sliding_attention", "chunked_attention")
    layers, pattern = shape["layers"] or 0, config.get("sliding_window_pattern")
    return layers - layers // pattern if isinstance(pattern, int) and pattern > 0 else layers


def _count(layer_types: Any, *kinds: str) -> int:
    return sum(kind in kinds for kind in layer_types) if isinstance(layer_types, list) else 0


def _group_bits(told: JsonObject) -> Any:
    """compressed-tensors names the bits of each group of layers; they rarely differ."""
    groups = told.get("config_groups")
    for group in groups.values() if isinstance(groups, dict) else ():
        weights = group.get("weights") if isinstance(group, dict) else None
        if isinstance(weights, dict):
            return weights.get("num_bits")
    return None
