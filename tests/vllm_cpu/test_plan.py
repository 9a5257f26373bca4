"""The planned cache of vLLM on CPUs, next to that of the real engine: tiny models of every kind of layers."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from slipway.models.config import model_of_config
from slipway.operator.planning.memory.blocks import cache_of
from slipway.operator.planning.memory.releases import CURRENT
from slipway.operator.planning.memory.settings import GIB, Settings
from support.repository import ROOT

CAPACITY = ROOT / "tests/support/programs/vllm_capacity.py"
LIMIT = 300  # seconds for all models

LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "vocab_size": 1024,
    "max_position_embeddings": 4096,
    "torch_dtype": "bfloat16",
    "bos_token_id": 1,
    "eos_token_id": 2,
}
SHAPES: dict[str, dict[str, Any]] = {
    "grouped queries": LLAMA,
    "as many KV heads as heads": LLAMA | {"num_key_value_heads": 8},
    "a window in all layers": LLAMA
    | {"architectures": ["MistralForCausalLM"], "model_type": "mistral", "sliding_window": 256},
    "a window in five of six layers": LLAMA
    | {
        "architectures": ["Gemma3ForCausalLM"],
        "model_type": "gemma3_text",
        "num_hidden_layers": 6,
        "head_dim": 64,
        "sliding_window": 256,
        "sliding_window_pattern": 6,
        "query_pre_attn_scalar": 64,
    },
    "latent vectors and experts": LLAMA
    | {
        "architectures": ["DeepseekV2ForCausalLM"],
        "model_type": "deepseek_v2",
        "num_key_value_heads": 8,
        "kv_lora_rank": 128,
        "q_lora_rank": None,
        "qk_rope_head_dim": 32,
        "qk_nope_head_dim": 32,
        "v_head_dim": 32,
        "n_routed_experts": 4,
        "n_shared_experts": 1,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 128,
        "first_k_dense_replace": 1,
        "n_group": 1,
        "topk_group": 1,
        "routed_scaling_factor": 1.0,
        "scoring_func": "softmax",
        "topk_method": "greedy",
    },
    "experts": LLAMA
    | {
        "architectures": ["MixtralForCausalLM"],
        "model_type": "mixtral",
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
    },
}


@pytest.fixture(scope="module")
def capacities(python: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, int]]:
    """What vLLM says of each shape."""
    folders = [tmp_path_factory.mktemp("shape") for _ in SHAPES]
    for folder, config in zip(folders, SHAPES.values(), strict=True):
        (folder / "config.json").write_text(json.dumps(config))
    # -P: modules next to the script have names of the standard library's
    command = [str(python), "-P", str(CAPACITY), *map(str, folders)]
    ran = subprocess.run(command, capture_output=True, timeout=LIMIT, check=False)
    assert ran.returncode == 0, ran.stderr.decode()[-3000:]
    told = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith(b"{")]
    return dict(zip(SHAPES, told, strict=True))


@pytest.mark.timeout(LIMIT + 60)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_planned_cache_holds_exactly_as_many_tokens_as_vllm_says(
    capacities: dict[str, dict[str, int]], shape: str
) -> None:
    told = capacities[shape]
    settings = Settings(
        sequences=told["sequences"],
        batched_tokens=told["batched_tokens"],
        block_size=128,
        latent_block_size=16,
        batches_in_flight=1,
    )
    cache = cache_of(model_of_config(SHAPES[shape]), settings, CURRENT)
    assert cache
    assert (cache.tokens(GIB, told["length"]), cache.block_bytes) == (told["tokens"], GIB // told["blocks"])
