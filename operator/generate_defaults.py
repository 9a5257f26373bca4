"""Writes slipway/models/defaults.json: what transformers takes for a field that a config.json doesn't have.

Published configs leave out what equals the default of their class: that of Gemma-3-4B has no number of heads. Run it
with a Python that has transformers, as that of vLLM's CPU image:

    python operator/generate_defaults.py > operator/slipway/models/defaults.json
"""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import Any

import transformers
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

MODEL_TYPES = """
    afmoe apertus arcee bamba bert bloom cohere cohere2 dbrx deepseek_v2 deepseek_v3 deepseek_v32 deepseek_v4 dots1
    ernie4_5 ernie4_5_moe exaone4 exaone_moe falcon falcon_h1 falcon_mamba flex_olmo gemma gemma2 gemma3 gemma3_text
    gemma3n gemma3n_text gemma4 gemma4_text glm glm4 glm4_moe glm4_moe_lite glm4v glm4v_moe glm_moe_dsa gpt2
    gpt_bigcode gpt_neox gpt_oss granite granitemoe granitemoehybrid granitemoeshared helium hunyuan_v1_dense
    hunyuan_v1_moe internvl jamba kimi_k25 kimi_linear lfm2 lfm2_moe llama llama4 llama4_text longcat_flash mamba
    mamba2 mimo_v2_flash minicpm3 minimax minimax_m2 ministral ministral3 mistral mistral3 mistral4 mixtral
    modernbert mpnet nemotron nemotron_h nomic_bert olmo olmo2 olmo3 olmo_hybrid olmoe opt persimmon phi phi3 phimoe
    pixtral qwen2 qwen2_5_vl qwen2_5_vl_text qwen2_moe qwen2_vl qwen2_vl_text qwen3 qwen3_5 qwen3_5_moe
    qwen3_5_moe_text qwen3_5_text qwen3_moe qwen3_next qwen3_vl qwen3_vl_moe qwen3_vl_moe_text qwen3_vl_text roberta
    seed_oss siglip_vision_model smollm3 solar_open stablelm starcoder2 step3p7 vaultgemma xlm-roberta zamba2
"""
VISION = "gemma3 gemma4 kimi_k25 llama4 mistral3 qwen2_5_vl qwen2_vl qwen3_5 qwen3_5_moe qwen3_vl qwen3_vl_moe"
SIZES = ("hidden_size", "intermediate_size", "num_hidden_layers")  # a config without them isn't taken for the default
NOT_READ = (
    "chunk_size_feed_forward",
    "initializer_range",
    "is_encoder_decoder",
    "output_hidden_states",
    "pretraining_tp",
    "return_dict",
    "transformers_version",
    "use_cache",
)


def main() -> None:
    defaults = {name: _of(CONFIG_MAPPING[name]) for name in sorted(MODEL_TYPES.split())}
    for name in VISION.split():
        defaults[f"{name}.vision"] = _of(_tower(CONFIG_MAPPING[name]), of_tower=True)
    found = {"transformers": transformers.__version__, "defaults": defaults}
    json.dump(found, sys.stdout, indent=0, sort_keys=True)
    sys.stdout.write("\n")


def _tower(config: Any) -> Any:
    named = config.sub_configs["vision_config"]
    return named if dataclasses.is_dataclass(named) else type(config().vision_config)


def _of(config: Any, *, of_tower: bool = False) -> dict[str, bool | int | float | str]:
    """The defaults that are written in the class; those that follow from other fields are None there."""
    fields = [each for each in dataclasses.fields(config) if of_tower or each.name not in SIZES]
    return {each.name: each.default for each in fields if _is_read(each.name) and _is_plain(each.default)}


def _is_read(name: str) -> bool:
    return name not in NOT_READ and not name.endswith(("_token_id", "_eps", "_dropout", "_pdrop", "_coef", "_range"))


def _is_plain(value: object) -> bool:
    return isinstance(value, bool | int | float | str)


if __name__ == "__main__":
    main()
