"""The number of parameters of encoders: BERT and its like, and the vision towers of models that see. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from slipway.models.defaults import defaults_of
from slipway.models.facts import Weights
from slipway.models.sizes import FIELD, linear
from slipway.models.values import Config, Unclear, flag, items, needed, section, text, whole

TOWERS = ("vision_config", "audio_config", "vision_tower_config", "sound_config", "img_processor", "embd_layer")


# --- models that are encoders ----------------------------------------------------------------------------------------


def encoder_weights(told: Config) -> Weights:
    hidden, vocabulary = (
        needed("hiddenSize", told, "hidden_size", "n_embd"),
        needed("vocabularySize", told, "vocab_size"),
    )
    kind = text(told, "model_type")
    if kind in ("bert", "roberta", "xlm-roberta", "camembert"):
        rest = _bert(told, hidden) + _head_of_bert(told, hidden)
    elif kind == "modernbert":
        rest = _modernbert(told, hidden) + _head_of_modernbert(told, hidden)
    elif kind == "nomic_bert":
        rest = _nomic(told, hidden)
    else:
        raise Unclear(FIELD)
    table = vocabulary * hidden
    return Weights(total=table + rest, active=table + rest, embedding=table)


def _bert(told: Config, hidden: int) -> int:
    layers, size = needed("layers", told, "num_hidden_layers"), needed("intermediateSize", told, "intermediate_size")
    positions = needed("contextLength", told, "max_position_embeddings") + (whole(told, "type_vocab_size") or 0)
    layer = 4 * linear(hidden, hidden, True) + linear(size, hidden, True) + linear(hidden, size, True) + 4 * hidden
    return positions * hidden + 2 * hidden + layers * layer


def _head_of_bert(told: Config, hidden: int) -> int:
    architecture, dense = _architecture(told), linear(hidden, hidden, True)
    if architecture.endswith("ForSequenceClassification"):
        return dense + linear(labels(told), hidden, True)
    if architecture.endswith("ForMaskedLM"):
        return dense + 2 * hidden + needed("vocabularySize", told, "vocab_size")
    return dense  # the pooler


def _modernbert(told: Config, hidden: int) -> int:
    layers, size = needed("layers", told, "num_hidden_layers"), needed("intermediateSize", told, "intermediate_size")
    attention_bias, mlp_bias = flag(told, "attention_bias"), flag(told, "mlp_bias")
    one_norm = hidden * (2 if flag(told, "norm_bias") else 1)
    layer = linear(3 * hidden, hidden, attention_bias) + linear(hidden, hidden, attention_bias)
    layer += linear(2 * size, hidden, mlp_bias) + linear(hidden, size, mlp_bias)
    return layers * (layer + 2 * one_norm) + one_norm  # the first layer has one norm; one is before, and one after


def _nomic(told: Config, hidden: int) -> int:
    """Positions are rotated, so there is no table of them; the MLP is gated."""
    layers, size = (
        needed("layers", told, "num_hidden_layers", "n_layer"),
        needed("intermediateSize", told, "intermediate_size", "n_inner"),
    )
    layer = 4 * hidden * hidden + 3 * hidden * size + 4 * hidden
    return (whole(told, "type_vocab_size") or 0) * hidden + 2 * hidden + layers * layer


def _head_of_modernbert(told: Config, hidden: int) -> int:
    architecture = _architecture(told)
    dense = linear(hidden, hidden, flag(told, "classifier_bias")) + hidden * (2 if flag(told, "norm_bias") else 1)
    if architecture.endswith("ForSequenceClassification"):
        return dense + linear(labels(told), hidden, True)
    if architecture.endswith("ForMaskedLM"):
        return dense + (needed("vocabularySize", told, "vocab_size") if flag(told, "decoder_bias", default=True) else 0)
    return 0


def labels(told: Config) -> int:
    return len(section(told, "id2label")) or whole(told, "num_labels") or 2


def _architecture(told: Config) -> str:
    named: list[Any] = items(told, "architectures") or []
    return named[0] if named and isinstance(named[0], str) else ""


# --- towers of models that see ---------------------------------------------------------------------------------------


def tower_size(config: Config, hidden: int) -> int:
    """Returns the parameters of what turns images into tokens; 0 for a model of text alone."""
    towers, model_type = [name for name in TOWERS if config.get(name)], text(config, "model_type")
    rule = RULES.get(model_type)
    if not towers and not (rule and _architecture(config).endswith("ForConditionalGeneration")):
        return 0
    if rule is None or towers not in ([], ["vision_config"]):
        raise Unclear(FIELD)
    return rule(config, {**defaults_of(f"{model_type}.vision"), **section(config, "vision_config")}, hidden)


def _patches(vision: Config) -> int:
    """Values of one patch: pixels, colours and frames."""
    side, colours = needed(FIELD, vision, "patch_size"), whole(vision, "in_channels", "in_chans", "num_channels") or 3
    return side * side * colours * (whole(vision, "temporal_patch_size") or 1)


def _block(width: int, size: int, *, gated: bool = False, biased: bool = True, norm_bias: bool = True) -> int:
    """One layer of a vision transformer."""
    attention = linear(3 * width, width, biased) + linear(width, width, biased)
    up = 2 if gated else 1
    mlp = linear(up * size, width, biased) + linear(width, size, biased)
    return attention + mlp + 2 * width * (2 if norm_bias else 1)


def _merged(vision: Config) -> int:
    """Patches that become one token."""
    return (whole(vision, "spatial_merge_size") or 2) ** 2


def _qwen2_vl(config: Config, vision: Config, hidden: int) -> int:
    width, ratio = needed(FIELD, vision, "embed_dim"), needed(FIELD, vision, "mlp_ratio")
    merged, out = width * _merged(vision), whole(vision, "hidden_size") or hidden
    merger = 2 * width + linear(merged, merged, True) + linear(out, merged, True)
    return _patches(vision) * width + needed(FIELD, vision, "depth") * _block(width, width * ratio) + merger


def _qwen2_5_vl(config: Config, vision: Config, hidden: int) -> int:
    width, size = needed(FIELD, vision, "hidden_size"), needed(FIELD, vision, "intermediate_size")
    merged, out = width * _merged(vision), whole(vision, "out_hidden_size") or hidden
    merger = width + linear(merged, merged, True) + linear(out, merged, True)
    block = _block(width, size, gated=True, norm_bias=False)
    return _patches(vision) * width + needed(FIELD, vision, "depth") * block + merger


def _qwen3_vl(config: Config, vision: Config, hidden: int) -> int:
    width, size = needed(FIELD, vision, "hidden_size"), needed(FIELD, vision, "intermediate_size")
    merged, out = width * _merged(vision), whole(vision, "out_hidden_size") or hidden
    projected = linear(merged, merged, True) + linear(out, merged, True)
    deep = len(items(vision, "deepstack_visual_indexes") or [])
    table = needed(FIELD, vision, "num_position_embeddings") * width
    found = linear(width, _patches(vision), True) + table + needed(FIELD, vision, "depth") * _block(width, size)
    return found + projected + 2 * width + deep * (projected + 2 * merged)


def _siglip(vision: Config) -> int:
    width, size = needed(FIELD, vision, "hidden_size"), needed(FIELD, vision, "intermediate_size")
    positions = (needed(FIELD, vision, "image_size") // needed(FIELD, vision, "patch_size")) ** 2
    found = linear(width, _patches(vision), True) + positions * width + 2 * width
    return found + needed(FIELD, vision, "num_hidden_layers") * _block(width, size)


def _gemma3(config: Config, vision: Config, hidden: int) -> int:
    width = needed(FIELD, vision, "hidden_size")
    pooled = 0 if vision.get("vision_use_head") is False else _attention_pool(vision, width)
    return _siglip(vision) + pooled + width * hidden + width


def _attention_pool(vision: Config, width: int) -> int:
    size = needed(FIELD, vision, "intermediate_size")
    attention = linear(3 * width, width, True) + linear(width, width, True)
    return width + attention + 2 * width + linear(size, width, True) + linear(width, size, True)


def _gemma4(config: Config, vision: Config, hidden: int) -> int:
    width, size = needed(FIELD, vision, "hidden_size"), needed(FIELD, vision, "intermediate_size")
    heads, of_head = needed(FIELD, vision, "num_attention_heads"), needed(FIELD, vision, "head_dim")
    grouped = whole(vision, "num_key_value_heads") or heads
    attention = 2 * heads * of_head * width + 2 * grouped * of_head * width + 2 * of_head
    layer = attention + 3 * width * size + 4 * width
    tables = 2 * needed(FIELD, vision, "position_embedding_size") * width
    return _patches(vision) * width + tables + needed(FIELD, vision, "num_hidden_layers") * layer + width * hidden


def _llama4(config: Config, vision: Config, hidden: int) -> int:
    width, size = needed(FIELD, vision, "hidden_size"), needed(FIELD, vision, "intermediate_size")
    positions = (needed(FIELD, vision, "image_size") // needed(FIELD, vision, "patch_size")) ** 2 + 1
    inside, out = needed(FIELD, vision, "projector_input_dim"), needed(FIELD, vision, "projector_output_dim")
    found = _patches(vision) * width + width + positions * width + 4 * width
    found += needed(FIELD, vision, "num_hidden_layers") * _block(width, size)
    return found + size * inside + out * out + needed(FIELD, vision, "vision_output_dim") * hidden


def _mistral3(config: Config, vision: Config, hidden: int) -> int:
    width, size = needed(FIELD, vision, "hidden_size"), needed(FIELD, vision, "intermediate_size")
    biased, merged = flag(config, "multimodal_projector_bias"), width * _merged(config)
    projector = width + merged * width + linear(hidden, width, biased) + linear(hidden, hidden, biased)
    block = _block(width, size, gated=True, biased=False, norm_bias=False)
    return _patches(vision) * width + width + needed(FIELD, vision, "num_hidden_layers") * block + projector


def _kimi(config: Config, vision: Config, hidden: int) -> int:
    width, size = needed(FIELD, vision, "vt_hidden_size"), needed(FIELD, vision, "vt_intermediate_size")
    height, breadth = needed(FIELD, vision, "init_pos_emb_height"), needed(FIELD, vision, "init_pos_emb_width")
    merged = width * _merged(vision)
    found = linear(width, _patches(vision), True) + height * breadth * width + 2 * width
    found += needed(FIELD, vision, "vt_num_hidden_layers") * _block(width, size)
    return found + 2 * width + linear(merged, merged, True) + linear(hidden, merged, True)


RULES: dict[str, Callable[[Config, Config, int], int]] = {
    "qwen2_vl": _qwen2_vl,
    "qwen2_5_vl": _qwen2_5_vl,
    **dict.fromkeys(("qwen3_vl", "qwen3_vl_moe", "qwen3_5", "qwen3_5_moe"), _qwen3_vl),
    "gemma3": _gemma3,
    "gemma4": _gemma4,
    "llama4": _llama4,
    "kimi_k25": _kimi,
    **dict.fromkeys(("mistral3", "ministral3"), _mistral3),
}
