"""What a checkpoint in the hub's format declares, and whether all of it is there."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from slipway_runtime.contract.reasons import Reason
from slipway_runtime.failure import Failure
from slipway_runtime.models import Facts, ModelError, find_model, read_adapter, read_model
from slipway_runtime.models.config import quantization_of, shape_of
from support.builders.model_files import (
    LLAMA_CONFIG,
    cut,
    write_adapter,
    write_checkpoint,
    write_lfs_pointer,
    write_safetensors,
)


def facts(folder: Path) -> Facts:
    return read_model(find_model(folder, "vllm"))


def failure(folder: Path) -> Failure:
    with pytest.raises(ModelError) as raised:
        facts(folder)
    return raised.value.failure


def test_the_facts_of_a_checkpoint(tmp_path: Path) -> None:
    found = facts(write_checkpoint(tmp_path))
    assert (found.format, found.architecture, found.dtype) == ("safetensors", "LlamaForCausalLM", "float32")
    assert (found.shape.layers, found.shape.kv_heads, found.shape.head_dim) == (2, 1, 32)
    assert (found.parameters, found.weight_bytes) == (106816, 4 * 106816)
    assert (found.tokenizer, found.chat_template, found.files) == ("tokenizer.json", "", 1)


def test_several_files_are_read_as_one_model(tmp_path: Path) -> None:
    found = facts(write_checkpoint(tmp_path, parts=3))
    assert (found.parameters, found.files) == (106816, 3)


@pytest.mark.parametrize(
    ("dtype", "called"), [("BF16", "bfloat16"), ("F16", "float16"), ("F8_E4M3", "float8"), ("I8", "int8")]
)
def test_the_dtype_is_that_of_the_weights_whatever_the_config_says(tmp_path: Path, dtype: str, called: str) -> None:
    assert facts(write_checkpoint(tmp_path, dtype=dtype)).dtype == called


def test_weights_packed_by_eight_are_counted_individually(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, quantization_config={"quant_method": "gptq", "bits": 4})
    shapes: dict[str, tuple[int, ...]] = {
        "a.qweight": (8, 64),
        "a.qzeros": (1, 8),
        "a.g_idx": (64,),
        "a.scales": (1, 64),
    }
    write_safetensors(tmp_path / "model.safetensors", shapes, "I32")
    found = facts(tmp_path)
    assert (found.quantization, found.dtype, found.parameters) == ("gptq", "int4", 8 * 64 * 8)


# --- what is missing or damaged --------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", [0.0, 0.000005, 0.001, 0.9])
def test_a_truncated_file_is_corrupt_wherever_it_ends(tmp_path: Path, part: float) -> None:
    cut(write_checkpoint(tmp_path) / "model.safetensors", to=part)
    found = failure(tmp_path)
    assert found.reason is Reason.MODEL_CORRUPT
    assert "model.safetensors" in found.message


def test_a_truncated_file_is_reported_with_both_sizes(tmp_path: Path) -> None:
    cut(write_checkpoint(tmp_path) / "model.safetensors", to=0.5)
    assert failure(tmp_path).message == "model.safetensors is cut short: it has 209.8 KiB of 419.5 KiB."


def test_files_that_the_index_names_and_are_missing_are_reported(tmp_path: Path) -> None:
    (write_checkpoint(tmp_path, parts=3) / "model-00002-of-00003.safetensors").unlink()
    found = failure(tmp_path)
    assert found.reason is Reason.MODEL_CORRUPT
    assert "1 of 3 weight files" in found.message
    assert "model-00002-of-00003.safetensors" in found.message


def test_a_tensor_that_is_not_in_the_file_that_the_index_says_is_reported(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, parts=2)
    write_safetensors(tmp_path / "model-00002-of-00002.safetensors", {"other": (4,)})
    assert "lacks the tensor model.norm.weight" in failure(tmp_path).message


def test_an_index_cannot_refer_to_files_outside_the_folder(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, parts=2)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "../../etc/passwd"}}))
    assert "no weight_map" in failure(tmp_path).message


def test_git_lfs_pointers_are_not_accepted_as_weights(tmp_path: Path) -> None:
    write_lfs_pointer(write_checkpoint(tmp_path) / "model.safetensors")
    assert "Git LFS pointer" in failure(tmp_path).message


def test_a_config_without_weights_is_not_a_model(tmp_path: Path) -> None:
    (write_checkpoint(tmp_path) / "model.safetensors").unlink()
    assert failure(tmp_path).reason is Reason.MODEL_NOT_FOUND


@pytest.mark.parametrize("text", ["", "[1]", "{", "nonsense", "[" * 100_000])
def test_a_config_that_is_not_a_json_object_is_corrupt(tmp_path: Path, text: str) -> None:
    (write_checkpoint(tmp_path) / "config.json").write_text(text)
    found = failure(tmp_path)
    assert found.reason is Reason.MODEL_CORRUPT
    assert "config.json" in found.message


def test_a_config_without_an_architecture_is_corrupt(tmp_path: Path) -> None:
    assert "names no architecture" in failure(write_checkpoint(tmp_path, architectures=None)).message


def test_a_truncated_tokenizer_is_corrupt(tmp_path: Path) -> None:
    cut(write_checkpoint(tmp_path) / "tokenizer.json", to=0.9)
    assert failure(tmp_path).message == "tokenizer.json is cut short or damaged."


def test_a_missing_tokenizer_is_a_fact(tmp_path: Path) -> None:
    (write_checkpoint(tmp_path) / "tokenizer.json").unlink()
    assert facts(tmp_path).tokenizer is None


def test_pytorch_files_are_checked_at_their_end(tmp_path: Path) -> None:
    (write_checkpoint(tmp_path) / "model.safetensors").unlink()
    weights = tmp_path / "pytorch_model.bin"
    with zipfile.ZipFile(weights, "w") as archive:
        archive.writestr("data.pkl", b"0" * 4000)
    assert facts(tmp_path).format == "pytorch"
    cut(weights, to=0.5)
    assert failure(tmp_path).reason is Reason.MODEL_CORRUPT


# --- the config's many spellings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        pytest.param(
            {"n_layer": 12, "n_head": 4, "n_embd": 64}, {"layers": 12, "kv_heads": 4, "head_dim": 16}, id="GPT-2"
        ),
        pytest.param(
            {"dim": 64, "n_layers": 3, "n_heads": 4, "n_kv_heads": 2}, {"layers": 3, "kv_heads": 2}, id="Mistral"
        ),
        pytest.param(
            {"vision_config": {"num_hidden_layers": 9}, "text_config": {"num_hidden_layers": 5, "hidden_size": 8}},
            {"layers": 5, "hidden_size": 8},
            id="a multimodal model",
        ),
        pytest.param(
            LLAMA_CONFIG | {"rope_scaling": {"type": "linear", "factor": 4.0}}, {"context_length": 2048}, id="scaled"
        ),
        pytest.param(
            LLAMA_CONFIG | {"rope_scaling": {"rope_type": "yarn", "factor": 4.0}},
            {"context_length": 512},
            id="scaled, and already counted",
        ),
        pytest.param(
            {
                "num_hidden_layers": 6,
                "sliding_window": 4,
                "layer_types": ["sliding_attention"] * 5 + ["full_attention"],
            },
            {"sliding_layers": 5},
            id="a list of layers with a window",
        ),
        pytest.param(
            {"num_hidden_layers": 12, "sliding_window": 4, "sliding_window_pattern": 6},
            {"sliding_layers": 10},
            id="every sixth layer has full attention",
        ),
        pytest.param(
            {"num_hidden_layers": 4, "sliding_window": 4, "use_sliding_window": False},
            {"sliding_layers": 0},
            id="no window",
        ),
        pytest.param({"kv_lora_rank": 512, "qk_rope_head_dim": 64}, {"latent_size": 576}, id="DeepSeek"),
        pytest.param(
            {"num_hidden_layers": 2, "layer_types": ["linear_attention", "full_attention"]},
            {"stateless_layers": 1},
            id="a layer with a state instead of tokens",
        ),
        pytest.param(
            {"n_routed_experts": 256, "num_experts_per_tok": 8}, {"experts": 256, "experts_per_token": 8}, id="MoE"
        ),
        pytest.param(
            {"num_hidden_layers": "two", "hidden_size": True}, {"layers": None, "hidden_size": None}, id="nonsense"
        ),
    ],
)
def test_the_shape_is_read_by_each_of_its_names(config: dict[str, Any], expected: dict[str, int | None]) -> None:
    shape = shape_of(config)
    assert {name: getattr(shape, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("quantization_config", "method", "bits"),
    [
        ({"quant_method": "awq", "bits": 4}, "awq", 4),
        ({"quant_method": "fp8"}, "fp8", None),
        ({"quant_algo": "NVFP4"}, "nvfp4", None),
        (
            {"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": {"num_bits": 8}}}},
            "compressed-tensors",
            8,
        ),
    ],
)
def test_the_quantization_of_a_checkpoint(quantization_config: dict[str, Any], method: str, bits: int | None) -> None:
    assert quantization_of({"quantization_config": quantization_config}) == (method, bits)


# --- adapters --------------------------------------------------------------------------------------------------------


def test_the_facts_of_an_adapter(tmp_path: Path) -> None:
    found = read_adapter(write_adapter(tmp_path, rank=16))
    assert (found.rank, found.base_model) == (16, "some/base")


def test_a_truncated_adapter_is_corrupt(tmp_path: Path) -> None:
    cut(write_adapter(tmp_path) / "adapter_model.safetensors", to=0.5)
    with pytest.raises(ModelError, match="cut short"):
        read_adapter(tmp_path)


def test_an_adapter_without_weights_is_corrupt(tmp_path: Path) -> None:
    (write_adapter(tmp_path) / "adapter_model.safetensors").unlink()
    with pytest.raises(ModelError, match="no weights"):
        read_adapter(tmp_path)
