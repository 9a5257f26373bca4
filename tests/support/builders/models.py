"""Models with published numbers, as the planner knows them."""

from __future__ import annotations

from typing import Any, NamedTuple

from slipway.models.facts import Evidence, Experts, Keeps, Layers, Model, Weights


def attention(count: int, *, heads: int = 8, size: int = 128, **further: Any) -> Layers:
    return Layers(count=count, kv_heads=heads, key_size=size, value_size=size, **further)


class Sizes(NamedTuple):
    hidden: int
    inner: int  # of dense layers
    heads: int
    vocabulary: int
    length: int


def _model(
    name: str,
    architecture: str,
    layers: tuple[Layers, ...],
    total: int,
    sizes: Sizes,
    *,
    rotary: int = 128,
    tied: bool = False,
    active: int | None = None,
    **further: Any,
) -> Model:
    """`rotary`: values of the table of rotary embeddings for each position."""
    embedding = sizes.vocabulary * sizes.hidden
    weights = Weights(total=total, active=active or total, embedding=embedding, head=0 if tied else embedding)
    return Model(
        name=name,
        architecture=architecture,
        layers=layers,
        weights=weights,
        evidence={"parameters": Evidence.REPORTED},
        hidden_size=sizes.hidden,
        intermediate_size=sizes.inner,
        attention_heads=sizes.heads,
        vocabulary_size=sizes.vocabulary,
        context_length=sizes.length,
        **{"rope_values": sizes.length * rotary, **further},
    )


# 32 layers, 8 KV heads of 128: 32 * 2 * 8 * 128 * 2 B = 128 KiB a token.
LLAMA_8B = _model(
    "meta-llama/Llama-3.1-8B",
    "LlamaForCausalLM",
    (attention(32),),
    8_030_261_248,
    Sizes(hidden=4096, inner=14336, heads=32, vocabulary=128256, length=131072),
)
LLAMA_70B = _model(
    "meta-llama/Llama-3.1-70B",
    "LlamaForCausalLM",
    (attention(80),),
    70_553_706_496,
    Sizes(hidden=8192, inner=28672, heads=64, vocabulary=128256, length=131072),
)
QWEN_14B = _model(
    "Qwen/Qwen2.5-14B",
    "Qwen2ForCausalLM",
    (attention(48),),
    14_770_033_664,
    Sizes(hidden=5120, inner=13824, heads=40, vocabulary=152064, length=32768),
)
# The language model of it alone: 5 of 6 layers see 1,024 tokens.
GEMMA_12B = _model(
    "google/gemma-3-12b-it",
    "Gemma3ForConditionalGeneration",
    (attention(8, size=256), attention(40, size=256, window=1024)),
    11_766_034_176,
    Sizes(hidden=3840, inner=15360, heads=16, vocabulary=262208, length=131072),
    tied=True,
    rope_values=8 * 131072 * 256 + 131072 * 256,
)
MIXTRAL = _model(
    "mistralai/Mixtral-8x7B-v0.1",
    "MixtralForCausalLM",
    (attention(32),),
    46_702_792_704,
    Sizes(hidden=4096, inner=14336, heads=32, vocabulary=32000, length=32768),
    active=12_879_425_536,
    experts=Experts(count=8, per_token=2, intermediate_size=14336, layers=32),
)
# Multi-head latent attention: 512 + 64 values a token and layer; the first of 27 layers has no experts.
DEEPSEEK_LITE = _model(
    "deepseek-ai/DeepSeek-V2-Lite",
    "DeepseekV2ForCausalLM",
    (Layers(count=27, keeps=Keeps.LATENT, key_size=128, value_size=128, latent_size=576, rotary_size=64),),
    15_706_484_224,
    Sizes(hidden=2048, inner=10944, heads=16, vocabulary=102400, length=163840),
    active=2_400_000_000,
    experts=Experts(count=64, per_token=6, intermediate_size=1408, layers=26),
    rotary=64,
)

FACTS_OF_LLAMA_8B: dict[str, Any] = {
    "parameters": 8_030_000_000,
    "layers": 32,
    "attentionHeads": 32,
    "kvHeads": 8,
    "headDim": 128,
    "hiddenSize": 4096,
    "vocabularySize": 128_256,
    "contextLength": 131_072,
    "dtype": "bfloat16",
}
"""As spec.model.facts has them: 15 GiB of weights."""
