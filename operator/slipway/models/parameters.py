"""The number of parameters, computed from a config.json: exact for the families below, unknown for all others. Pure.

Each family is a set of features of its blocks. The numbers are compared with what transformers makes of the same
configs (`generate_catalogue.py --verify`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from slipway.models.experts import experts_of, sparse_layers
from slipway.models.facts import Experts, Weights
from slipway.models.layers import head_size, kv_heads, layers_of
from slipway.models.values import Config, Unclear, flag, needed, text, whole

FIELD = "parameters"


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


@dataclass(frozen=True, kw_only=True)
class Family:
    """What the layers of a family consist of. A string is the name of the field of the config that says it."""

    norms: int = 2  # of a layer, each as wide as the model
    norm_bias: bool = False
    qkv_bias: bool | str = False
    out_bias: bool | str = False
    qk_norm: Literal["", "head", "width", "heads"] = ""  # over a head; over all of them; for each its own
    qk_norm_if: str = ""
    gated_query: bool = False  # the queries have a gate of their own size
    sinks: bool = False
    gated: bool = True  # the MLP has three matrices, otherwise two
    mlp_bias: bool | str = False
    mlp_size: tuple[str, ...] = ("intermediate_size",)
    shared: Literal["", "count", "size"] = ""  # shared experts: their number, or their width
    shared_gate: bool = False
    router_bias: bool = False
    expert_bias: bool = False
    head_bias: bool | str = False
    final_norms: int = 1
    latent: bool = False  # multi-head latent attention


FAMILIES: dict[str, Family] = {
    "llama": Family(qkv_bias="attention_bias", out_bias="attention_bias", mlp_bias="mlp_bias"),
    "mistral": Family(),
    "ministral": Family(),
    "ministral3": Family(),
    "mixtral": Family(),
    "qwen2": Family(qkv_bias=True),
    "qwen2_moe": Family(qkv_bias="qkv_bias", shared="size", shared_gate=True),
    "qwen3": Family(qkv_bias="attention_bias", out_bias="attention_bias", qk_norm="head"),
    "qwen3_moe": Family(qkv_bias="attention_bias", out_bias="attention_bias", qk_norm="head"),
    "gemma": Family(qkv_bias="attention_bias", out_bias="attention_bias"),
    "gemma2": Family(norms=4, qkv_bias="attention_bias", out_bias="attention_bias"),
    "gemma3_text": Family(norms=4, qkv_bias="attention_bias", out_bias="attention_bias", qk_norm="head"),
    "cohere": Family(
        norms=1, qkv_bias="attention_bias", out_bias="attention_bias", qk_norm="heads", qk_norm_if="use_qk_norm"
    ),
    "cohere2": Family(norms=1, qkv_bias="attention_bias", out_bias="attention_bias"),
    "exaone4": Family(qk_norm="head"),
    "gpt_oss": Family(
        qkv_bias="attention_bias", out_bias="attention_bias", sinks=True, router_bias=True, expert_bias=True
    ),
    "phi": Family(norms=1, norm_bias=True, qkv_bias=True, out_bias=True, gated=False, mlp_bias=True, head_bias=True),
    "phi3": Family(),
    "phimoe": Family(norm_bias=True, qkv_bias="attention_bias", out_bias="attention_bias", head_bias="lm_head_bias"),
    "olmo": Family(norms=0, qkv_bias="attention_bias", out_bias="attention_bias", final_norms=0),
    "olmo2": Family(qkv_bias="attention_bias", out_bias="attention_bias", qk_norm="width"),
    "olmo3": Family(qkv_bias="attention_bias", out_bias="attention_bias", qk_norm="width"),
    "olmoe": Family(qkv_bias="attention_bias", out_bias="attention_bias", qk_norm="width"),
    "granite": Family(qkv_bias="attention_bias", out_bias="attention_bias", mlp_bias="mlp_bias"),
    "granitemoe": Family(qkv_bias="attention_bias", out_bias="attention_bias"),
    "starcoder2": Family(norm_bias=True, qkv_bias="use_bias", out_bias="use_bias", gated=False, mlp_bias="use_bias"),
    "stablelm": Family(norm_bias=True, qkv_bias="use_qkv_bias"),
    "glm": Family(qkv_bias="attention_bias"),
    "glm4": Family(norms=4, qkv_bias="attention_bias"),
    "glm4_moe": Family(qkv_bias="attention_bias", qk_norm="head", qk_norm_if="use_qk_norm", shared="count"),
    "seed_oss": Family(qkv_bias="attention_bias", out_bias="attention_out_bias", mlp_bias="mlp_bias"),
    "smollm3": Family(qkv_bias="attention_bias", out_bias="attention_bias", mlp_bias="mlp_bias"),
    "hunyuan_v1_dense": Family(qkv_bias="attention_bias", out_bias="attention_bias", qk_norm="head"),
    "ernie4_5": Family(qkv_bias="use_bias", out_bias="use_bias", mlp_bias="use_bias"),
    "dots1": Family(qkv_bias="attention_bias", out_bias="attention_bias", qk_norm="head", shared="count"),
    "minimax_m2": Family(qk_norm="width"),
    "nemotron": Family(
        norm_bias=True, qkv_bias="attention_bias", out_bias="attention_bias", gated=False, mlp_bias="mlp_bias"
    ),
}
FAMILIES |= dict.fromkeys(
    ("deepseek_v2", "deepseek_v3", "deepseek_v32", "kimi_k2", "glm4_moe_lite", "glm_moe_dsa"),
    Family(qkv_bias="attention_bias", out_bias="attention_bias", shared="count", latent=True),
)
SAME = {  # configs of these say in all that counts the same as those
    "qwen2_vl_text": "qwen2",
    "qwen2_5_vl_text": "qwen2",
    "qwen2_vl": "qwen2",
    "qwen2_5_vl": "qwen2",
    "qwen3_vl_text": "qwen3",
    "qwen3_vl_moe_text": "qwen3_moe",
    "gemma3": "gemma3_text",
}


def weights_of(config: Config, told: Config) -> Weights:
    """Raises Unclear for a family that isn't covered."""
    model_type = text(told, "model_type")
    family = FAMILIES.get(SAME.get(model_type, model_type))
    if family is None or "vision_config" in config or "audio_config" in config:
        raise Unclear(FIELD)
    hidden = needed("hiddenSize", told, "hidden_size")
    vocabulary = needed("vocabularySize", told, "vocab_size")
    experts = experts_of(told)
    layers = _layers(told, family, hidden, experts)
    return _assembled(told, family, layers, hidden * vocabulary, hidden, experts)


def _assembled(told: Config, family: Family, layers: Size, table: int, hidden: int, experts: Experts | None) -> Weights:
    norm = _norm(family, hidden) * family.final_norms
    tied = flag(told, "tie_word_embeddings", default=True)
    head = 0 if tied else table
    bias = needed("vocabularySize", told, "vocab_size") if _on(told, family.head_bias) else 0
    total = table + head + bias + layers.total + norm
    idle = layers.experts * (experts.count - experts.per_token) // experts.count if experts else 0
    return Weights(
        total=total,
        active=total - idle,
        embedding=table,
        head=head,
        experts=layers.experts,
        unsplit=layers.unsplit + norm,
    )


def _layers(told: Config, family: Family, hidden: int, experts: Experts | None) -> Size:
    count = needed("layers", told, "num_hidden_layers", most=4096)
    every = (_latent if family.latent else _attention)(told, family, hidden) + _norms(family, hidden)
    sparse = sum(sparse_layers(told)) if experts else 0
    indexed = sum(each.count for each in layers_of(told) if each.index_bytes)
    total = every * count + (_index(told, hidden) * indexed if indexed else Size())
    if sparse and experts:
        total += _experts(told, family, hidden, experts) * sparse
    if count - sparse:
        size = needed("intermediateSize", told, *family.mlp_size)
        total += _mlp(told, family, hidden, size) * (count - sparse)
    return total


def _norm(family: Family, width: int) -> int:
    return width * (2 if family.norm_bias else 1)


def _norms(family: Family, hidden: int) -> Size:
    both = _norm(family, hidden) * family.norms
    return Size(both, 0, both)


def _attention(told: Config, family: Family, hidden: int) -> Size:
    heads = needed("attentionHeads", told, "num_attention_heads", most=1_000_000)
    size, grouped = head_size(told), kv_heads(told) or heads
    queries = heads * size
    projected = queries * (2 if family.gated_query else 1) + 2 * grouped * size
    total = hidden * projected + queries * hidden
    total += projected if _on(told, family.qkv_bias) else 0
    out_bias = hidden if _on(told, family.out_bias) else 0
    norms = _qk_norm(told, family, heads, grouped, size)
    return Size(total + out_bias + norms + (heads if family.sinks else 0), 0, out_bias + norms)


def _latent(told: Config, family: Family, hidden: int) -> Size:
    """DeepSeek's: queries and keys are compressed, and the compressing matrices are copied to each device."""
    heads = needed("attentionHeads", told, "num_attention_heads", most=1_000_000)
    rank, rotary = needed(FIELD, told, "kv_lora_rank"), needed(FIELD, told, "qk_rope_head_dim", least=0)
    plain, value = needed(FIELD, told, "qk_nope_head_dim"), needed(FIELD, told, "v_head_dim")
    query_rank, queries, biased = whole(told, "q_lora_rank"), heads * (plain + rotary), _on(told, family.qkv_bias)
    split = (query_rank or hidden) * queries + rank * heads * (plain + value) + heads * value * hidden
    copied = hidden * (rank + rotary) + rank + (rank + rotary if biased else 0)
    copied += hidden * query_rank + query_rank + (query_rank if biased else 0) if query_rank else 0
    copied += hidden if _on(told, family.out_bias) else 0
    return Size(split + copied, 0, copied)


def _index(told: Config, hidden: int) -> Size:
    """Of DeepSeek-V3.2's search for the tokens to attend to; each device has a copy."""
    size, heads = needed(FIELD, told, "index_head_dim"), needed(FIELD, told, "index_n_heads")
    total = needed(FIELD, told, "q_lora_rank") * heads * size + hidden * (size + heads) + 2 * size
    return Size(total, 0, total)


def _qk_norm(told: Config, family: Family, heads: int, grouped: int, size: int) -> int:
    if family.qk_norm_if and not flag(told, family.qk_norm_if):
        return 0
    wide = (heads + grouped) * size
    return {"": 0, "head": 2 * size, "width": wide, "heads": wide}[family.qk_norm]


def _mlp(told: Config, family: Family, hidden: int, size: int) -> Size:
    up = 2 if family.gated else 1
    biased = _on(told, family.mlp_bias)
    return Size((up + 1) * hidden * size + (up * size + hidden if biased else 0), 0, hidden if biased else 0)


def _experts(told: Config, family: Family, hidden: int, experts: Experts) -> Size:
    size, up = experts.intermediate_size, 2 if family.gated else 1
    each = (up + 1) * hidden * size + (up * size + hidden if family.expert_bias else 0)
    router = hidden * experts.count + (experts.count if family.router_bias else 0)
    shared = _shared(told, family, hidden, size)
    return Size(each * experts.count, each * experts.count) + Size(router, 0, router) + shared


def _shared(told: Config, family: Family, hidden: int, size: int) -> Size:
    if not family.shared:
        return Size()
    count = whole(told, "n_shared_experts", "num_shared_experts", "moe_num_shared_experts", least=0) or 0
    width = size * count
    if family.shared == "size":
        width = whole(told, "shared_expert_intermediate_size", "shared_intermediate_size", least=0) or 0
    gate = hidden if family.shared_gate else 0
    return Size((3 if family.gated else 2) * hidden * width + gate, 0, gate)


def _on(told: Config, feature: bool | str) -> bool:
    return flag(told, feature) if isinstance(feature, str) else feature


Special = Callable[[Config, Config], Weights]
