"""The report of an inspection → the model; its numbers are those of the files."""

from __future__ import annotations

from typing import Any

from slipway.models.facts import Evidence
from slipway.models.inspected import model_of_inspection, revision_of
from support.builders.configs import LLAMA_3_1_8B

# 8,030,261,248 parameters of 16 bits.
TENSORS: dict[str, Any] = {
    "bytes": 16_060_522_496,
    "parameters": 8_030_261_248,
    "embedding": 525_336_576,
    "head": 525_336_576,
    "by_dtype": {"BF16": 16_060_522_496},
}


def test_the_files_give_the_bytes_and_the_config_the_parts() -> None:
    model = model_of_inspection({"config": LLAMA_3_1_8B, "files": 16_060_556_376, "tensors": TENSORS})
    assert model is not None
    assert model.weights is not None
    assert (model.weights.total, model.weights.file_bytes) == (8_030_261_248, 16_060_522_496)
    assert model.weights.unsplit == 65 * 4096
    assert model.evidence["weights"] is Evidence.EXACT
    assert not model.missing


def test_the_files_win_over_what_the_config_comes_to() -> None:
    tensors = {**TENSORS, "parameters": 8_030_261_248 + 4096, "encoders": 4096}
    model = model_of_inspection({"config": LLAMA_3_1_8B, "tensors": tensors})
    assert model is not None
    assert model.weights is not None
    assert (model.weights.total, model.weights.encoders) == (8_030_265_344, 4096)


def test_the_files_count_a_family_that_is_not_covered() -> None:
    model = model_of_inspection({"config": {**LLAMA_3_1_8B, "model_type": "new"}, "tensors": TENSORS})
    assert model is not None
    assert model.weights is not None
    assert model.weights.total == 8_030_261_248
    assert not model.missing


def test_elements_of_a_quantized_checkpoint_are_not_its_parameters() -> None:
    """A packed int32 has eight weights of 4 bits."""
    config = {**LLAMA_3_1_8B, "quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 128}}
    tensors = {**TENSORS, "parameters": 1_900_000_000, "bytes": 5_700_000_000, "by_dtype": {"I32": 3_600_000_000}}
    model = model_of_inspection({"config": config, "tensors": tensors})
    assert model is not None
    assert model.weights is not None
    assert (model.weights.total, model.weights.file_bytes) == (8_030_261_248, 5_700_000_000)


def test_the_type_of_the_weights_is_that_of_most_bytes() -> None:
    tensors = {**TENSORS, "by_dtype": {"F32": 32_000_000_000, "BF16": 60_522_496}}
    model = model_of_inspection({"config": LLAMA_3_1_8B, "tensors": tensors})
    assert model is not None
    assert model.dtype == "float32"


def test_without_tensors_the_files_have_the_bytes() -> None:
    model = model_of_inspection({"config": LLAMA_3_1_8B, "files": 16_100_000_000})
    assert model is not None
    assert model.weights is not None
    assert model.weights.file_bytes == 16_100_000_000


def test_a_config_without_its_list_of_layers_says_nothing_about_them() -> None:
    model = model_of_inspection({"config": LLAMA_3_1_8B, "omitted": ["text_config.layer_types"], "tensors": TENSORS})
    assert model is not None
    assert not model.layers
    assert "layers" in model.missing


def test_a_gguf_file_has_its_size_and_the_bits_of_a_weight() -> None:
    # 4,920,000,000 · 8 / 8,030,261,248 = 4.901 bits.
    pairs = {"general.architecture": "llama", "llama.block_count": 32, "llama.embedding_length": 4096}
    pairs |= {"llama.attention.head_count": 32, "llama.attention.head_count_kv": 8, "llama.context_length": 131072}
    report = {"gguf": pairs, "tokens": 128256, "files": 4_920_734_272, "tensors": {**TENSORS, "bytes": 4_920_000_000}}
    model = model_of_inspection(report)
    assert model is not None
    assert model.quantization is not None
    assert (model.quantization.method, model.quantization.bits) == ("gguf", 4.901)
    assert model.weights is not None
    assert model.weights.file_bytes == 4_920_000_000
    assert not model.missing


def test_a_report_of_neither_is_none() -> None:
    assert model_of_inspection({}) is None
    assert model_of_inspection({"config": [], "gguf": "x"}) is None


def test_the_revision_is_passed_on() -> None:
    assert revision_of({"revision": "0e9e39f2"}) == "0e9e39f2"
    assert revision_of({"revision": 7}) == ""
