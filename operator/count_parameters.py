"""Counts the parameters of models as transformers builds them, on the meta device: without memory, and without weights.

    python operator/count_parameters.py FOLDER…

writes FOLDER/counted.json, which `generate_catalogue.py` compares with what `slipway.models.parameters` computes. Run
it with a Python that has torch and transformers, as that of vLLM's CPU image.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

os.environ |= {"TRANSFORMERS_VERBOSITY": "error", "HF_HUB_OFFLINE": "1"}

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

NOT_FOR_COUNTING = ("quantization_config", "auto_map")
SAME_AS = {"kimi_k2": "deepseek_v3"}  # its code is DeepSeek's, and its own name isn't known to transformers
TOWERS = re.compile(
    r"(^|\.)(visual|vision_tower|vision_model|multi_modal_projector|mm_projector|audio_tower|embed_vision|embed_audio"
    r"|vision_embedder|patch_merger|mlp1|image_newline)\b"
)


def main() -> None:
    for folder in map(Path, sys.argv[1:]):
        found = {"transformers": transformers.__version__, "models": {}}
        for file in sorted(folder.glob("*.json")):
            if file.name != "counted.json":
                found["models"][file.stem] = counted(json.loads(file.read_text()))
        (folder / "counted.json").write_text(json.dumps(found, indent=0) + "\n")


def counted(config: dict[str, Any]) -> dict[str, Any]:
    try:
        return counts(model_of(config))
    except Exception as error:  # whatever it is: this model can't be counted
        return {"error": f"{type(error).__name__}: {error}"[:200]}


def model_of(config: dict[str, Any]) -> Any:
    made = config_of(plain(config))
    own = getattr(transformers, (config.get("architectures") or [""])[0], None)
    with torch.device("meta"):
        if own is not None and hasattr(own, "_from_config"):
            return own._from_config(made)
        try:
            return AutoModelForCausalLM.from_config(made)
        except ValueError:
            return AutoModelForImageTextToText.from_config(made)


def plain(config: dict[str, Any]) -> dict[str, Any]:
    found = {key: value for key, value in config.items() if key not in NOT_FOR_COUNTING}
    return {key: plain(value) if isinstance(value, dict) else value for key, value in found.items()}


def config_of(config: dict[str, Any]) -> Any:
    inner = config.get("text_config", {})
    if inner.get("model_type") in SAME_AS:
        inner["model_type"] = SAME_AS[inner["model_type"]]
    if config["model_type"] == "kimi_k25" and "vt_hidden_size" in config.get("vision_config", {}):
        config = {**config, **kimi(config["vision_config"])}
    model_type = SAME_AS.get(config["model_type"], config["model_type"])
    return CONFIG_MAPPING[model_type].from_dict(config)


def kimi(vision: dict[str, Any]) -> dict[str, Any]:
    """The published config has names of its own for the sizes of the tower."""
    names = {
        "vt_hidden_size": "hidden_size",
        "vt_intermediate_size": "intermediate_size",
        "vt_num_hidden_layers": "num_hidden_layers",
        "vt_num_attention_heads": "num_attention_heads",
        "init_pos_emb_height": "pos_emb_height",
        "init_pos_emb_width": "pos_emb_width",
        "init_pos_emb_time": "pos_emb_time",
        "patch_size": "patch_size",
        "merge_kernel_size": "merge_kernel_size",
    }
    renamed = {new: vision[old] for old, new in names.items()}
    return {"vision_config": renamed, "projection_hidden_size": vision["mm_hidden_size"]}


def counts(model: Any) -> dict[str, int]:
    parameters = {name: each.numel() for name, each in model.named_parameters()}
    table = model.get_input_embeddings().weight
    output = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    tied = output is None or output.weight is table
    return {
        "total": sum(parameters.values()),
        "embedding": table.numel(),
        "head": 0 if tied else output.weight.numel(),
        "experts": sum(count for name, count in parameters.items() if ".experts." in name),
        "encoders": sum(count for name, count in parameters.items() if TOWERS.search(name)),
    }


if __name__ == "__main__":
    main()
