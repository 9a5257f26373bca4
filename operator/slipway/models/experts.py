"""Mixtures of experts: how many experts, how large, and in which layers. Pure."""

from __future__ import annotations

from collections.abc import Callable

from slipway.models.facts import Experts
from slipway.models.values import Config, Unclear, items, needed, text, whole

COUNT = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
PER_TOKEN = ("num_experts_per_tok", "num_experts_per_token", "moe_k", "top_k_experts", "moe_topk", "moe_top_k")
MOST = 100_000


def experts_of(told: Config) -> Experts | None:
    count = whole(told, *COUNT, most=MOST) or max(_whole_numbers(told, *COUNT), default=0)
    at = sparse_layers(told) if count > 1 else []
    if not any(at):
        return None
    return Experts(
        count=count,
        per_token=min(count, needed("expertsPerToken", told, *PER_TOKEN, most=MOST)),
        intermediate_size=needed("intermediateSize", told, *_size(told)),
        layers=sum(at),
    )


def sparse_layers(told: Config) -> list[bool]:
    """Returns for each layer whether it has experts."""
    count = needed("layers", told, "num_hidden_layers", "num_layers", most=4096)
    kinds = items(told, "mlp_layer_types")
    if kinds is not None:
        if len(kinds) < count:
            raise Unclear("experts")
        return [kind == "sparse" for kind in kinds[:count]]
    rule = RULES.get(text(told, "model_type"), _after_dense)
    return [rule(told, index) for index in range(count)]


def _size(told: Config) -> tuple[str, ...]:
    return ("moe_intermediate_size", "intermediate_size")


def _whole_numbers(told: Config, *names: str) -> list[int]:
    return [value for value in items(told, *names) or [] if isinstance(value, int) and 0 < value <= MOST]


def _after_dense(told: Config, index: int) -> bool:
    """DeepSeek's: dense ones first, then every nth has experts."""
    dense = whole(told, "first_k_dense_replace", "num_dense_layers", least=0) or 0
    frequency = items(told, "moe_layer_freq")
    if frequency is not None:
        return index < len(frequency) and bool(frequency[index])
    return index >= dense and index % (whole(told, "moe_layer_freq") or 1) == 0


def _qwen(told: Config, index: int) -> bool:
    if index in (items(told, "mlp_only_layers") or []):
        return False
    return (index + 1) % (whole(told, "decoder_sparse_step") or 1) == 0


def _llama4(told: Config, index: int) -> bool:
    named = items(told, "moe_layers")
    return index in named if named is not None else (index + 1) % (whole(told, "interleave_moe_layer_step") or 1) == 0


def _jamba(told: Config, index: int) -> bool:
    period, offset = whole(told, "expert_layer_period") or 1, whole(told, "expert_layer_offset", least=0) or 0
    return index % period == offset


def _ernie(told: Config, index: int) -> bool:
    last = whole(told, "moe_layer_end_index", least=0)
    start, interval = whole(told, "moe_layer_start_index", least=0) or 0, whole(told, "moe_layer_interval") or 1
    return start <= index and (last is None or index <= last) and (index + 1) % interval == 0


def _nemotron_h(told: Config, index: int) -> bool:
    pattern, kinds = text({"pattern": told.get("hybrid_override_pattern")}, "pattern"), items(told, "layers_block_type")
    if pattern:
        return pattern.replace("|", "")[index : index + 1] == "E"
    return kinds is not None and index < len(kinds) and kinds[index] == "moe"


RULES: dict[str, Callable[[Config, int], bool]] = {
    **dict.fromkeys(("qwen2_moe", "qwen3_moe", "qwen3_next", "qwen3_vl_moe_text"), _qwen),
    "llama4_text": _llama4,
    "jamba": _jamba,
    "ernie4_5_moe": _ernie,
    "nemotron_h": _nemotron_h,
}
