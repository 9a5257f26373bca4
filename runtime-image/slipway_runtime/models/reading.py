"""Reads the model that was found: the headers of its files, never their weights."""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slipway_runtime.contract.tasks import Task, task_of, task_of_gguf
from slipway_runtime.models import config as configs
from slipway_runtime.models import gguf, safetensors, tokenizer
from slipway_runtime.models.facts import AdapterFacts, Facts, Shape
from slipway_runtime.models.files import read_json, reading, refuse_pointer
from slipway_runtime.models.gguf_types import FILE_TYPES
from slipway_runtime.models.locating import ADAPTER_CONFIG, CONFIG, MISTRAL_CONFIG, LocatedModel
from slipway_runtime.models.problem import corrupt, not_found, unsupported
from slipway_runtime.models.values import JsonObject, Unfit, is_whole, length, text, whole

DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "I8": "int8"}
SENTENCE_TRANSFORMERS = "modules.json"
PYTORCH_INDEX = "pytorch_model.bin.index.json"
PACKED = ("I32", "U8")  # types in which a quantized checkpoint packs several weights into one value
LONGEST_PATH = 4096
ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")


def read_model(found: LocatedModel) -> Facts:
    """Returns the facts of a model that is complete, as far as headers and sizes show it; else raises ModelError."""
    with reading(found.path):
        return _gguf(found) if found.is_gguf else _checkpoint(found)


def read_adapter(folder: Path) -> AdapterFacts:
    with reading(folder / ADAPTER_CONFIG):
        return _adapter(folder)


def _adapter(folder: Path) -> AdapterFacts:
    config = read_json(folder / ADAPTER_CONFIG)
    weights = next((folder / name for name in ADAPTER_WEIGHTS if (folder / name).is_file()), None)
    if weights is None:
        raise corrupt(f"The adapter in {folder} has no weights: neither {' nor '.join(ADAPTER_WEIGHTS)} is there.")
    rank, base = whole(config, "r", least=1), text(config, "base_model_name_or_path", most=LONGEST_PATH)
    if rank is None:
        raise unsupported(f"{folder / ADAPTER_CONFIG} names no rank: it isn't a LoRA adapter.", "Use a LoRA adapter.")
    if weights.suffix == ".safetensors":
        safetensors.read_header(weights)
    return AdapterFacts(path=str(folder), rank=rank, base_model=base or "", weight_bytes=weights.stat().st_size)


# --- checkpoints -----------------------------------------------------------------------------------------------------


def config_file(folder: Path) -> Path:
    """Returns the checkpoint's config, in the hub's format or Mistral's own."""
    return folder / (CONFIG if (folder / CONFIG).is_file() else MISTRAL_CONFIG)


def read_config(folder: Path) -> JsonObject:
    return read_json(config_file(folder))


def weight_files(folder: Path) -> list[Path]:
    """Returns the files that the engine reads, in the best format that is there."""
    return without_second_copy(safetensors.weight_files(folder)) or _pytorch_files(folder)


def without_second_copy(files: list[Path]) -> list[Path]:
    """Mistral's repositories contain the weights twice: in their own format, and in the hub's."""
    return [file for file in files if not file.name.startswith("consolidated")] or files


def _checkpoint(found: LocatedModel) -> Facts:
    folder = found.path
    told = _told(config_file(folder))
    files = without_second_copy(safetensors.weight_files(folder))
    tensors = safetensors.read_checkpoint(folder, files)
    files = files or _pytorch_files(folder)
    parameters, active = _parameters(tensors, told.shape, told.bits)
    return Facts(
        path=str(folder),
        format="safetensors" if tensors else "pytorch",
        architecture=told.architecture,
        shape=told.shape,
        weight_bytes=sum(tensor.bytes for tensor in tensors.values()) or sum(file.stat().st_size for file in files),
        files=len(files),
        parameters=parameters,
        active_parameters=active,
        dtype=_dtype(tensors, told.bits) or told.dtype,
        quantization=told.quantization,
        tokenizer=tokenizer.find_tokenizer(folder),
        chat_template=tokenizer.chat_template(folder),
        model_type=told.model_type,
        needs_remote_code=told.needs_remote_code,
        adapters=tuple(found.adapters),
        task=_task(folder, told).value,
    )


def _task(folder: Path, told: _Told) -> Task:
    """Returns what the model is for. Models that generate text become embedding models by what they were trained on;
    the library that was made for it leaves a file of its own."""
    if told.task is Task.GENERATE and (folder / SENTENCE_TRANSFORMERS).is_file():
        return Task.EMBED
    return told.task


@dataclass(frozen=True, kw_only=True)
class _Told:
    """What a checkpoint's config says."""

    architecture: str
    task: Task
    shape: Shape
    quantization: str | None
    bits: int | None
    dtype: str | None
    needs_remote_code: bool
    model_type: str


def _told(file: Path) -> _Told:
    with reading(file):
        config = read_json(file)
        if not configs.names_architecture(config):
            raise corrupt(f"{file} names no architecture.", "Take a complete checkpoint of a language model.")
        method, bits = configs.quantization_of(config)
        return _Told(
            architecture=configs.architecture_of(config),
            task=task_of(configs.architecture_of(config), configs.labels_of(config)),
            shape=configs.shape_of(config),
            quantization=method,
            bits=bits,
            dtype=_told_dtype(config),
            needs_remote_code=configs.needs_remote_code(config),
            model_type=text(config, "model_type") or "",
        )


def _pytorch_files(folder: Path) -> list[Path]:
    files = sorted(file for file in folder.glob("pytorch_model*.bin") if file.is_file())
    if (folder / PYTORCH_INDEX).is_file():
        names = {*safetensors.weight_map(folder / PYTORCH_INDEX).values()}
        if missing := sorted(names - {file.name for file in files}):
            raise corrupt(f"{len(missing)} of {len(names)} weight files are missing: {', '.join(missing[:3])}.")
    if not files:
        raise not_found(f"There are no weights in {folder}, only a config.", "Fetch the complete model.")
    for file in files:
        with reading(file):
            refuse_pointer(file)
            is_whole = zipfile.is_zipfile(file)
        if not is_whole:
            raise corrupt(f"{file.name} is cut short or damaged: it doesn't end as a PyTorch file does.")
    return files


def _parameters(tensors: safetensors.Tensors, shape: Shape, bits: int | None) -> tuple[int | None, int | None]:
    """Returns the number of all weights, and of those used per token; scales and zero points of a quantized checkpoint
    don't count."""
    counts = {name: _weights_in(name, tensor, bits) for name, tensor in tensors.items()}
    return _total_and_active(counts, shape, expert_mark=".experts.")


def _weights_in(name: str, tensor: safetensors.Tensor, bits: int | None) -> int:
    last = name.rpartition(".")[2]
    if any(word in last for word in ("scale", "zero", "g_idx", "weight_shape")):
        return 0
    return tensor.bytes * 8 // bits if bits and tensor.dtype in PACKED else tensor.elements


def _total_and_active(counts: dict[str, int], shape: Shape, expert_mark: str) -> tuple[int | None, int | None]:
    total = sum(counts.values())
    if not (shape.experts and shape.experts_per_token):
        return total or None, None
    in_experts = sum(count for name, count in counts.items() if expert_mark in name)
    return total or None, total - in_experts + in_experts * shape.experts_per_token // shape.experts


def _dtype(tensors: safetensors.Tensors, bits: int | None) -> str | None:
    """Returns the type of most bytes."""
    by_type: Counter[str] = Counter()
    for tensor in tensors.values():
        by_type[tensor.dtype] += tensor.bytes
    if not by_type:
        return None
    [(most, _)] = by_type.most_common(1)
    if most in PACKED:
        return {4: "int4", 8: "int8"}.get(bits or 0)
    return "float8" if most.startswith("F8_") else DTYPES.get(most)


def _told_dtype(config: JsonObject) -> str | None:
    told = config.get("torch_dtype") or config.get("dtype")
    return told if told in DTYPES.values() else None


# --- GGUF ------------------------------------------------------------------------------------------------------------


def _gguf(found: LocatedModel) -> Facts:
    first, tensors = read_gguf_headers(found.shards)
    if first.kind != "model":
        raise not_found(
            f"{found.path.name} is not a model: its header calls it {first.kind}.", "Name the model's file."
        )
    if not first.architecture:
        raise corrupt(f"{found.path.name} names no architecture.")
    _all_tensors_there(first, tensors, found.path)
    shape = _gguf_shape(first)
    counts = {name: tensor.elements for name, tensor in tensors.items()}
    parameters, active = _total_and_active(counts, shape, expert_mark="_exps")
    kind = _file_type(first, tensors)
    return Facts(
        path=str(found.path),
        format="gguf",
        architecture=first.architecture,
        shape=shape,
        weight_bytes=_gguf_bytes(found, tensors),
        files=len(found.shards),
        parameters=parameters,
        active_parameters=active,
        dtype=DTYPES.get(kind),
        quantization=None if kind in DTYPES else kind,
        tokenizer=found.path.name if "tokenizer.ggml.tokens" in first.metadata else None,
        chat_template=_gguf_template(first),
        model_type=first.architecture,
        adapters=tuple(found.adapters),
        task=task_of_gguf(first.architecture, first.metadata.get(f"{first.architecture}.pooling_type")).value,
    )


def read_gguf_headers(shards: Sequence[Path]) -> tuple[gguf.GgufHeader, dict[str, gguf.GgufTensor]]:
    """Returns the first header, and the tensors of all files."""
    budget = gguf.Budget()
    first = gguf.read_header(shards[0], budget)
    tensors = dict(first.tensors)
    for file in shards[1:]:
        tensors |= gguf.read_header(file, budget).tensors
    return first, tensors


def _gguf_template(header: gguf.GgufHeader) -> str:
    """Of several, llama.cpp uses the one that is named `tool_use` for requests with tools."""
    name = "tokenizer.chat_template"
    found = (header.metadata.get(each) for each in (name, f"{name}.tool_use"))
    return "\n".join(each for each in found if isinstance(each, str))


def _all_tensors_there(header: gguf.GgufHeader, tensors: dict[str, gguf.GgufTensor], file: Path) -> None:
    wanted = whole(header.metadata, "split.tensors.count") or 0
    if len(tensors) < wanted:
        raise corrupt(f"{file.name} and its parts have {len(tensors)} of {wanted} tensors.")


def _gguf_shape(header: gguf.GgufHeader) -> Shape:
    heads, hidden = _largest(header, "attention.head_count"), _largest(header, "embedding_length")
    layers, window = _largest(header, "block_count"), _largest(header, "attention.sliding_window")
    return Shape(
        layers=layers,
        hidden_size=hidden,
        attention_heads=heads,
        kv_heads=_largest(header, "attention.head_count_kv") or heads,
        head_dim=_largest(header, "attention.key_length") or (hidden // heads if hidden and heads else None),
        vocabulary_size=length(header.metadata, "tokenizer.ggml.tokens"),
        context_length=_largest(header, "context_length"),
        experts=_largest(header, "expert_count"),
        experts_per_token=_largest(header, "expert_used_count"),
        sliding_window=window,
        sliding_layers=_sliding_layers(header, layers) if window else 0,
        latent_size=_latent_size(header),
    )


def _sliding_layers(header: gguf.GgufHeader, layers: int | None) -> int:
    """Counts the layers with a window, where the header says it for each layer."""
    name = f"{header.architecture}.attention.sliding_window_pattern"
    pattern = header.metadata.get(name)
    if pattern is None or isinstance(pattern, int):
        return 0
    if not isinstance(pattern, list) or not all(isinstance(each, int) for each in pattern):
        raise Unfit(name, pattern, "a list of true and false")
    return sum(map(bool, pattern[:layers]))


def _latent_size(header: gguf.GgufHeader) -> int | None:
    rank, rope = _largest(header, "attention.kv_lora_rank"), _largest(header, "rope.dimension_count")
    return rank + rope if rank and rope else None


def _largest(header: gguf.GgufHeader, key: str) -> int | None:
    """Returns the number; where each layer has its own, the largest. Some writers use 0 for none."""
    name = f"{header.architecture}.{key}"
    value = header.metadata.get(name)
    if isinstance(value, list) and value and all(map(is_whole, value)):
        value = max(value)
    return whole({name: value}, name) or None


def _file_type(header: gguf.GgufHeader, tensors: dict[str, gguf.GgufTensor]) -> str:
    """Returns the common name of the mixture; else the type of most bytes."""
    number = whole(header.metadata, "general.file_type")
    named = None if number is None else FILE_TYPES.get(number)
    by_type: Counter[str] = Counter()
    for tensor in tensors.values():
        by_type[tensor.type] += tensor.bytes or tensor.elements
    return named or (by_type.most_common(1)[0][0] if by_type else "unknown")


def _gguf_bytes(found: LocatedModel, tensors: dict[str, gguf.GgufTensor]) -> int:
    sizes = [tensor.bytes for tensor in tensors.values()]
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else sum(file.stat().st_size for file in found.shards)
