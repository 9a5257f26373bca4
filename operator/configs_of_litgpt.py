"""Writes config.json files from litgpt's own configs, a source for `generate_catalogue.py`.

    pip download litgpt==0.5.13 --no-deps && unzip litgpt-*.whl -d UNPACKED
    python operator/configs_of_litgpt.py UNPACKED FOLDER

litgpt has each model's sizes under its name on the Hub, but neither whether the output layer is the embedding (below:
from google-tunix 0.1.7 and torchtune 0.6.1), nor in each case the length that the published config names: so models are
listed here one by one, and those of which another source has another length aren't.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

TIED = ("Llama-3.2-1B", "Llama-3.2-3B", "Qwen3-4B", "gemma-2-")
WANTED = """
    Llama-3-8B Llama-3-8B-Instruct Llama-3-70B Llama-3-70B-Instruct Llama-3.1-8B-Instruct Llama-3.1-70B-Instruct
    Llama-3.1-405B-Instruct Llama-3.2-1B Llama-3.2-1B-Instruct Llama-3.2-3B Llama-3.2-3B-Instruct Llama-3.3-70B-Instruct
    Llama-3.1-Nemotron-70B-Instruct-HF R1-Distill-Llama-8B R1-Distill-Llama-70B Qwen3-4B Qwen3-4B-Base Qwen3-14B
    Qwen3-14B-Base Qwen3-4B-Instruct-2507 Qwen3-4B-Thinking-2507 Qwen3-30B-A3B-Instruct-2507 Qwen3-30B-A3B-Thinking-2507
    Qwen3-235B-A22B-Instruct-2507 Qwen3-235B-A22B-Thinking-2507 Gemma-2-2b-it Gemma-2-9b Gemma-2-9b-it Gemma-2-27b
    Gemma-2-27b-it phi-4 Phi-4-reasoning Phi-4-reasoning-plus Mistral-7B-Instruct-v0.2 Mistral-7B-v0.3
    Mistral-7B-Instruct-v0.3 Mixtral-8x7B-Instruct-v0.1 Mixtral-8x22B-Instruct-v0.1 OLMo-2-1124-7B
    OLMo-2-1124-7B-Instruct OLMo-2-1124-13B OLMo-2-1124-13B-Instruct
"""
RENAMED = {"Meta-Llama-3.1": "Llama-3.1"}  # the Hub forwards the old name; both are listed


def main() -> None:
    litgpt, folder = configs_of(Path(sys.argv[1])), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    also = {}
    for name in WANTED.split():
        found = litgpt.Config.from_name(name)
        hub = f"{found.hf_config['org']}/{found.hf_config['name']}"
        (folder / f"{hub.replace('/', '--')}.json").write_text(json.dumps(as_published(found), indent=1))
        for old, new in RENAMED.items():
            if old in hub:
                also[hub] = [hub.replace(old, new)]
    source = {"source": "litgpt 0.5.13, litgpt/config.py", "also": also}
    (folder / "source.yaml").write_text(json.dumps(source, indent=1))


def configs_of(unpacked: Path) -> Any:
    spec = importlib.util.spec_from_file_location("litgpt_config", unpacked / "litgpt/config.py")
    if spec is None or spec.loader is None:
        raise SystemExit(f"{unpacked} has no litgpt/config.py: unpack the wheel there.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def as_published(found: Any) -> dict[str, Any]:
    kind, architecture = family(found)
    config = {
        "architectures": [architecture],
        "model_type": kind,
        "hidden_size": found.n_embd,
        "intermediate_size": found.intermediate_size,
        "num_hidden_layers": found.n_layer,
        "num_attention_heads": found.n_head,
        "num_key_value_heads": found.n_query_groups,
        "head_dim": found.head_size,
        "vocab_size": found.padded_vocab_size,
        "max_position_embeddings": found.block_size,
        "rope_theta": found.rope_base,
        "tie_word_embeddings": any(name in found.hf_config["name"] for name in TIED),
        "torch_dtype": "bfloat16",
    }
    if adjustments := found.rope_adjustments:
        scaling = {key: value for key, value in adjustments.items() if key != "original_max_seq_len"}
        original = {"original_max_position_embeddings": adjustments["original_max_seq_len"], "rope_type": "llama3"}
        config["rope_scaling"] = {**scaling, **original}
    if found.n_expert:
        size = {"moe_intermediate_size": found.moe_intermediate_size} if found.moe_intermediate_size else {}
        experts = {"num_experts" if size else "num_local_experts": found.n_expert, **size}
        config |= {**experts, "num_experts_per_tok": found.n_expert_per_token}
    return config | window(found, kind)


def window(found: Any, kind: str) -> dict[str, Any]:
    """In Gemma 2, every other layer has one."""
    if found.sliding_window_size is None:
        return {"sliding_window": None} if kind == "mistral" else {}
    if kind != "gemma2" or found.sliding_window_indices != [1 - index % 2 for index in range(found.n_layer)]:
        raise SystemExit(f"{found.name}: this script doesn't know its windows.")
    return {"sliding_window": found.sliding_window_size}


def family(found: Any) -> tuple[str, str]:
    name, experts = found.hf_config["name"].lower(), bool(found.n_expert)
    for start, dense, sparse in (
        ("qwen3", ("qwen3", "Qwen3ForCausalLM"), ("qwen3_moe", "Qwen3MoeForCausalLM")),
        ("gemma-2", ("gemma2", "Gemma2ForCausalLM"), None),
        ("phi-4", ("phi3", "Phi3ForCausalLM"), None),
        ("mi", ("mistral", "MistralForCausalLM"), ("mixtral", "MixtralForCausalLM")),
        ("olmo-2", ("olmo2", "Olmo2ForCausalLM"), None),
    ):
        if name.startswith(start):
            return sparse if experts and sparse else dense
    return "llama", "LlamaForCausalLM"


if __name__ == "__main__":
    main()
