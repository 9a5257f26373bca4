"""What a GGUF file's header declares, and how a damaged file is reported."""

import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from slipway_runtime.contract.reasons import Reason
from slipway_runtime.models import Facts, ModelError, find_model, read_model
from slipway_runtime.models.gguf import read_header
from support.builders.model_files import (
    LLAMA_GGUF,
    Q4_0,
    UINT64,
    cut,
    without,
    write_gguf,
    write_gguf_parts,
    write_lfs_pointer,
)


def facts(path: Path) -> Facts:
    return read_model(find_model(path, "llamacpp"))


def failing(file: Path) -> tuple[Reason, str]:
    with pytest.raises(ModelError) as raised:
        read_header(file)
    return raised.value.failure.reason, raised.value.failure.message


def test_the_shape_is_read_from_the_header(tmp_path: Path) -> None:
    found = facts(write_gguf(tmp_path / "tiny.gguf"))
    shape = found.shape
    assert (shape.layers, shape.hidden_size, shape.attention_heads) == (2, 64, 2)
    assert (shape.kv_heads, shape.head_dim, shape.context_length, shape.vocabulary_size) == (1, 32, 512, 259)
    assert (found.architecture, found.format, found.dtype, found.quantization) == ("llama", "gguf", "float32", None)
    assert found.parameters == 107200
    assert found.weight_bytes == 4 * 107200
    assert found.kv_cache_bytes(100) == 100 * 2 * 2 * 32 * 2


def test_a_long_vocabulary_is_counted_and_not_stored(tmp_path: Path) -> None:
    tokens = [f"<{number}>" for number in range(5000)]
    file = write_gguf(tmp_path / "tiny.gguf", LLAMA_GGUF | {"tokenizer.ggml.tokens": tokens})
    assert read_header(file).metadata["tokenizer.ggml.tokens"] == 5000
    assert facts(file).shape.vocabulary_size == 5000


def test_a_quantized_file_is_named_by_its_type(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "tiny.gguf", tensor_type=Q4_0)
    assert facts(file).quantization == "Q4_0"
    assert facts(file).weight_bytes == 107200 // 32 * 18


def test_a_mixed_quantization_is_called_by_its_usual_name(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "tiny.gguf", LLAMA_GGUF | {"general.file_type": 15}, tensor_type=Q4_0)
    assert facts(file).quantization == "Q4_K_M"


def test_heads_that_differ_between_layers_count_as_the_maximum(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "tiny.gguf", LLAMA_GGUF | {"llama.attention.head_count_kv": [1, 2]})
    assert facts(file).shape.kv_heads == 2


def test_layers_with_a_window_keep_no_more_than_the_window(tmp_path: Path) -> None:
    window = {"llama.attention.sliding_window": 16, "llama.attention.sliding_window_pattern": [True, False]}
    found = facts(write_gguf(tmp_path / "tiny.gguf", LLAMA_GGUF | window))
    assert found.kv_cache_bytes(100) == (100 + 16) * 2 * 32 * 2


def test_weights_per_token_exclude_idle_experts(tmp_path: Path) -> None:
    experts = {"llama.expert_count": 4, "llama.expert_used_count": 1}
    shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (64, 8), "blk.0.ffn_up_exps.weight": (64, 64, 4)}
    found = facts(write_gguf(tmp_path / "tiny.gguf", LLAMA_GGUF | experts, shapes))
    assert (found.parameters, found.active_parameters) == (512 + 4 * 4096, 512 + 4096)


def test_the_parts_of_a_model_are_read_together(tmp_path: Path) -> None:
    write_gguf_parts(tmp_path, 3)
    assert (facts(tmp_path).parameters, facts(tmp_path).files) == (107200, 3)


def test_a_part_that_lacks_tensors_is_reported(tmp_path: Path) -> None:
    first, *_ = write_gguf_parts(tmp_path, 2)
    split: dict[str, Any] = {"split.tensors.count": (5, 99)}
    write_gguf(first, LLAMA_GGUF | split, {})
    with pytest.raises(ModelError, match="of 99 tensors"):
        facts(tmp_path)


@pytest.mark.parametrize("part", [0.0001, 0.001, 0.01, 0.05, 0.5, 0.99])
def test_a_truncated_file_is_corrupt_wherever_it_ends(tmp_path: Path, part: float) -> None:
    file = write_gguf(tmp_path / "tiny.gguf")
    cut(file, to=part)
    reason, message = failing(file)
    assert reason is Reason.MODEL_CORRUPT
    assert "cut short" in message


def test_a_truncated_file_is_reported_with_both_sizes(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "tiny.gguf")
    cut(file, to=0.5)
    assert failing(file)[1] == "tiny.gguf is cut short: it has 213.0 KiB of 426.1 KiB."


@pytest.mark.parametrize(
    ("data", "expected"),
    [(b"", "it is empty"), (b"PK\x03\x04 and so on", "begins with b'PK"), (b"GGUF", "cut short or damaged")],
)
def test_each_kind_of_invalid_gguf_gets_its_own_message(tmp_path: Path, data: bytes, expected: str) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(data)
    reason, message = failing(file)
    assert reason is Reason.MODEL_CORRUPT
    assert expected in message


def test_a_git_lfs_pointer_is_not_accepted_as_the_file(tmp_path: Path) -> None:
    write_lfs_pointer(tmp_path / "model.gguf")
    with pytest.raises(ModelError, match="Git LFS pointer") as raised:
        read_header(tmp_path / "model.gguf")
    assert "git lfs pull" in raised.value.failure.remedy


@pytest.mark.parametrize(("version", "expected"), [(1, "version 1"), (3 << 24, "big-endian")])
def test_a_version_that_no_engine_reads_is_unsupported(tmp_path: Path, version: int, expected: str) -> None:
    reason, message = failing(write_gguf(tmp_path / "tiny.gguf", version=version))
    assert reason is Reason.UNSUPPORTED_ARCHITECTURE
    assert expected in message


def test_a_model_without_an_architecture_is_corrupt(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "tiny.gguf", without(LLAMA_GGUF, "general.architecture"))
    with pytest.raises(ModelError, match="names no architecture"):
        facts(file)


def test_a_header_that_claims_endless_lists_takes_no_time(tmp_path: Path) -> None:
    file = tmp_path / "tiny.gguf"
    endless = struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1) + b"k" + struct.pack("<IIQ", 9, 8, 1 << 60)
    file.write_bytes(b"GGUF" + endless + bytes(1 << 20))
    assert failing(file)[0] is Reason.MODEL_CORRUPT


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (64, 8)}
    return write_gguf(tmp_path_factory.mktemp("whole") / "tiny.gguf", shapes=shapes).read_bytes()


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(changes=st.lists(st.tuples(st.integers(0, 9000), st.integers(0, 255)), min_size=1, max_size=8))
def test_any_damaged_header_is_read_or_reported_as_a_failure(
    tmp_path: Path, intact: bytes, changes: list[tuple[int, int]]
) -> None:
    file, data = tmp_path / "tiny.gguf", bytearray(intact)
    for offset, value in changes:
        data[offset % len(data)] = value
    file.write_bytes(data)
    with suppress(ModelError):
        read_model(find_model(file))


def test_a_large_integer_is_read(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "tiny.gguf", LLAMA_GGUF | {"general.size": (UINT64, 1 << 40)})
    assert read_header(file).metadata["general.size"] == 1 << 40
