"""A model's files come from untrusted authors. Whatever they contain, the pod serves them or reports why it can't, and
finding that out takes neither gigabytes of memory nor minutes.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slipway_runtime.compiled.key import digest_of_configs
from slipway_runtime.contract.reasons import Reason
from slipway_runtime.failure import Failure
from slipway_runtime.models import (
    Facts,
    ModelError,
    files,
    find_adapter,
    find_model,
    gguf,
    inspect_command,
    locating,
    read_model,
    safetensors,
)
from slipway_runtime.models import config as configs
from slipway_runtime.preflight.checks.model import adapters_fit
from slipway_runtime.preflight.host import Host
from slipway_runtime.preflight.settings import EngineSettings
from support.builders.model_files import (
    LLAMA_CONFIG,
    write_adapter,
    write_checkpoint,
    write_gguf,
    write_gguf_parts,
    write_safetensors,
)

HUGE = "9" * 400
INDEX = "model.safetensors.index.json"


def failure_of(path: Path, engine: str = "vllm") -> Failure:
    with pytest.raises(ModelError) as raised:
        read_model(find_model(path, engine))
    return raised.value.failure


def gives_facts_or_a_failure(path: Path, engine: str) -> None:
    """Asserts that there are facts for a status, or a sentence for it."""
    try:
        facts = read_model(find_model(path, engine))
    except ModelError as error:
        message = error.failure.message
        assert message.isprintable()
        assert len(message) <= 1001
        assert str(path.name) in message or str(path) in message or any(each.name in message for each in path.iterdir())
        assert "can't be parsed" not in message, "each value must be read with its expected type"
    else:
        json.dumps(facts.as_json(), allow_nan=False).encode()
        assert facts.weight_bytes >= 0
        assert (facts.kv_cache_bytes(4096, 0.5) or 0) >= 0


def with_config(folder: Path, fields: str) -> Path:
    """JSON as text: Python doesn't always write what it can read."""
    write_checkpoint(folder)
    (folder / "config.json").write_text(f"{json.dumps(LLAMA_CONFIG)[:-1]}, {fields[1:]}")
    return folder


def write_header(file: Path, header: str) -> Path:
    file.write_bytes(struct.pack("<Q", len(header.encode())) + header.encode() + bytes(4))
    return file


def write_index(folder: Path, name: str) -> Path:
    write_checkpoint(folder)
    (folder / INDEX).write_text(f'{{"weight_map": {{"a": "{name}"}}}}')
    return folder


# --- values ----------------------------------------------------------------------------------------------------------

CONFIGS = {
    '{"auto_map": [1]}': "auto_map is a list of 1, but must be an object",
    '{"auto_map": 1}': "auto_map is 1, but",
    '{"auto_map": "AutoModel"}': 'auto_map is "AutoModel", but',
    '{"rope_scaling": {"type": "linear", "factor": Infinity}}': "rope_scaling.factor is Infinity, but must be a number",
    '{"rope_scaling": {"type": "linear", "factor": NaN}}': "rope_scaling.factor is NaN, but must be a number",
    '{"rope_scaling": {"type": "linear", "factor": "4"}}': 'rope_scaling.factor is "4", but must be a number',
    f'{{"rope_scaling": {{"type": "linear", "factor": {HUGE}}}}}': f"rope_scaling.factor is {HUGE[:60]}…, but",
    f'{{"max_position_embeddings": {HUGE}}}': f"max_position_embeddings is {HUGE[:60]}…, but must be a whole number",
    f'{{"vocab_size": [1, {HUGE}]}}': f"vocab_size is {HUGE[:60]}…, but",
    f'{{"vocab_size": {HUGE * 20}}}': "isn't valid JSON",
    '{"kv_lora_rank": 1e999, "num_experts": 1000000000000000000000}': "num_experts is 1000000000000000000000, but",
    '{"quantization_config": [1]}': "quantization_config is a list of 1, but must be an object",
    '{"quantization_config": {"quant_method": ["x"]}}': (
        "quantization_config.quant_method is a list of 1, but must be a string"
    ),
    '{"quantization_config": {"bits": -4}}': "the bits of a weight is -4, but",
    '{"architectures": [null]}': "architectures is null, but must be a string",
    '{"architectures": "Llama"}': 'architectures is "Llama", but must be a list of names',
    '{"architectures": ["\\ud800\\u001b[31m"]}': 'architectures is "\\ud800\\x1b[31m", but must be a string',
    '{"model_type": 1, "rope_scaling": {"type": "linear"}}': "model_type is 1, but must be a string",
}


@pytest.mark.parametrize(("fields", "sentence"), CONFIGS.items(), ids=[each[:40] for each in CONFIGS])
def test_an_impossible_value_of_the_config_is_reported_by_file_field_and_value(
    tmp_path: Path, fields: str, sentence: str
) -> None:
    found = failure_of(with_config(tmp_path, fields))
    assert found.reason is Reason.MODEL_CORRUPT
    assert found.message.startswith("config.json")
    assert sentence in found.message
    assert len(found.message) < 250


@pytest.mark.parametrize(
    "fields",
    [
        '{"time_step_limit": [0.0, Infinity]}',  # of Mamba 2
        '{"sliding_window": 4096, "sliding_window_pattern": "LLLG"}',  # of EXAONE
        '{"sliding_window": -1, "head_dim": null, "num_experts": 0, "kv_lora_rank": null}',
        '{"rope_scaling": {"type": "longrope", "short_factor": [1.0]}, "quantization_config": null, "auto_map": null}',
        '{"rope_scaling": {"type": "dynamic", "alpha": 1000.0, "factor": null}}',
        '{"quantization_config": {"quant_method": "exl3", "bits": 4.25}}',
    ],
)
def test_an_unusual_but_valid_config_is_served(tmp_path: Path, fields: str) -> None:
    facts = read_model(find_model(with_config(tmp_path, fields), "vllm"))
    assert (facts.shape.layers, facts.shape.head_dim, facts.shape.context_length) == (2, 32, 512)


def test_a_layer_list_longer_than_the_model_gives_no_negative_cache_size(tmp_path: Path) -> None:
    types = ["sliding_attention"] * 50
    facts = read_model(find_model(write_checkpoint(tmp_path, layer_types=types, sliding_window=4), "vllm"))
    assert facts.shape.sliding_layers == 2
    assert (facts.kv_cache_bytes(4096) or 0) > 0


HEADERS = {
    '{"dtype": "F32", "shape": [1], "data_offsets": [0, Infinity]}': (
        "a.data_offsets is Infinity, but must be a whole number"
    ),
    '{"dtype": "F32", "shape": [1], "data_offsets": [NaN, 4]}': "a.data_offsets is NaN, but",
    '{"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}': "a.data_offsets is 4, but must be an offset up to 0",
    '{"dtype": "F32", "shape": [1], "data_offsets": [0, -4]}': "a.data_offsets is -4, but",
    '{"dtype": "F32", "shape": [1], "data_offsets": [0]}': "a.data_offsets is a list of 1, but must be a list of 2",
    '{"dtype": "F32", "shape": [1]}': "a.data_offsets is null, but",
    '{"dtype": "F32", "shape": "x", "data_offsets": [0, 4]}': 'a.shape is "x", but',
    '{"dtype": "F32", "shape": ["x", 2], "data_offsets": [0, 4]}': 'a.shape is "x", but',
    '{"dtype": "F32", "shape": [true], "data_offsets": [0, 4]}': "a.shape is true, but",
    f'{{"dtype": "F32", "shape": [{HUGE}], "data_offsets": [0, 4]}}': f"a.shape is {HUGE[:60]}…, but",
    f'{{"dtype": "F32", "shape": {[10**12] * 16}, "data_offsets": [0, 4]}}': "a.shape is 1000",
    f'{{"dtype": "F32", "shape": {[1] * 1000}, "data_offsets": [0, 4]}}': "a.shape is a list of 1000, but",
    '{"dtype": ["F32"], "shape": [1], "data_offsets": [0, 4]}': "a.dtype is a list of 1, but must be a string",
    "[1]": "a is a list of 1, but must be an object",
}


@pytest.mark.parametrize(("entry", "sentence"), HEADERS.items(), ids=[each[:60] for each in HEADERS])
def test_an_impossible_tensor_is_reported_by_file_field_and_value(tmp_path: Path, entry: str, sentence: str) -> None:
    write_header(write_checkpoint(tmp_path) / "model.safetensors", f'{{"a": {entry}}}')
    found = failure_of(tmp_path)
    assert found.reason is Reason.MODEL_CORRUPT
    assert found.message.startswith(f"model.safetensors: {sentence}")


NAMES = {
    "": '""',
    ".": '"."',
    "..": '".."',
    "../other/model.safetensors": '"../other/model.safetensors"',
    "/etc/passwd": '"/etc/passwd"',
    "a\\u0000": '"a\\x00"',
    "\\ud800.safetensors": '"\\ud800.safetensors"',
    "x" * 300: f'"{"x" * 60}…"',
}


@pytest.mark.parametrize(("name", "shown"), NAMES.items(), ids=range(len(NAMES)))
@pytest.mark.parametrize("index", [INDEX, "pytorch_model.bin.index.json"])
def test_an_index_may_name_only_files_of_its_own_folder(tmp_path: Path, index: str, name: str, shown: str) -> None:
    (write_index(tmp_path, name) / INDEX).rename(tmp_path / index)
    if index != INDEX:
        (tmp_path / "model.safetensors").unlink()
    found = failure_of(tmp_path)
    assert found.reason is Reason.MODEL_CORRUPT
    assert found.message.startswith(f"{index} has no weight_map")
    assert f"it names {shown}." in found.message


def test_an_index_that_names_a_second_copy_is_accepted(tmp_path: Path) -> None:
    write_checkpoint(tmp_path)
    write_safetensors(tmp_path / "consolidated.safetensors", {"a": (4,)})
    (tmp_path / INDEX).write_text(
        '{"weight_map": {"a": "consolidated.safetensors", "lm_head.weight": "model.safetensors"}}'
    )
    assert read_model(find_model(tmp_path, "vllm")).files == 1


def packed(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text


WINDOWED = {"general.architecture": "llama", "llama.attention.sliding_window": 8}


def write_entries(file: Path, *entries: tuple[str, int, bytes]) -> Path:
    """A GGUF file with these entries, type and bytes, in addition to those of a tiny model."""
    content = write_gguf(file, WINDOWED, shapes={}).read_bytes()
    more = b"".join(packed(key.encode()) + struct.pack("<I", kind) + value for key, kind, value in entries)
    version, tensors, count = struct.unpack_from("<IQQ", content, 4)
    file.write_bytes(b"GGUF" + struct.pack("<IQQ", version, tensors, count + len(entries)) + more + content[24:])
    return file


ONE_NUMBER, ONE_TEXT = struct.pack("<IQI", 4, 1, 1), struct.pack("<IQ", 8, 1) + packed(b"x")
UINT32, FLOAT, TEXT, LIST = 4, 6, 8, 9
PATTERN = "llama.attention.sliding_window_pattern"
ENTRIES = [
    (("general.alignment", TEXT, packed(b"x")), 'general.alignment is "x", but must be a whole number'),
    (("general.alignment", LIST, ONE_NUMBER), "general.alignment is a list of 1, but"),
    (("general.alignment", FLOAT, struct.pack("<f", float("inf"))), "general.alignment is Infinity, but"),
    (("general.file_type", LIST, ONE_NUMBER), "general.file_type is a list of 1, but"),
    (("general.type", UINT32, bytes(4)), "general.type is 0, but must be a string"),
    (("llama.block_count", TEXT, packed(b"\x1b[31m")), 'llama.block_count is "\\x1b[31m", but must be a whole number'),
    (("llama.block_count", LIST, ONE_TEXT), "llama.block_count is a list of 1, but"),
    (("llama.context_length", FLOAT, struct.pack("<f", float("nan"))), "llama.context_length is NaN, but"),
    (("llama.embedding_length", 10, struct.pack("<Q", 2**64 - 1)), f"llama.embedding_length is {2**64 - 1}, but"),
    (("tokenizer.ggml.tokens", TEXT, packed(b"x")), 'tokenizer.ggml.tokens is "x", but must be a list'),
    ((PATTERN, LIST, ONE_TEXT), f"{PATTERN} is a list of 1, but must be a list of true and false"),
]


@pytest.mark.parametrize(("entry", "sentence"), ENTRIES, ids=[sentence[:40] for _, sentence in ENTRIES])
def test_an_impossible_gguf_entry_is_reported_by_file_field_and_value(
    tmp_path: Path, entry: tuple[str, int, bytes], sentence: str
) -> None:
    found = failure_of(write_entries(tmp_path / "a.gguf", entry), "llamacpp")
    assert found.reason is Reason.MODEL_CORRUPT
    assert found.message.startswith(f"a.gguf: {sentence}")


@pytest.mark.parametrize("rank", ["true", "1e999", '"8"', "[]", "-1", "0"])
def test_an_adapter_with_an_invalid_rank_is_reported_before_the_start(tmp_path: Path, rank: str) -> None:
    (write_adapter(tmp_path) / "adapter_config.json").write_text(f'{{"r": {rank}}}')
    failure = adapters_fit(EngineSettings(engine="vllm", adapters={"sql": tmp_path}), ANY, Host())
    assert failure
    assert failure.message.startswith("Adapter sql: adapter_config.json: r is ")


ANY = Facts(path="", format="", architecture="", shape=configs.shape_of({}), weight_bytes=0, files=0)

# --- random values ---------------------------------------------------------------------------------------------------

NUMBERS = (
    st.sampled_from([0, -1, 1, 4, 2**31, 2**64 - 1, int(HUGE), -int(HUGE), 1e308, 0.5]) | st.floats() | st.integers()
)
TEXTS = st.sampled_from(["", "linear", "LLLG", "\x1b[31m", "\ud800", "a" * 5000, "F32", ".."]) | st.text(max_size=5)
LEAVES = st.none() | st.booleans() | NUMBERS | TEXTS
WITHIN = (
    *("type", "factor", "bits", "quant_method", "config_groups", "weights", "num_bits", "num_hidden_layers"),
    *("text_config", "AutoModel", "dtype", "shape", "data_offsets", "a"),
)
VALUES = st.recursive(
    LEAVES, lambda each: st.lists(each, max_size=3) | st.dictionaries(st.sampled_from(WITHIN), each), max_leaves=5
)
FIELDS = (
    *(name for names in configs.NAMES.values() for name in names),
    *("architectures", "auto_map", "rope_scaling", "rope_parameters", "quantization_config", "layer_types", "dtype"),
    *("kv_lora_rank", "qk_rope_head_dim", "sliding_window_pattern", "model_type", "torch_dtype", "text_config"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@settings(max_examples=40, deadline=None)
@given(fields=st.dictionaries(st.sampled_from(FIELDS), VALUES, min_size=1, max_size=4))
def test_any_config_gives_facts_or_a_sentence(folder: Path, fields: dict[str, Any]) -> None:
    (folder / "config.json").write_text(json.dumps(LLAMA_CONFIG | fields))
    gives_facts_or_a_failure(folder, "vllm")


@settings(max_examples=30, deadline=None)
@given(tensors=st.dictionaries(TEXTS, VALUES, max_size=2), key=st.sampled_from(WITHIN[-4:-1]), value=VALUES)
def test_any_safetensors_header_gives_facts_or_a_sentence(
    folder: Path, tensors: dict[str, Any], key: str, value: Any
) -> None:
    right = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    (folder / "config.json").write_text(json.dumps(LLAMA_CONFIG))
    write_header(folder / "model.safetensors", json.dumps({**tensors, "b": {**right, key: value}}))
    gives_facts_or_a_failure(folder, "vllm")


@settings(max_examples=30, deadline=None)
@given(index=st.fixed_dictionaries({}, optional={"weight_map": VALUES}), more=VALUES)
def test_any_files_next_to_the_weights_give_facts_or_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, index: Any, more: Any
) -> None:
    folder = write_checkpoint(tmp_path_factory.getbasetemp() / "beside")
    (folder / INDEX).write_text(json.dumps(index))
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": more, "auto_map": more}))
    gives_facts_or_a_failure(folder, "vllm")


def gguf_values() -> st.SearchStrategy[tuple[int, bytes]]:
    """A type, known or unknown, and bytes that are a value of it or not."""
    texts = st.binary(max_size=8).map(packed) | st.just(struct.pack("<Q", 2**64 - 1))
    scalars = {
        kind: st.binary(min_size=(n := struct.calcsize(form)), max_size=n) for kind, form in gguf.SCALARS.items()
    }
    plain = {**scalars, TEXT: texts, 99: st.just(b"")}

    def lists(within: st.SearchStrategy[tuple[int, list[bytes]]]) -> st.SearchStrategy[bytes]:
        return st.builds(
            lambda each, length: struct.pack("<IQ", each[0], length or len(each[1])) + b"".join(each[1]),
            within,
            st.sampled_from([0, 0, 0, 1, 2000, 2**64 - 1]),
        )

    of = [st.tuples(st.just(kind), st.lists(values, max_size=3)) for kind, values in plain.items()]
    flat = lists(st.one_of(of))
    nested = lists(st.tuples(st.just(LIST), st.lists(flat, max_size=2)))
    return st.one_of([st.tuples(st.just(kind), values) for kind, values in {**plain, LIST: flat | nested}.items()])


KEYS = (
    *("general.alignment", "general.file_type", "general.type", "general.architecture", "split.tensors.count", PATTERN),
    *("tokenizer.ggml.tokens", "llama.block_count", "llama.context_length", "llama.embedding_length"),
    *(
        "llama.attention.head_count",
        "llama.attention.head_count_kv",
        "llama.attention.key_length",
        "llama.expert_count",
    ),
    *("llama.expert_used_count", "llama.attention.sliding_window", "llama.attention.kv_lora_rank"),
)


@settings(max_examples=80, deadline=None)
@given(entries=st.lists(st.tuples(st.sampled_from(KEYS), gguf_values()), min_size=1, max_size=3))
def test_any_gguf_gives_facts_or_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, entries: list[tuple[str, tuple[int, bytes]]]
) -> None:
    file = tmp_path_factory.getbasetemp() / "any" / "any.gguf"
    write_entries(file, *((key, kind, value) for key, (kind, value) in entries))
    gives_facts_or_a_failure(file.parent, "llamacpp")


# --- memory and time -------------------------------------------------------------------------------------------------


@contextmanager
def no_more_than(size: int) -> Iterator[None]:
    """Fails if Python has more than these bytes allocated at a time."""
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak <= size


def test_a_header_of_a_hundred_megabytes_is_not_read(tmp_path: Path) -> None:
    weights = write_checkpoint(tmp_path) / "model.safetensors"
    weights.write_bytes(struct.pack("<Q", 100_000_000))
    os.truncate(weights, 200_000_000)
    with no_more_than(1 << 20):
        assert failure_of(tmp_path).message == (
            "model.safetensors: its header has 95.4 MiB, and at most 32.0 MiB are read."
        )


def test_headers_of_all_files_together_are_read_up_to_a_size_and_a_number_of_tensors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_checkpoint(tmp_path, parts=3)
    header, *_ = struct.unpack("<Q", (tmp_path / "model-00001-of-00003.safetensors").read_bytes()[:8])
    with monkeypatch.context() as patch:
        patch.setattr(safetensors, "LARGEST_HEADERS", header + 10)
        assert failure_of(tmp_path).message.startswith("model-00002-of-00003.safetensors: its header has ")
    monkeypatch.setattr(safetensors, "MOST_TENSORS", 10)
    assert "up to model-00002-of-00003.safetensors have more than 10 tensors" in failure_of(tmp_path).message


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("value", ["[]", "{}", "0", '{"":{}}'])
def test_many_small_values_are_counted_before_memory_is_allocated(tmp_path: Path, name: str, value: str) -> None:
    file = write_checkpoint(tmp_path) / name
    text = f'{{"a": [{",".join([value] * files.MOST_VALUES)}]}}'
    if name == "config.json":
        file.write_text(text)
    else:
        write_header(file, text)
    length = len(text)
    del text
    with no_more_than(2 * length + (1 << 20)):
        assert failure_of(tmp_path).reason is Reason.MODEL_CORRUPT


def test_a_config_larger_than_any_real_one_is_refused(tmp_path: Path) -> None:
    os.truncate(write_checkpoint(tmp_path) / "config.json", files.LARGEST_CONFIG + 1)
    with no_more_than(1 << 20):
        assert "too large for a file of its kind" in failure_of(tmp_path).message


@pytest.mark.parametrize("depth", [900, 100_000])
def test_a_deeply_nested_file_is_reported_and_not_parsed(tmp_path: Path, depth: int) -> None:
    fields = '{"a": 1' + ', "text_config": {"a": 1' * depth + "}" * depth + "}"
    assert failure_of(with_config(tmp_path, fields)).message.startswith("config.json")
    write_header(tmp_path / "model.safetensors", '{"a": ' + "[" * depth + "]" * depth + "}")
    (tmp_path / "config.json").write_text(json.dumps(LLAMA_CONFIG))
    assert failure_of(tmp_path).message.startswith("model.safetensors")


def test_a_nested_config_is_not_copied_for_each_level(monkeypatch: pytest.MonkeyPatch) -> None:
    config: dict[str, Any] = {}
    for _ in range(500):
        config = {"text_config": config}
    calls = 0

    class Counting(dict[str, Any]):
        def items(self) -> Any:
            nonlocal calls
            calls += 1
            return super().items()

    with pytest.raises(Exception, match="no more than 4 levels deep"):
        configs.language_model(Counting(config))
    assert calls <= configs.DEEPEST


LENGTHS = {
    "a text": ("k", TEXT, struct.pack("<Q", 2**64 - 1)),
    "a list": ("k", LIST, struct.pack("<IQ", UINT32, 2**64 - 1)),
    "a vocabulary": ("tokenizer.ggml.tokens", LIST, struct.pack("<IQQ", TEXT, 5000, 2**64 - 1) + bytes(100)),
    "empty strings": ("k", LIST, struct.pack("<IQ", TEXT, 9_000_000)),
}


@pytest.mark.parametrize("entry", LENGTHS.values(), ids=LENGTHS)
def test_impossible_lengths_are_reported_as_damage(tmp_path: Path, entry: tuple[str, int, bytes]) -> None:
    file = write_entries(tmp_path / "a.gguf", entry)
    with no_more_than(1 << 20):
        assert failure_of(file, "llamacpp").message.endswith("is cut short or damaged within its header.")


@pytest.mark.parametrize("many", ["entries", "long strings", "lists of lists", "tensors"])
def test_the_memory_of_a_header_is_bounded(tmp_path: Path, many: str) -> None:
    none, empty = packed(b""), struct.pack("<IQ", UINT32, 0)
    tensors, entries, header = {
        "entries": (0, 1 << 15, (none + struct.pack("<IB", 0, 0)) * (1 << 15)),
        "long strings": (0, 100, (none + struct.pack("<I", TEXT) + packed(bytes(1 << 16))) * 100),
        "lists of lists": (
            *(0, 1),
            none + struct.pack("<IIQ", LIST, LIST, 64) + (struct.pack("<IQ", LIST, 1024) + empty * 1024) * 64,
        ),
        "tensors": (1 << 15, 0, (none + struct.pack("<IIQ", 0, 0, 0)) * (1 << 15)),
    }[many]
    file = tmp_path / "a.gguf"
    file.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, tensors, entries) + header + bytes(64))
    with no_more_than(3 << 20), pytest.raises(ModelError, match="more than that of any model"):
        gguf.read_header(file, gguf.Budget(room=1 << 20))


def test_strings_that_are_only_counted_are_bounded_too(tmp_path: Path) -> None:
    file = write_entries(tmp_path / "a.gguf", ("k", LIST, struct.pack("<IQ", TEXT, 5000) + bytes(8 * 5000)))
    gguf.read_header(file)
    budget = gguf.Budget(steps=4000)
    with pytest.raises(ModelError, match=r"a\.gguf: its header contains more"):
        gguf.read_header(file, budget)
    assert budget.steps > -5000, "no more was read than fits"


@pytest.mark.parametrize("choosing", [False, True], ids=["the parts of a model", "models to choose from"])
def test_the_bound_holds_for_all_files_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, choosing: bool
) -> None:
    budgets: list[gguf.Budget | None] = []
    read = gguf.read_header

    def reading(file: Path, budget: gguf.Budget | None = None) -> gguf.GgufHeader:
        budgets.append(budget)
        return read(file, budget)

    monkeypatch.setattr(gguf, "read_header", reading)
    if choosing:
        for number in range(9):
            write_gguf(tmp_path / f"{number}.gguf")
        assert "9 GGUF models" in failure_of(tmp_path, "llamacpp").message
    else:
        write_gguf_parts(tmp_path, 9)
        read_model(find_model(tmp_path))
    assert len(budgets) == 9
    assert budgets[0]
    assert {*map(id, budgets)} == {id(budgets[0])}


def test_folders_that_link_in_circles_are_not_followed_forever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abcdefghij":  # a million folders in six levels
        (tmp_path / name).symlink_to(".")
    monkeypatch.setattr(locating, "MOST_ENTRIES", 1000)
    calls, listed = 0, Path.iterdir

    def counting(path: Path) -> Iterator[Path]:
        nonlocal calls
        calls += 1
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", counting)
    for find in (find_model, find_adapter):
        with pytest.raises(ModelError, match="more than 1000 files and folders"):
            find(tmp_path)
    assert calls < 1000


@pytest.mark.parametrize(
    "name", ["config.json", INDEX, "model.safetensors", "b.safetensors", "a.tiktoken", "tokenizer_config.json"]
)
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_path_that_is_not_a_regular_file_is_never_waited_for(tmp_path: Path, name: str, make: Any) -> None:
    path = write_checkpoint(tmp_path) / name
    path.unlink(missing_ok=True)
    make(path)
    gives_facts_or_a_failure(tmp_path, "vllm")
    digest_of_configs(tmp_path)


def test_a_huge_file_that_is_not_a_config_is_not_read_completely_for_the_compile_cache_digest(tmp_path: Path) -> None:
    write_checkpoint(tmp_path)
    before = digest_of_configs(tmp_path)
    large = tmp_path / os.fsdecode(b"\xff-config.json")
    large.touch()
    os.truncate(large, 1 << 30)
    with no_more_than(40 << 20):
        assert digest_of_configs(tmp_path) != before


# --- unexpected errors -----------------------------------------------------------------------------------------------


def test_an_unexpected_error_is_reported_as_the_models_failure_with_the_file_being_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> Any:
        raise KeyError("odd\x1b" * 1000)

    monkeypatch.setattr(configs, "shape_of", fails)
    found = failure_of(write_checkpoint(tmp_path))
    assert found.reason is Reason.MODEL_CORRUPT
    assert found.message.startswith("config.json can't be parsed: KeyError: 'odd")
    assert found.message.isprintable()
    assert len(found.message) <= 1001
    monkeypatch.setattr(locating, "_files", fails)
    for find in (find_model, find_adapter):
        with pytest.raises(ModelError, match="can't be parsed"):
            find(tmp_path)


def test_an_error_of_the_volume_is_reported_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> Any:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(safetensors, "_parsed", fails)
    assert failure_of(write_checkpoint(tmp_path)).message == "model.safetensors can't be read: Input/output error."


def test_file_names_cannot_inject_text_into_logs_and_statuses(tmp_path: Path) -> None:
    for number in range(2):
        write_gguf(tmp_path / f"{number}\x1b[2J\n{os.fsdecode(bytes([255]))}.gguf")
    message = failure_of(tmp_path, "llamacpp").message
    assert message.isprintable()
    assert "0\\x1b[2J\\n\\udcff.gguf" in message


def serve(model: Path, log: Path, command: str = "serve") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "slipway_runtime", command, "vllm", f"--model={model}", f"--termination-log={log}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("command", ["serve", "preflight"])
def test_the_pod_reports_the_cause_in_one_line_without_a_traceback(tmp_path: Path, command: str) -> None:
    model, log = with_config(tmp_path / "model", '{"auto_map": [1]}'), tmp_path / "log"
    finished = serve(model, log, command)
    assert finished.returncode == 12
    assert finished.stderr.count("\n") == 1
    assert "config.json: auto_map is a list of 1, but must be an object." in finished.stderr
    if command == "serve":
        assert json.loads(log.read_text())["reason"] == "ModelCorrupt"


def test_inspecting_reports_the_cause_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert inspect_command(with_config(tmp_path, '{"auto_map": [1]}')) == 12
    assert "auto_map is a list of 1" in capsys.readouterr().err


def test_there_is_a_termination_message_whatever_error_ends_the_preparation(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = (
        "import pathlib, sys; from slipway_runtime.supervisor.run import run\n"
        "def prepare(): raise KeyError('odd')\n"
        "sys.exit(run(prepare, termination_log=pathlib.Path(sys.argv[1])))"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code, log], capture_output=True, text=True, timeout=60, check=False
    )
    assert finished.returncode == 50
    sentence = json.loads(log.read_text())
    assert (sentence["reason"], sentence["message"]) == ("Unknown", "slipway-runtime itself failed: KeyError: 'odd'")
    assert "in prepare" in finished.stderr, "the log must have the traceback"
