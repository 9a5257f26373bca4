"""The number of parameters of the parts of a layer. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from slipway.models.facts import Experts, Keeps, Layers
from slipway.models.families import Bias, Family
from slipway.models.states import mamba1_width
from slipway.models.values import Config, Unclear, flag, needed, section, whole

FIELD = "parameters"  # of spec.model.facts: what a user gives where this can't be computed


@dataclass(frozen=True)
class Size:
    """Parameters of a part of a model."""

    total: int = 0
    experts: int = 0  # of these, the routed experts'
    unsplit: int = 0  # of these, what each device of a tensor-parallel group has a copy of

    def __add__(self, other: Size) -> Size:
        return Size(self.total + other.total, self.experts + other.experts, self.unsplit + other.unsplit)

    def __mul__(self, times: int) -> Size:
        return Size(self.total * times, self.experts * times, self.unsplit * times)


def copied(total: int) -> Size:
    return Size(total, 0, total)


def on(told: Config, feature: Bias) -> bool:
    return flag(told, feature) if isinstance(feature, str) else feature


def norm(family: Family, width: int, count: int = 1) -> Size:
    return copied(width * count * (2 if family.norm_bias else 1))


def linear(rows: int, columns: int, biased: bool = False) -> int:
    return rows * columns + (rows if biased else 0)


# --- what a layer keeps, it computes here ----------------------------------------------------------------------------


def mixer(told: Config, family: Family, hidden: int, layer: Layers) -> Size:
    """Attention, a state, or both."""
    found = Size()
    if layer.keeps is Keeps.LATENT:
        found += _latent(told, family, hidden)
        found += _index(told, hidden) if layer.index_bytes else Size()
    if layer.kv_heads:
        found += _attention(told, family, hidden, layer)
    if layer.state_16_bit or layer.state_32_bit:
        found += STATES[family.state](told, hidden)
    return found


def _attention(told: Config, family: Family, hidden: int, layer: Layers) -> Size:
    heads = needed("attentionHeads", told, "num_attention_heads", most=1_000_000)
    queries, keys, values = heads * layer.key_size, layer.kv_heads * layer.key_size, layer.kv_heads * layer.value_size
    projected = queries * (2 if family.gated_query else 1) + keys + values
    total = linear(projected, hidden, on(told, family.qkv_bias)) + heads * layer.value_size * hidden
    total += heads if family.sinks and _has_sinks(told, layer) else 0
    return Size(total) + copied((hidden if on(told, family.out_bias) else 0) + _qk_norm(told, family, heads, layer))


def _has_sinks(told: Config, layer: Layers) -> bool:
    """In MiMo-V2, layers with a window alone."""
    return layer.window is not None or "swa_head_dim" not in told


def _qk_norm(told: Config, family: Family, heads: int, layer: Layers) -> int:
    if family.qk_norm_if and not flag(told, family.qk_norm_if):
        return 0
    wide = (heads + layer.kv_heads) * layer.key_size
    return {"": 0, "head": 2 * layer.key_size, "width": wide, "heads": wide}[family.qk_norm]


def _latent(told: Config, family: Family, hidden: int) -> Size:
    """DeepSeek's: queries and keys are compressed, and the compressing matrices are copied to each device."""
    heads = needed("attentionHeads", told, "num_attention_heads", most=1_000_000)
    rank, rotary = needed(FIELD, told, "kv_lora_rank"), needed(FIELD, told, "qk_rope_head_dim", least=0)
    plain, value = needed(FIELD, told, "qk_nope_head_dim"), needed(FIELD, told, "v_head_dim")
    query_rank, queries, biased = whole(told, "q_lora_rank"), heads * (plain + rotary), on(told, family.qkv_bias)
    split = (query_rank or hidden) * queries + rank * heads * (plain + value) + heads * value * hidden
    compressing = linear(rank + rotary, hidden, biased) + rank
    compressing += linear(query_rank, hidden, biased) + query_rank if query_rank else 0
    return Size(split) + copied(compressing + (hidden if on(told, family.out_bias) else 0))


def _index(told: Config, hidden: int) -> Size:
    """Of DeepSeek-V3.2's search for the tokens to attend to; each device has a copy."""
    size, heads = needed(FIELD, told, "index_head_dim"), needed(FIELD, told, "index_n_heads")
    return copied(needed(FIELD, told, "q_lora_rank") * heads * size + hidden * (size + heads) + 2 * size)


def _mamba1(told: Config, hidden: int) -> Size:
    inner = mamba1_width(told, hidden)
    state, kernel = _state_size(told), needed(FIELD, told, "mamba_d_conv", "conv_kernel")
    rank, biased = _rank(told, hidden), flag(told, "mamba_proj_bias") or flag(told, "use_bias")
    total = linear(2 * inner, hidden, biased) + linear(hidden, inner, biased)
    total += linear(inner, kernel, flag(told, "mamba_conv_bias", default=flag(told, "use_conv_bias", default=True)))
    return Size(total + (rank + 2 * state) * inner + linear(inner, rank, True) + inner * state + inner)


def _rank(told: Config, hidden: int) -> int:
    return whole(told, "mamba_dt_rank", "time_step_rank") or -(-hidden // 16)


def _jamba(told: Config, hidden: int) -> Size:
    return _mamba1(told, hidden) + copied(_rank(told, hidden) + 2 * _state_size(told))  # three norms


def mamba2_size(told: Config, hidden: int) -> Size:
    heads = needed(FIELD, told, "mamba_n_heads", "mamba_num_heads", "n_mamba_heads", "num_heads", most=1_000_000)
    groups, state = needed(FIELD, told, "mamba_n_groups", "mamba_ngroups", "n_groups"), _state_size(told)
    of_head = whole(told, "mamba_d_head", "mamba_head_dim", most=1_000_000)
    expanded = (whole(told, "mamba_expand", "expand") or 2) * hidden
    inner = whole(told, "mamba_d_ssm") or (heads * of_head if of_head else expanded)
    biased = flag(told, "mamba_proj_bias") or flag(told, "use_bias") or flag(told, "add_bias_linear")
    convolved = inner + 2 * groups * state
    kernel = needed(FIELD, told, "mamba_d_conv", "conv_kernel")
    has_bias = flag(told, "mamba_conv_bias", default=flag(told, "use_conv_bias", default=True))
    total = linear(inner + convolved + heads, hidden, biased) + linear(convolved, kernel, has_bias) + 3 * heads
    total += inner if flag(told, "mamba_rms_norm", default=True) else 0
    return Size(total + linear(hidden, inner, biased))


def _state_size(told: Config) -> int:
    return needed(FIELD, told, "mamba_d_state", "ssm_state_size", "state_size", most=1_000_000)


def _delta(told: Config, hidden: int) -> Size:
    value_heads, value = needed(FIELD, told, "linear_num_value_heads"), needed(FIELD, told, "linear_value_head_dim")
    keys = needed(FIELD, told, "linear_num_key_heads") * needed(FIELD, told, "linear_key_head_dim")
    values, kernel = value_heads * value, needed(FIELD, told, "linear_conv_kernel_dim")
    total = hidden * (2 * keys + 2 * values + 2 * value_heads) + (2 * keys + values) * kernel
    return Size(total + 2 * value_heads + values * hidden) + copied(value)


def _kimi(told: Config, hidden: int) -> Size:
    """Kimi-K3 has the same name for it, and parts that aren't counted here."""
    if any(told.get(name) for name in ("mla_use_output_gate", "attn_res_block_size", "latent_moe_use_norm")):
        raise Unclear(FIELD)
    inner = section(told, "linear_attn_config") or told
    heads, size = (
        needed(FIELD, inner, "linear_num_heads", "num_heads"),
        needed(FIELD, inner, "linear_head_dim", "head_dim"),
    )
    kernel, width = needed(FIELD, inner, "short_conv_kernel_size", "linear_conv_kernel_dim"), heads * size
    gates = 2 * (hidden * size + size * width) + width + heads  # the forget gate has a bias, and a scale for each head
    return Size(3 * hidden * width + 3 * width * kernel + hidden * heads + gates + width * hidden) + copied(size)


def _lightning(told: Config, hidden: int) -> Size:
    heads = needed(FIELD, told, "num_attention_heads", most=1_000_000)
    width = heads * (whole(told, "head_dim") or hidden // heads)
    return Size(5 * hidden * width + width)


def _convolution(told: Config, hidden: int) -> Size:
    biased, kernel = flag(told, "conv_bias"), needed(FIELD, told, "conv_L_cache")
    return Size(linear(3 * hidden, hidden, biased) + linear(hidden, kernel, biased) + linear(hidden, hidden, biased))


STATES: dict[str, Callable[[Config, int], Size]] = {
    "mamba1": _mamba1,
    "jamba": _jamba,
    "mamba2": mamba2_size,
    "delta": _delta,
    "kimi": _kimi,
    "lightning": _lightning,
    "convolution": _convolution,
}


# --- MLPs and experts ------------------------------------------------------------------------------------------------


def mlp(told: Config, family: Family, hidden: int) -> Size:
    size, up = mlp_size(told, family), 2 if family.gated else 1
    biased = on(told, family.mlp_bias)
    return Size(linear(up * size, hidden, biased) + hidden * size) + copied(hidden if biased else 0)


def mlp_size(told: Config, family: Family) -> int:
    """Of LFM2, the size in the config is that before an adjustment."""
    size = needed("intermediateSize", told, *family.mlp_size, least=0 if family.mlp_besides else 1)
    if flag(told, "block_auto_adjust_ff_dim"):
        multiple = whole(told, "block_multiple_of") or 1
        factor = told.get("block_ffn_dim_multiplier")
        size = 2 * size // 3
        size = int(size * factor) if isinstance(factor, int | float) and 0 < factor < 1_000 else size
        size = -(-size // multiple) * multiple
    return size


def experts_block(told: Config, family: Family, hidden: int, experts: Experts) -> Size:
    size, up = experts.intermediate_size, 2 if family.gated else 1
    width = whole(told, "moe_latent_size", "routed_expert_hidden_size") or hidden
    each = linear(up * size, width, family.expert_bias) + linear(width, size, family.expert_bias)
    router = linear(experts.count, hidden, family.router_bias)
    router += hidden + experts.count if family.router_scale else 0
    latent = 2 * hidden * width if width != hidden else 0
    return (
        Size(each * experts.count, each * experts.count) + copied(router + latent) + _shared(told, family, hidden, size)
    )


def _shared(told: Config, family: Family, hidden: int, size: int) -> Size:
    if not family.shared:
        return Size()
    count = whole(told, "n_shared_experts", "num_shared_experts", "moe_num_shared_experts", least=0) or 0
    width = size * count if family.shared == "count" else whole(told, *family.shared_size, least=0) or 0
    return Size((3 if family.gated else 2) * hidden * width) + copied(hidden if family.shared_gate else 0)
