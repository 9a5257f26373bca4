"""Configs of older families in the words of newer ones, so that one rule reads both. Pure.

transformers calls the same attributes by either name (`attribute_map`), so that a file may have either.
"""

from __future__ import annotations

from collections.abc import Mapping

from slipway.models.values import Config, whole

GPT2 = {
    "hidden_size": ("n_embd",),
    "num_attention_heads": ("n_head",),
    "num_hidden_layers": ("n_layer",),
    "max_position_embeddings": ("n_positions", "n_ctx"),
    "intermediate_size": ("n_inner",),
}
FALCON = {
    "hidden_size": ("n_embed",),
    "num_attention_heads": ("n_head",),
    "num_hidden_layers": ("n_layer",),
    "num_kv_heads": ("n_head_kv",),
    "intermediate_size": ("ffn_hidden_size",),
}
NAMES: Mapping[str, Mapping[str, tuple[str, ...]]] = {"gpt2": GPT2, "falcon": FALCON}
TIMES = 4  # the width of an MLP that no field says, by that of the model


def in_usual_words(model_type: str, given: Config, defaults: Config) -> Config:
    """What `given` and the defaults of its class say, by the usual names; empty for families that have these names."""
    found = {
        name: value
        for name, others in NAMES.get(model_type, {}).items()
        if (value := whole(given, name, *others) or whole(defaults, name, *others))
    }
    if found.get("hidden_size"):
        found.setdefault("intermediate_size", TIMES * found["hidden_size"])
    return found
