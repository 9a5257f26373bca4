"""The states of layers that keep one of a fixed size, as vLLM's MambaStateShapeCalculator computes them. Pure.

They are those of one device; with tensor parallelism, vLLM divides them, where heads and groups allow it.
"""

from __future__ import annotations

from slipway.models.facts import Keeps, Layers
from slipway.models.values import MOST, Config, needed, real, section, text, whole

FIELD = "stateBytes"  # of spec.model.facts: what a user gives where this can't be computed


def mamba1(told: Config) -> Layers:
    """Jamba, Mamba, Falcon-Mamba."""
    inner = mamba1_width(told, needed("hiddenSize", told, "hidden_size"))
    kernel = needed(FIELD, told, "mamba_d_conv", "conv_kernel", most=1_000)
    size = needed(FIELD, told, "mamba_d_state", "state_size", most=1_000_000)
    return _state(told, inner * (kernel - 1), inner * size)


def mamba2(told: Config) -> Layers:
    """Granite 4, Bamba, Falcon-H1, Zamba2, Nemotron-H, Mamba-2."""
    hidden = needed("hiddenSize", told, "hidden_size")
    heads = needed(FIELD, told, "mamba_n_heads", "mamba_num_heads", "n_mamba_heads", "num_heads", most=1_000_000)
    groups = needed(FIELD, told, "mamba_n_groups", "mamba_ngroups", "n_groups", most=1_000_000)
    size = needed(FIELD, told, "mamba_d_state", "ssm_state_size", "state_size", most=1_000_000)
    kernel = needed(FIELD, told, "mamba_d_conv", "conv_kernel", most=1_000)
    of_head = whole(told, "mamba_d_head", "mamba_head_dim", "mamba_headdim", most=1_000_000)
    inner = whole(told, "mamba_d_ssm") or (heads * of_head if of_head else _expanded(told, hidden))
    of_head = of_head or inner // heads
    return _state(told, (inner + 2 * groups * size) * (kernel - 1), heads * of_head * size)


def gated_delta_net(told: Config) -> Layers:
    """Qwen3-Next, Qwen3.5, OLMo-Hybrid."""
    key_heads = needed(FIELD, told, "linear_num_key_heads", most=1_000_000)
    value_heads = needed(FIELD, told, "linear_num_value_heads", most=1_000_000)
    key_size = needed(FIELD, told, "linear_key_head_dim", most=1_000_000)
    value_size = needed(FIELD, told, "linear_value_head_dim", most=1_000_000)
    kernel = needed(FIELD, told, "linear_conv_kernel_dim", most=1_000)
    convolved = 2 * key_size * key_heads + value_size * value_heads
    return _state(told, convolved * (kernel - 1), value_heads * value_size * key_size)


def kimi_delta(told: Config) -> Layers:
    """Kimi-Linear, whose recurrent state is in 32 bits unless the engine is asked for another type."""
    linear = section(told, "linear_attn_config") or told
    heads = needed(FIELD, linear, "linear_num_heads", "num_heads", most=1_000_000)
    size = needed(FIELD, linear, "linear_head_dim", "head_dim", most=1_000_000)
    kernel = needed(FIELD, linear, "short_conv_kernel_size", "linear_conv_kernel_dim", most=1_000)
    return Layers(
        count=1, keeps=Keeps.STATE, state_16_bit=3 * heads * size * (kernel - 1), state_32_bit=heads * size * size
    )


def lightning(told: Config) -> Layers:
    """MiniMax-01; its state is in 32 bits."""
    heads = needed(FIELD, told, "num_attention_heads", most=1_000_000)
    size = whole(told, "head_dim", most=1_000_000) or needed("hiddenSize", told, "hidden_size") // heads
    return Layers(count=1, keeps=Keeps.STATE, state_32_bit=heads * size * size)


def short_convolution(told: Config) -> Layers:
    """LFM2."""
    size = whole(told, "conv_dim") or needed("hiddenSize", told, "hidden_size")
    return Layers(count=1, keeps=Keeps.STATE, state_16_bit=size * (needed(FIELD, told, "conv_L_cache", most=1_000) - 1))


def _state(told: Config, convolution: int, recurrent: int) -> Layers:
    """The recurrent part has a type of its own where the config says so, and in Nemotron-H in any case."""
    kind = text(told, "mamba_ssm_cache_dtype", "mamba_ssm_dtype")
    if not kind and text(told, "model_type").startswith("nemotron_h"):
        kind = "float32"
    if kind == "float32":
        return Layers(count=1, keeps=Keeps.STATE, state_16_bit=convolution, state_32_bit=recurrent)
    return Layers(count=1, keeps=Keeps.STATE, state_16_bit=convolution + recurrent)


def mamba1_width(told: Config, hidden: int) -> int:
    """In models without attention, `intermediate_size` may say it; elsewhere that is the MLP's."""
    pure = text(told, "model_type") in ("mamba", "falcon_mamba")
    return (whole(told, "intermediate_size") if pure else None) or _expanded(told, hidden)


def _expanded(told: Config, hidden: int) -> int:
    return min(MOST, int((real(told, "mamba_expand", "expand", most=1_000.0) or 2.0) * hidden))
