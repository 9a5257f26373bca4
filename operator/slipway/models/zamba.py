"""The number of parameters of Zamba2: layers with Mamba, and a few blocks of attention that these share. Pure."""

from __future__ import annotations

from slipway.models.attention import attention_of_zamba2
from slipway.models.facts import Keeps
from slipway.models.layers import layers_of
from slipway.models.sizes import FIELD, Size, copied, linear, mamba2_size
from slipway.models.values import Config, flag, needed


def zamba2_size(told: Config, hidden: int) -> Size:
    """Of all layers. A block takes the input of the model next to that of its layer, so it is twice as wide."""
    groups = layers_of(told)
    count = sum(each.count for each in groups)
    hybrid = sum(each.count for each in groups if each.keeps is not Keeps.STATE)
    blocks = min(hybrid, needed(FIELD, told, "num_mem_blocks"))
    own = (mamba2_size(told, hidden) + copied(hidden)) * count
    return own + _block(told, hidden) * blocks + (Size(hidden * hidden) + _adapters(told, hidden)) * hybrid


def _block(told: Config, hidden: int) -> Size:
    heads, layer = needed("attentionHeads", told, "num_attention_heads", most=1_000_000), attention_of_zamba2(told)
    queries, keys = heads * layer.key_size, layer.kv_heads * layer.key_size
    inner, biased = _inner(told, hidden), flag(told, "add_bias_linear")
    mlp = linear(2 * inner, hidden, biased) + linear(hidden, inner, biased)
    return Size(2 * hidden * (queries + 2 * keys) + queries * hidden + mlp) + copied(3 * hidden)


def _adapters(told: Config, hidden: int) -> Size:
    """Of each layer that uses a block, of low rank."""
    rank = needed(FIELD, told, "adapter_rank")
    each = rank * (hidden + 2 * _inner(told, hidden))
    each += 3 * 4 * hidden * rank if flag(told, "use_shared_attention_adapter") else 0
    return Size(each)


def _inner(told: Config, hidden: int) -> int:
    return needed("intermediateSize", {"intermediate_size": 4 * hidden, **told}, "intermediate_size")
