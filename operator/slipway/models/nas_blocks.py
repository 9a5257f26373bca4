"""The blocks of Nemotron-NAS (DeciLM), each of which a search has sized, and what they keep of a request. Pure."""

from __future__ import annotations

from slipway.models.attention import attention
from slipway.models.facts import Keeps, Layers
from slipway.models.values import Config, Unclear, flag, items, needed, section

NOTHING = Layers(count=1, keeps=Keeps.NOTHING)


def layers_of_nas(told: Config) -> list[Layers]:
    """Each block has its own number of KV heads, or no attention."""
    kept = []
    for block in blocks_of_nas(told):
        inside = section(block, "attention")
        if flag(inside, "no_op"):
            kept.append(NOTHING)
            continue
        if flag(inside, "replace_with_linear") or inside.get("window_length") or inside.get("sparsify"):
            raise Unclear("layers")
        kept.append(attention({**told, "num_key_value_heads": kv_heads_of_block(told, inside)}))
    return kept


def blocks_of_nas(told: Config) -> list[Config]:
    blocks: list[Config] = [each for each in items(told, "block_configs") or [] if isinstance(each, dict)]
    if len(blocks) != needed("layers", told, "num_hidden_layers"):
        raise Unclear("layers")
    return blocks


def kv_heads_of_block(told: Config, inside: Config) -> int:
    heads = needed("attentionHeads", told, "num_attention_heads", most=1_000_000)
    return heads // min(heads, needed("kvHeads", inside, "n_heads_in_group", most=1_000_000))
