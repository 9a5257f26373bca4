"""The headers of safetensors files: 8 bytes for the header's length, the header as JSON, then the tensors' bytes."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from slipway_runtime.models.files import JsonObject, read_json, refuse_pointer, size
from slipway_runtime.models.problem import corrupt

INDEX = "model.safetensors.index.json"
LARGEST_HEADER = 100_000_000  # bytes; safetensors itself refuses more


@dataclass(frozen=True)
class Tensor:
    dtype: str  # in the format's own words: BF16, F8_E4M3, I32
    elements: int
    bytes: int


Tensors = dict[str, Tensor]


def weight_files(folder: Path) -> list[Path]:
    """The files that the index names, each of which must be there; without an index, all that lie in the folder."""
    if not (folder / INDEX).exists():
        return sorted(file for file in folder.glob("*.safetensors") if not file.name.startswith("adapter_"))
    files = [folder / name for name in sorted({*_weight_map(folder).values()})]
    if missing := [file.name for file in files if not file.exists()]:
        listed = f"{', '.join(missing[:3])}{' and more' if len(missing) > 3 else ''}"
        raise corrupt(f"{len(missing)} of {len(files)} weight files that {INDEX} names are missing: {listed}.")
    return files


def read_checkpoint(folder: Path, files: Iterable[Path]) -> Tensors:
    """The tensors of all the files; every one that the index names must be in its file."""
    found = {file.name: read_header(file) for file in files}
    if (folder / INDEX).exists():
        for tensor, name in _weight_map(folder).items():
            if tensor not in found[name]:
                raise corrupt(f"{name} lacks the tensor {tensor}, which {INDEX} puts there.")
    return {name: tensor for tensors in found.values() for name, tensor in tensors.items()}


def read_header(file: Path) -> Tensors:
    """The tensors of one file, which must be as long as its header says."""
    refuse_pointer(file)
    there = file.stat().st_size
    with file.open("rb") as stream:
        begins = stream.read(8)
        length = struct.unpack("<Q", begins)[0] if len(begins) == 8 else LARGEST_HEADER
        text = stream.read(length) if length < LARGEST_HEADER else b""
    try:
        header = json.loads(text)
        tensors = {name: _tensor(entry) for name, entry in header.items() if name != "__metadata__"}
        wanted = 8 + length + max((int(header[name]["data_offsets"][1]) for name in tensors), default=0)
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError):
        raise corrupt(f"{file.name} ({size(there)}) has no valid safetensors header.") from None
    if there < wanted:
        raise corrupt(f"{file.name} is cut short: it has {size(there)} of {size(wanted)}.")
    return tensors


def _tensor(entry: JsonObject) -> Tensor:
    begins, ends = entry["data_offsets"]
    return Tensor(dtype=str(entry["dtype"]), elements=math.prod(entry["shape"]), bytes=int(ends) - int(begins))


def _weight_map(folder: Path) -> dict[str, str]:
    weight_map = read_json(folder / INDEX).get("weight_map")
    if not isinstance(weight_map, dict) or not all(_is_plain_name(name) for name in weight_map.values()):
        raise corrupt(f"{INDEX} has no weight_map that leads from tensors to files.")
    return weight_map


def _is_plain_name(name: object) -> bool:
    return isinstance(name, str) and Path(name).name == name
