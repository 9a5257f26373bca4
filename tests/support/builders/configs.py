"""config.json files of published models, and what is known of models by theirs."""

from __future__ import annotations

from typing import Any

from slipway.models.catalogue import shipped
from slipway.models.config import model_of_config
from slipway.models.facts import Model

LLAMA_3_1_8B: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 8192},
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}


def known(name: str) -> Model:
    model = shipped().find(f"hf://{name}")
    assert model is not None
    return model


def of_class(model_type: str, **fields: Any) -> Model:
    base = {"num_hidden_layers": 4, "hidden_size": 256, "intermediate_size": 512, "vocab_size": 1000}
    heads = {"num_attention_heads": 8, "num_key_value_heads": 2, "max_position_embeddings": 4096}
    return model_of_config({"model_type": model_type, **base, **heads, **fields})
