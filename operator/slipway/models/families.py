"""What the layers of a family of models consist of, as far as their number of parameters depends on it. Pure data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Bias = bool | str  # a string is the name of the field of the config that says it


@dataclass(frozen=True, kw_only=True)
class Family:
    """The features of a family's blocks; the defaults are those of Mistral."""

    norms: int = 2  # of a layer, each as wide as the model
    norm_bias: bool = False
    final_norms: int = 1
    qkv_bias: Bias = False
    out_bias: Bias = False
    qk_norm: Literal["", "head", "width", "heads"] = ""  # over a head; over all of them; for each head its own
    qk_norm_if: str = ""  # the field of the config that turns it on
    gated_query: bool = False  # queries have a gate of their own size
    sinks: bool = False
    state: Literal["", "mamba1", "jamba", "mamba2", "delta", "kimi", "lightning", "convolution"] = ""
    gated: bool = True  # the MLP has three matrices, otherwise two
    mlp_bias: Bias = False
    mlp_size: tuple[str, ...] = ("intermediate_size",)  # of dense layers
    mlp_besides: bool = False  # layers with experts have an MLP, too
    alone: bool = False  # a layer is either attention, a state, an MLP or experts (Nemotron-H)
    shared: Literal["", "count", "size"] = ""  # shared experts: their number, or their width
    shared_size: tuple[str, ...] = ("shared_expert_intermediate_size", "shared_intermediate_size")
    shared_gate: bool = False
    router_bias: bool = False
    router_scale: bool = False
    expert_bias: bool = False
    head_bias: Bias = False
    positions: int | None = None  # a learned table of positions, with this many more rows than the context length


FAMILIES: dict[str, Family] = {
    "llama": Family(qkv_bias="attention_bias", out_bias="attention_bias", mlp_bias="mlp_bias"),
    "mistral": Family(),
    "qwen2": Family(qkv_bias=True),
    "qwen2_moe": Family(qkv_bias="qkv_bias", shared="size", shared_gate=True),
    "qwen3": Family(qkv_bias="attention_bias", out_bias="attention_bias", qk_norm="head"),
    "qwen3_next": Family(
        qkv_bias="attention_bias",
        out_bias="attention_bias",
        qk_norm="head",
        gated_query=True,
        state="delta",
        shared="size",
        shared_gate=True,
    ),
    "gemma": Family(qkv_bias="attention_bias", out_bias="attention_bias"),
    "gemma2": Family(norms=4, qkv_bias="attention_bias", out_bias="attention_bias"),
    "gemma3_text": Family(norms=4, qkv_bias="attention_bias", out_bias="attention_bias", qk_norm="head"),
    "cohere": Family(
        norms=1,
        qkv_bias="attention_bias",
        out_bias="attention_bias",
        qk_norm="heads",
        qk_norm_if="use_qk_norm",
    ),
    "cohere2": Family(norms=1, qkv_bias="attention_bias", out_bias="attention_bias"),
    "exaone4": Family(qk_norm="head"),
    "gpt_oss": Family(
        qkv_bias="attention_bias", out_bias="attention_bias", sinks=True, router_bias=True, expert_bias=True
    ),
    "llama4_text": Family(
        qkv_bias="attention_bias",
        out_bias="attention_bias",
        mlp_size=("intermediate_size_mlp",),
        shared="size",
        shared_size=("intermediate_size",),
    ),
    "phi": Family(
        norms=1,
        norm_bias=True,
        qkv_bias=True,
        out_bias=True,
        qk_norm="",
        gated=False,
        mlp_bias=True,
        head_bias=True,
    ),
    "phimoe": Family(norm_bias=True, qkv_bias="attention_bias", out_bias="attention_bias", head_bias="lm_head_bias"),
    "olmo": Family(norms=0, qkv_bias="attention_bias", out_bias="attention_bias", final_norms=0),
    "olmo2": Family(qkv_bias="attention_bias", out_bias="attention_bias", qk_norm="width"),
    "granite": Family(qkv_bias="attention_bias", out_bias="attention_bias", mlp_bias="mlp_bias"),
    "granitemoehybrid": Family(
        qkv_bias="attention_bias",
        out_bias="attention_bias",
        state="mamba2",
        mlp_size=("shared_intermediate_size",),
        mlp_besides=True,
    ),
    "bamba": Family(qkv_bias="attention_bias", out_bias="attention_bias", state="mamba2", mlp_bias="mlp_bias"),
    "falcon_h1": Family(qkv_bias="attention_bias", out_bias="attention_bias", state="mamba2", mlp_bias="mlp_bias"),
    "jamba": Family(state="jamba"),
    **dict.fromkeys(("mamba", "falcon_mamba"), Family(norms=1, state="mamba1", alone=True)),
    "mamba2": Family(norms=1, state="mamba2", alone=True),
    "olmo_hybrid": Family(
        qkv_bias="attention_bias", out_bias="attention_bias", qk_norm="width", state="delta", shared="size"
    ),
    "opt": Family(
        norm_bias=True,
        qkv_bias="enable_bias",
        out_bias="enable_bias",
        gated=False,
        mlp_bias="enable_bias",
        mlp_size=("ffn_dim",),
        positions=2,
    ),
    "gpt2": Family(norm_bias=True, qkv_bias=True, out_bias=True, gated=False, mlp_bias=True, positions=0),
    "falcon": Family(norms=1, norm_bias=True, qkv_bias="bias", out_bias="bias", gated=False, mlp_bias="bias"),
    "arcee": Family(qkv_bias="attention_bias", out_bias="attention_bias", gated=False, mlp_bias="mlp_bias"),
    "afmoe": Family(norms=4, qk_norm="head", gated_query=True, shared="count", router_bias=True),
    "exaone_moe": Family(qk_norm="head", shared="count"),
    "nemotron_h": Family(
        norms=1,
        state="mamba2",
        gated=False,
        mlp_bias="mlp_bias",
        alone=True,
        shared="size",
        shared_size=("moe_shared_expert_intermediate_size",),
    ),
    "lfm2": Family(qk_norm="head", state="convolution"),
    "minimax": Family(state="lightning"),
    "kimi_linear": Family(qkv_bias="attention_bias", out_bias="attention_bias", state="kimi", shared="count"),
    "starcoder2": Family(norm_bias=True, qkv_bias="use_bias", out_bias="use_bias", gated=False, mlp_bias="use_bias"),
    "stablelm": Family(norm_bias=True, qkv_bias="use_qkv_bias"),
    "glm": Family(qkv_bias="attention_bias"),
    "glm4": Family(norms=4, qkv_bias="attention_bias"),
    "glm4_moe": Family(qkv_bias="attention_bias", qk_norm="head", qk_norm_if="use_qk_norm", shared="count"),
    "seed_oss": Family(qkv_bias="attention_bias", out_bias="attention_out_bias", mlp_bias="mlp_bias"),
    "ernie4_5": Family(qkv_bias="use_bias", out_bias="use_bias", mlp_bias="use_bias"),
    "ernie4_5_moe": Family(
        qkv_bias="use_bias", out_bias="use_bias", mlp_bias="use_bias", shared="count", router_bias=True
    ),
    "dots1": Family(qkv_bias="attention_bias", out_bias="attention_bias", qk_norm="head", shared="count"),
    "minimax_m2": Family(qk_norm="width"),
    "mimo_v2_flash": Family(qkv_bias="attention_bias", sinks=True),
    "nemotron": Family(
        norm_bias=True, qkv_bias="attention_bias", out_bias="attention_bias", gated=False, mlp_bias="mlp_bias"
    ),
    "deepseek_v2": Family(qkv_bias="attention_bias", out_bias="attention_bias", mlp_bias="mlp_bias", shared="count"),
}
SAME = {
    **dict.fromkeys(("ministral", "ministral3", "mixtral", "phi3"), "mistral"),
    **dict.fromkeys(("smollm3", "helium"), "llama"),
    "solar_open": "glm4_moe",
    **dict.fromkeys(("qwen2_vl", "qwen2_vl_text", "qwen2_5_vl", "qwen2_5_vl_text", "mimo"), "qwen2"),
    **dict.fromkeys(("qwen3_moe", "qwen3_vl_text", "qwen3_vl_moe_text", "hunyuan_v1_dense"), "qwen3"),
    **dict.fromkeys(("qwen3_5_text", "qwen3_5_moe_text"), "qwen3_next"),
    "gemma3": "gemma3_text",
    **dict.fromkeys(("olmo3", "olmoe"), "olmo2"),
    "granitemoe": "gemma",
    "granitemoeshared": "granitemoehybrid",
    "lfm2_moe": "lfm2",
    **dict.fromkeys(("deepseek_v3", "deepseek_v32", "kimi_k2", "glm4_moe_lite", "glm_moe_dsa"), "deepseek_v2"),
}


def family_of(model_type: str) -> Family | None:
    return FAMILIES.get(SAME.get(model_type, model_type))
