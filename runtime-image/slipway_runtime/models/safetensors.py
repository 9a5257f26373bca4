"""The headers of safetensors files: 8 bytes for the header's length, the header as JSON, then the tensors' bytes."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway_runtime.models.files import LARGEST_INDEX, parse_json, read_json, reading, refuse_pointer, size
from slipway_runtime.models.problem import corrupt
from slipway_runtime.models.values import JsonObject, Unfit, as_text, is_file_name, is_whole
from slipway_runtime.models.words import printable, shown

INDEX = "model.safetensors.index.json"
# Limits for each file and for all together. The largest models have 200,000 tensors in some 100 files, and headers of
# 30 MB together; safetensors itself reads up to 100 MB of one file.
LARGEST_HEADER = 32 << 20  # bytes
LARGEST_HEADERS = 256 << 20
MOST_TENSORS = 500_000
MOST_BYTES = 1 << 50  # of one file, or in one dimension
MOST_DIMENSIONS = 16
LONGEST_TENSOR = 100  # characters of its name in a message


@dataclass(frozen=True, slots=True)
class Tensor:
    dtype: str  # in the format's own words: BF16, F8_E4M3, I32
    elements: int
    bytes: int


Tensors = dict[str, Tensor]


def weight_files(folder: Path) -> list[Path]:
    """Returns the files that the index names, each of which must exist; without an index, all files of the folder."""
    if not (folder / INDEX).exists():
        files = sorted(file for file in folder.glob("*.safetensors") if not file.name.startswith("adapter_"))
        return [file for file in files if file.is_file()]
    files = [folder / name for name in sorted({*weight_map(folder / INDEX).values()})]
    if missing := [file.name for file in files if not file.is_file()]:
        listed = f"{', '.join(missing[:3])}{' and more' if len(missing) > 3 else ''}"
        raise corrupt(f"{len(missing)} of {len(files)} weight files that {INDEX} names are missing: {listed}.")
    return files


def weight_map(index: Path) -> dict[str, str]:
    """Returns the map from tensors to the names of files next to the index."""
    told = read_json(index, LARGEST_INDEX).get("weight_map")
    none = f"{index.name} has no weight_map from tensors to files"
    if not isinstance(told, dict):
        raise corrupt(f"{none}: it is {shown(told)}.")
    for name in told.values():
        if not is_file_name(name):
            raise corrupt(f"{none} next to it: it names {shown(name)}.")
    return told


def read_checkpoint(folder: Path, files: Iterable[Path]) -> Tensors:
    """Returns the tensors of all files; every one that the index names must be in its file."""
    found: dict[str, Tensors] = {}
    bytes_left, tensors_left = LARGEST_HEADERS, MOST_TENSORS
    for file in files:
        length, found[file.name] = _read_header(file, most=min(LARGEST_HEADER, bytes_left))
        bytes_left, tensors_left = bytes_left - length, tensors_left - len(found[file.name])
        if tensors_left < 0:
            raise corrupt(f"The files up to {file.name} have more than {MOST_TENSORS} tensors: no model has so many.")
    if (folder / INDEX).exists():
        for tensor, name in weight_map(folder / INDEX).items():
            if name in found and tensor not in found[name]:
                raise corrupt(
                    f"{name} lacks the tensor {printable(tensor, LONGEST_TENSOR)}, which {INDEX} assigns to it."
                )
    return {name: tensor for tensors in found.values() for name, tensor in tensors.items()}


def read_header(file: Path) -> Tensors:
    """Returns the tensors of one file, which must be as long as its header says."""
    return _read_header(file, LARGEST_HEADER)[1]


def _read_header(file: Path, most: int) -> tuple[int, Tensors]:
    """Returns the header's length, too."""
    with reading(file):
        refuse_pointer(file)
        there = file.stat().st_size
        with file.open("rb") as stream:
            begins = stream.read(8)
            length = struct.unpack("<Q", begins)[0] if len(begins) == 8 else 0
            if most < length <= there:
                raise corrupt(f"{file.name}: its header has {size(length)}, and at most {size(most)} are read.")
            header = _parsed(stream.read(length) if length <= there else b"")
        if header is None:
            raise corrupt(f"{file.name} ({size(there)}) has no valid safetensors header.")
        ends, tensors = 0, {}
        for name, entry in header.items():
            if name != "__metadata__":
                tensors[name], end = _tensor(name, entry)
                ends = max(ends, end)
        if there < 8 + length + ends:
            raise corrupt(f"{file.name} is cut short: it has {size(there)} of {size(8 + length + ends)}.")
        return length, tensors


def _parsed(text: bytes) -> JsonObject | None:
    try:
        header = parse_json(text)
    except (ValueError, RecursionError):
        return None
    return header if isinstance(header, dict) else None


def _tensor(name: str, entry: Any) -> tuple[Tensor, int]:
    """Returns the tensor, and where it ends."""
    if not isinstance(entry, dict):
        raise Unfit(name, entry, "an object with dtype, shape and data_offsets")
    begins, ends = _whole_numbers(name, entry, "data_offsets", least_count=2, most_count=2)
    if begins > ends:
        raise Unfit(f"{name}.data_offsets", begins, f"an offset up to {ends}")
    elements = math.prod(_whole_numbers(name, entry, "shape", most_count=MOST_DIMENSIONS))
    if elements > MOST_BYTES:
        raise Unfit(f"{name}.shape", elements, f"a shape with a product of at most {MOST_BYTES}")
    return Tensor(as_text(f"{name}.dtype", entry.get("dtype")), elements, ends - begins), ends


def _whole_numbers(name: str, entry: JsonObject, key: str, *, least_count: int = 0, most_count: int) -> list[int]:
    values = entry.get(key)
    if not isinstance(values, list) or not least_count <= len(values) <= most_count:
        raise Unfit(f"{name}.{key}", values, f"a list of {least_count} to {most_count} numbers")
    for value in values:
        if not is_whole(value) or not 0 <= value <= MOST_BYTES:
            raise Unfit(f"{name}.{key}", value, f"a whole number up to {MOST_BYTES}")
    return values
