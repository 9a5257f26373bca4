"""The number of parameters of Gemma 4, whose layers differ more than those of others. Pure."""

from __future__ import annotations

from slipway.models.facts import Experts, Layers
from slipway.models.families import Family
from slipway.models.layers import gemma4_layers
from slipway.models.sizes import FIELD, Size, copied, experts_block, linear
from slipway.models.values import Config, flag, needed, whole


def gemma4_size(told: Config, hidden: int, experts: Experts | None) -> Size:
    """All layers with their norms, and the tables of inputs for each layer; without embedding and towers."""
    size = needed("intermediateSize", told, "intermediate_size")
    found, each_input = copied(hidden), whole(told, "hidden_size_per_layer_input") or 0
    layers, wide = gemma4_layers(told), flag(told, "use_double_wide_mlp")
    for layer, kept in layers:
        doubled = 2 if wide and not kept else 1
        found += _attention(told, hidden, layer, kept) + Size(3 * hidden * size * doubled) + copied(4 * hidden)
        found += copied(2 * hidden * each_input + hidden) if each_input else Size()
    if experts and flag(told, "enable_moe_block"):
        block = experts_block(told, Family(router_scale=True), hidden, experts) + copied(3 * hidden)
        found += block * len(layers)
    if each_input:
        table = needed(FIELD, told, "vocab_size_per_layer_input") * len(layers) * each_input
        found += Size(table) + copied(hidden * len(layers) * each_input + each_input)
    return found


def _attention(told: Config, hidden: int, layer: Layers, kept: bool) -> Size:
    """Layers that read the keys and values of an earlier one have none; on global layers, keys may be the values."""
    heads, size = needed("attentionHeads", told, "num_attention_heads", most=1_000_000), layer.key_size
    biased, shares = flag(told, "attention_bias"), flag(told, "attention_k_eq_v") and layer.window is None
    total = linear(heads * size, hidden, biased) + linear(hidden, heads * size, biased)
    if kept:
        total += linear(layer.kv_heads * size, hidden, biased) * (1 if shares else 2)
    return Size(total) + copied(2 * size if kept else size)
