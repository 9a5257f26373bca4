"""How a checkpoint is quantized, from the `quantization_config` of its config.json. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from slipway.models.facts import MXFP4_GROUP, Quantization
from slipway.models.values import Config, items, section, text, whole

MOST_BITS = 64
DEFAULT_BITS = {"fp8": 8.0, "fbgemm_fp8": 8.0, "mxfp4": 4.0, "awq": 4.0, "bitsandbytes": 8.0, "modelopt": 8.0}
SCALED_BLOCK = {"mxfp4": MXFP4_GROUP, "nvfp4": 16}  # weights that share a scale, by definition of the format


def quantization_of(config: Config, told: Config) -> Quantization | None:
    found = section(config, "quantization_config", "compression_config")
    found = found or section(told, "quantization_config", "compression_config")
    if not found:
        return None
    method = text(found, "quant_method", "quant_algo").lower().replace("compressed_tensors", "compressed-tensors")
    algorithm = text(found, "quant_algo") or text(section(found, "quantization"), "quant_algo")
    weights = _weights_of_a_group(found)
    bits = _bits(found, weights, method, algorithm)
    if not (method or algorithm) or bits is None:
        return None
    quantization = Quantization(
        method=method or algorithm.lower(),
        bits=bits,
        group_size=_group_size(found, weights, method, algorithm),
        only_experts=_spares_attention(found, method),
        floats=text(weights, "type").lower() == "float" or "FP" in algorithm.upper(),
    )
    return replace(quantization, edge=_edge(found, weights, quantization))


def _bits(found: Config, weights: Config, method: str, algorithm: str) -> float | None:
    bits = whole(found, "bits", "w_bit", most=MOST_BITS) or whole(weights, "num_bits", most=MOST_BITS)
    if bits:
        return float(bits)
    if algorithm:
        return 4.0 if "4" in algorithm.upper().replace("W4A16", "4") else 8.0
    if found.get("load_in_4bit") is True:
        return 4.0
    return DEFAULT_BITS.get(method)


def _group_size(found: Config, weights: Config, method: str, algorithm: str) -> int | None:
    size = whole(found, "group_size", "q_group_size") or whole(weights, "group_size")
    if size:
        return size
    if block := _block(found, weights):
        return block[0] * block[1]
    return SCALED_BLOCK.get(method) or SCALED_BLOCK.get(algorithm.lower())


def _edge(found: Config, weights: Config, quantization: Quantization) -> int | None:
    """Of a block, or of a group of integers: engines refuse to split one, while they pad those of small floats."""
    if block := _block(found, weights):
        return max(block)
    return quantization.group_size if quantization.format in ("int4", "int8") else None


def _block(found: Config, weights: Config) -> tuple[int, int] | None:
    block = items(found, "weight_block_size") or items(weights, "block_structure")
    if block and len(block) == 2 and all(isinstance(each, int) and 0 < each <= 1 << 20 for each in block):
        return int(block[0]), int(block[1])
    return None


def _spares_attention(found: Config, method: str) -> bool:
    """gpt-oss, and checkpoints that name all of the attention among what isn't quantized."""
    if method == "mxfp4":
        return True
    spared = items(found, "modules_to_not_convert", "ignore", "exclude_modules", "ignored_layers") or []
    return any(isinstance(name, str) and "*" in name and "self_attn" in name for name in spared)


def _weights_of_a_group(found: Config) -> Config:
    """compressed-tensors and ModelOpt name the bits of each group of layers; they rarely differ."""
    for group in list(section(found, "config_groups").values())[:16]:
        weights: Any = group.get("weights") if isinstance(group, dict) else None
        if isinstance(weights, dict):
            return weights
    return {}
