"""The number of parameters of Nemotron-NAS (DeciLM), each block of which a search has sized. Pure.

As vLLM's `nemotron_nas.py` builds them; transformers has no class of it.
"""

from __future__ import annotations

from slipway.models.attention import head_size
from slipway.models.nas_blocks import blocks_of_nas, kv_heads_of_block
from slipway.models.sizes import FIELD, Size, copied, linear
from slipway.models.values import Config, Unclear, flag, needed, real, section

MULTIPLE = 256  # a width is rounded up to


def nemotron_nas_size(told: Config, hidden: int) -> Size:
    """Of all blocks; a part that the search has left out has no norm either."""
    found = Size()
    for block in blocks_of_nas(told):
        inside = section(block, "attention")
        if not flag(inside, "no_op"):
            found += _attention(told, hidden, inside)
        if width := _width(block, hidden):
            biased = flag(told, "mlp_bias")
            found += Size(linear(2 * width, hidden, biased) + linear(hidden, width, biased)) + copied(hidden)
    return found


def widest(told: Config) -> int | None:
    """Of the MLPs; None: no block says it."""
    try:
        hidden = needed("hiddenSize", told, "hidden_size")
        return max((_width(block, hidden) for block in blocks_of_nas(told)), default=0) or None
    except Unclear:
        return None


def _attention(told: Config, hidden: int, inside: Config) -> Size:
    heads, size = needed("attentionHeads", told, "num_attention_heads", most=1_000_000), head_size(told)
    groups = kv_heads_of_block(told, inside)
    biased = flag(told, "attention_bias") or flag(told, "bias")
    total = linear((heads + 2 * groups) * size, hidden, biased) + linear(hidden, heads * size, biased)
    return Size(total) + copied(hidden)


def _width(block: Config, hidden: int) -> int:
    """0: the block has no MLP."""
    inside = section(block, "ffn")
    if flag(inside, "no_op"):
        return 0
    times = real(inside, "ffn_mult", most=1_000.0)
    if flag(inside, "replace_with_linear") or inside.get("sparsify"):
        raise Unclear(FIELD)
    if times is None:
        return needed(FIELD, inside, "intermediate_size")
    return -(-int(2 * times * hidden / 3) // MULTIPLE) * MULTIPLE
