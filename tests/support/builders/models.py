"""Models with published numbers, as the planner knows them."""

from __future__ import annotations

from typing import Any

from slipway.models.facts import Evidence, Experts, Keeps, Layers, Model, Weights


def attention(count: int, *, heads: int = 8, size: int = 128, **further: Any) -> Layers:
    return Layers(count=count, kv_heads=heads, key_size=size, value_size=size, **further)


def _model(name: str, architecture: str, layers: tuple[Layers, ...], total: int, **further: Any) -> Model:
    embedding, head = further.pop("embedding"), further.pop("head", 0)
    return Model(
        name=name,
        architecture=architecture,
        layers=layers,
        weights=Weights(total=total, active=further.pop("active", total), embedding=embedding, head=head),
        evidence={"parameters": Evidence.REPORTED},
        **further,
    )


# 32 layers, 8 KV heads of 128: 32 * 2 * 8 * 128 * 2 B = 128 KiB a token.
LLAMA_8B = _model(
    "meta-llama/Llama-3.1-8B",
    "LlamaForCausalLM",
    (attention(32),),
    8_030_261_248,
    embedding=525_336_576,
    head=525_336_576,
    hidden_size=4096,
    intermediate_size=14336,
    attention_heads=32,
    vocabulary_size=128256,
    context_length=131072,
    rope_values=131072 * 128,
)
LLAMA_70B = _model(
    "meta-llama/Llama-3.1-70B",
    "LlamaForCausalLM",
    (attention(80),),
    70_553_706_496,
    embedding=1_050_673_152,
    head=1_050_673_152,
    hidden_size=8192,
    intermediate_size=28672,
    attention_heads=64,
    vocabulary_size=128256,
    context_length=131072,
    rope_values=131072 * 128,
)
QWEN_14B = _model(
    "Qwen/Qwen2.5-14B",
    "Qwen2ForCausalLM",
    (attention(48),),
    14_770_033_664,
    embedding=778_567_680,
    head=778_567_680,
    hidden_size=5120,
    intermediate_size=13824,
    attention_heads=40,
    vocabulary_size=152064,
    context_length=32768,
    rope_values=32768 * 128,
)
# The language model of it alone: 5 of 6 layers see 1,024 tokens.
GEMMA_12B = _model(
    "google/gemma-3-12b-it",
    "Gemma3ForConditionalGeneration",
    (attention(8, size=256), attention(40, size=256, window=1024)),
    11_766_034_176,
    embedding=1_006_878_720,
    hidden_size=3840,
    intermediate_size=15360,
    attention_heads=16,
    vocabulary_size=262208,
    context_length=131072,
    rope_values=8 * 131072 * 256 + 131072 * 256,
)
MIXTRAL = _model(
    "mistralai/Mixtral-8x7B-v0.1",
    "MixtralForCausalLM",
    (attention(32),),
    46_702_792_704,
    active=12_879_425_536,
    embedding=131_072_000,
    head=131_072_000,
    hidden_size=4096,
    intermediate_size=14336,
    attention_heads=32,
    vocabulary_size=32000,
    context_length=32768,
    experts=Experts(count=8, per_token=2, intermediate_size=14336, layers=32),
    rope_values=32768 * 128,
)
# Multi-head latent attention: 512 + 64 values a token and layer; the first of 27 layers has no experts.
DEEPSEEK_LITE = _model(
    "deepseek-ai/DeepSeek-V2-Lite",
    "DeepseekV2ForCausalLM",
    (Layers(count=27, keeps=Keeps.LATENT, key_size=128, value_size=128, latent_size=576, rotary_size=64),),
    15_706_484_224,
    active=2_400_000_000,
    embedding=209_715_200,
    head=209_715_200,
    hidden_size=2048,
    intermediate_size=10944,
    attention_heads=16,
    vocabulary_size=102400,
    context_length=163840,
    experts=Experts(count=64, per_token=6, intermediate_size=1408, layers=26),
    rope_values=163840 * 64,
)
