"""What one layer with attention keeps of a request, by the fields of a config.json. Pure."""

from __future__ import annotations

from slipway.models.facts import Keeps, Layers
from slipway.models.values import Config, flag, needed, section, text, whole


def attention(told: Config, window: int | None = None) -> Layers:
    heads = needed("attentionHeads", told, "num_attention_heads", "n_head", "n_heads", "num_heads", most=1_000_000)
    size = head_size(told)
    values = whole(told, "v_head_dim", most=1_000_000) if not latent_rank(told) else None
    return Layers(
        count=1, kv_heads=kv_heads(told) or heads, key_size=size, value_size=values or size, window=window or None
    )


def head_size(told: Config) -> int:
    size = whole(told, "head_dim", "attention_head_dim", "kv_channels", most=1_000_000)
    if size:
        return size
    heads = needed("attentionHeads", told, "num_attention_heads", "n_head", "n_heads", "num_heads", most=1_000_000)
    return max(1, needed("headDim", told, "hidden_size", "n_embd", "d_model", "dim") // heads)


def kv_heads(told: Config) -> int | None:
    old_falcon = text(told, "model_type") == "falcon" and not flag(told, "new_decoder_architecture")
    if old_falcon and flag(told, "multi_query", default=True):
        return 1
    names = ("n_head_kv", "num_kv_heads", "num_key_value_heads", "multi_query_group_num", "num_attention_groups")
    grouped_in = section(told, "attn_config")  # DBRX, MPT
    return whole(told, *names, "n_kv_heads", most=1_000_000) or whole(grouped_in, "kv_n_heads", most=1_000_000)


def latent_rank(told: Config) -> int | None:
    return whole(told, "kv_lora_rank", most=1_000_000)


def latent_attention(told: Config) -> Layers:
    """DeepSeek's: one vector for all heads, and the rotary part of the keys."""
    rank = needed("latentSize", told, "kv_lora_rank", most=1_000_000)
    rotary = needed("latentSize", told, "qk_rope_head_dim", least=0, most=1_000_000)
    return Layers(
        count=1,
        keeps=Keeps.LATENT,
        key_size=needed("latentSize", told, "qk_nope_head_dim", most=1_000_000),
        value_size=needed("latentSize", told, "v_head_dim", most=1_000_000),
        latent_size=rank + rotary,
        rotary_size=rotary,
    )


def window_of(told: Config, *names: str) -> int:
    return needed("slidingWindow", told, *(names or ("sliding_window",)), most=1_000_000_000)


def attention_of_zamba2(told: Config) -> Layers:
    size = whole(told, "attention_head_dim", most=1_000_000)
    return attention({**told, "head_dim": size or 2 * head_size({**told, "head_dim": None})})
