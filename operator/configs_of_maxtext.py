"""Writes config.json files from the published configs in maxtext, a source for `generate_catalogue.py`.

    pip download maxtext==0.2.5 --no-deps --python-version 3.12 --only-binary=:all: && unzip maxtext-*.whl -d UNPACKED
    python operator/configs_of_maxtext.py UNPACKED FOLDER

maxtext passes their fields to transformers' classes; here a stub takes them instead.
"""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

WANTED = """
    gemma3-4b gemma3-12b gemma3-27b gemma4-26b gemma4-31b qwen2.5-1.5b qwen2.5-7b qwen2.5-14b llama3.1-8b-Instruct
    deepseek2-16b qwen3-next-80b-a3b qwen3-vl-4b qwen3-vl-30b-a3b olmo3-7b olmo3-7b-pt olmo3-32b mixtral-8x7b
    mixtral-8x22b qwen3-235b-a22b qwen3-30b-a3b
"""
# Of Gemma 3, maxtext has a length and a vocabulary that aren't the published ones; the published configs leave both to
# the defaults of the class.
NOT_TAKEN = {"gemma3": ("max_position_embeddings", "vocab_size")}


class Recorder(ModuleType):
    """Stands for transformers: each class returns the fields that it is given."""

    __version__ = "4.0.0"

    class PretrainedConfig:
        def __init__(self, **fields: Any) -> None:
            self.__dict__ |= fields

    configuration_utils: Any

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def made(**fields: Any) -> dict[str, Any]:
            return {"model_type": TYPES.get(name, ""), **fields, "of": name}

        return made


TYPES = {
    "Gemma3Config": "gemma3",
    "Qwen2Config": "qwen2",
    "LlamaConfig": "llama",
    "MixtralConfig": "mixtral",
    "Olmo3Config": "olmo3",
    "Qwen3MoeConfig": "qwen3_moe",
    "Qwen3NextConfig": "qwen3_next",
}
ARCHITECTURES = {
    "qwen2": "Qwen2ForCausalLM",
    "llama": "LlamaForCausalLM",
    "mixtral": "MixtralForCausalLM",
    "olmo3": "Olmo3ForCausalLM",
    "qwen3_moe": "Qwen3MoeForCausalLM",
    "qwen3_next": "Qwen3NextForCausalLM",
}


def main() -> None:
    unpacked, folder = Path(sys.argv[1]), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    configs, names = configs_of(unpacked), names_of(unpacked)
    for key in WANTED.split():
        config = plain(configs[key])
        config.setdefault("architectures", [ARCHITECTURES.get(config["model_type"], "")])
        for family, fields in NOT_TAKEN.items():
            if config["model_type"] == family:
                config["text_config"] = {k: v for k, v in config["text_config"].items() if k not in fields}
        (folder / f"{names[key].replace('/', '--')}.json").write_text(json.dumps(config, indent=1))
    source = {"source": "maxtext 0.2.5, maxtext/checkpoint_conversion/utils/hf_model_configs.py"}
    (folder / "source.yaml").write_text(json.dumps(source, indent=1))


def configs_of(unpacked: Path) -> dict[str, Any]:
    stub = Recorder("transformers")
    stub.configuration_utils = stub
    sys.modules |= {"transformers": stub, "transformers.configuration_utils": stub}
    path = unpacked / "maxtext/checkpoint_conversion/utils/hf_model_configs.py"
    spec = importlib.util.spec_from_file_location("maxtext_configs", path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{unpacked} has no maxtext in it: unpack the wheel there.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: dict[str, Any] = module.HF_MODEL_CONFIGS
    return found


def names_of(unpacked: Path) -> dict[str, str]:
    text = (unpacked / "maxtext/utils/globals.py").read_text()
    table = re.search(r"^HF_IDS = (\{.*?^\})", text, re.S | re.M)
    if table is None:
        raise SystemExit("maxtext/utils/globals.py has no HF_IDS.")
    return dict(re.findall(r'^\s+"([^"]+)": "([^"]+)"', table[1], re.M))


def plain(config: Any) -> dict[str, Any]:
    """Nested classes become objects."""
    found = dict(config if isinstance(config, dict) else vars(config))
    found.pop("of", None)
    return {key: plain(value) if isinstance(value, dict) else value for key, value in found.items()}


if __name__ == "__main__":
    main()
