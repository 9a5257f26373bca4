"""Mistral's own params.json in the words of a config.json, as vLLM reads it (`transformers_utils/configs/mistral.py`).

Pure.
"""

from __future__ import annotations

from slipway.models.values import Config, items, section, text, whole

LENGTH = 128_000  # vLLM's, where neither file has one
MOST_LAYERS = 10_000
NAMES = {
    "dim": "hidden_size",
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "n_kv_heads": "num_key_value_heads",
    "hidden_dim": "intermediate_size",
    "tied_embeddings": "tie_word_embeddings",
}
OF_EXPERTS = {
    "num_experts": "n_routed_experts",
    "num_experts_per_tok": "num_experts_per_tok",
    "expert_hidden_dim": "moe_intermediate_size",
    "first_k_dense_replace": "first_k_dense_replace",
    "route_every_n": "moe_layer_freq",
    "num_shared_experts": "n_shared_experts",
}
OF_YARN = {"factor": "factor", "original_max_position_embeddings": "original_max_position_embeddings"}


def in_other_words(config: Config) -> Config:
    """The config itself, unless it is of this form."""
    if whole(config, "n_layers") is None or whole(config, "dim") is None or "num_hidden_layers" in config:
        return config
    renamed = {NAMES.get(name, name): value for name, value in config.items()}
    defaults = {"tie_word_embeddings": False, "max_position_embeddings": LENGTH, "sliding_window": None}
    found = {**defaults, **renamed, **_kind(config), **_encoders(config)}
    return {**found, **_windows(config), **_yarn(config), **_quantization(config)}


def _kind(config: Config) -> Config:
    experts = section(config, "moe")
    if not experts:
        return {"model_type": "mistral"}
    if whole(experts, "num_shared_experts"):
        return {"model_type": "deepseek_v3", **{new: experts[old] for old, new in OF_EXPERTS.items() if old in experts}}
    counts = {
        "num_local_experts": experts.get("num_experts"),
        "num_experts_per_tok": experts.get("num_experts_per_tok"),
    }
    return {"model_type": "mixtral", **counts}


def _encoders(config: Config) -> Config:
    """Their code isn't that of transformers, so that its counts don't hold for them."""
    both = section(config, "multimodal")
    vision, audio = section(config, "vision_encoder") or section(both, "vision_encoder_args"), "whisper_model_args"
    found = {"vision_config": vision, "audio_config": section(both, audio)}
    return {name: {**each, "model_type": "of Mistral"} for name, each in found.items() if each}


def _windows(config: Config) -> Config:
    """As a list, it is repeated over the layers; None is a layer without one."""
    windows, layers = items(config, "sliding_window"), whole(config, "n_layers", most=MOST_LAYERS) or 0
    if not windows:
        return {}
    kinds = ["full_attention" if each is None else "sliding_attention" for each in windows]
    return {
        "layer_types": (kinds * (layers // len(kinds) + 1))[:layers],
        "sliding_window": next((each for each in windows if each is not None), None),
    }


def _yarn(config: Config) -> Config:
    yarn = section(config, "yarn")
    if not yarn:
        return {}
    return {"rope_scaling": {"rope_type": "yarn", **{new: yarn[old] for old, new in OF_YARN.items() if old in yarn}}}


def _quantization(config: Config) -> Config:
    quantization = section(config, "quantization")
    if text(quantization, "qformat_weight") == "fp8_e4m3":
        return {"quantization_config": {"quant_method": "fp8"}}
    return {"quantization_config": quantization} if quantization else {}
