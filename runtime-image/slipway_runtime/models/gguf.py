"""The header of a GGUF file, as https://github.com/ggml-org/ggml/blob/master/docs/gguf.md has it.

Counts, then metadata (key, type, value), then the tensors' names, shapes, types and offsets, then their bytes.
"""

from __future__ import annotations

import math
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway_runtime.models.files import refuse_pointer, size
from slipway_runtime.models.gguf_types import TENSOR_TYPES
from slipway_runtime.models.problem import corrupt, unsupported

MAGIC = b"GGUF"
VERSIONS = (2, 3)  # the first is as good as extinct, and no engine reads it
DEFAULT_ALIGNMENT = 32
LONGEST_LIST = 1024  # items; longer ones are the tokenizer's tables, of which only the length is kept
LONGEST_TEXT = 1 << 16  # bytes that are kept of a text, such as a chat template
MOST_ENTRIES = 10_000_000  # a file that claims to have more of anything is damaged
MOST_DIMENSIONS = 8

STRING, ARRAY = 8, 9
SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}


@dataclass(frozen=True)
class Tensor:
    type: str
    elements: int
    bytes: int | None  # unknown for a type that is newer than this table


@dataclass(frozen=True)
class Header:
    metadata: dict[str, Any]  # the length stands in for a long list
    tensors: dict[str, Tensor]

    @property
    def architecture(self) -> str:
        return str(self.metadata.get("general.architecture", ""))

    @property
    def kind(self) -> str:
        """`model`, or what lies beside models: `adapter`, `mmproj`, `imatrix`."""
        return str(self.metadata.get("general.type", "model"))

    def of_architecture(self, key: str) -> Any:
        return self.metadata.get(f"{self.architecture}.{key}")


def read_header(file: Path) -> Header:
    """Reads the header, and checks that the file is as long as it says."""
    refuse_pointer(file)
    with file.open("rb") as stream:
        magic = stream.read(len(MAGIC))
        if magic != MAGIC:
            what = "is empty" if not magic else f"begins with {magic!r}"
            raise corrupt(f"{file.name} isn't a GGUF file: it {what}.")
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                return _header(_Cursor(data, at=len(MAGIC)), file.name)
            except (struct.error, IndexError, KeyError, RecursionError):
                raise corrupt(f"{file.name} ({size(len(data))}) is cut short or damaged within its header.") from None


class _Cursor:
    """A place in the bytes that moves on as they are read; past their end is an error."""

    def __init__(self, data: mmap.mmap, at: int) -> None:
        self.data, self.at = data, at

    def scalar(self, form: str) -> Any:
        (value,) = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return value

    def count(self, form: str = "<Q", most: int = MOST_ENTRIES) -> int:
        value: int = self.scalar(form)
        if value > most:
            raise IndexError
        return value

    def skip(self, length: int) -> None:
        self.at += length
        if self.at > len(self.data):
            raise IndexError

    def text(self) -> str:
        length = self.scalar("<Q")
        begins = self.at
        self.skip(length)
        return self.data[begins : min(self.at, begins + LONGEST_TEXT)].decode(errors="replace")

    def value(self, kind: int) -> Any:
        if kind == STRING:
            return self.text()
        if kind == ARRAY:
            return self.list(self.scalar("<I"), self.count())
        return self.scalar(SCALARS[kind])

    def list(self, kind: int, length: int) -> Any:
        if length <= LONGEST_LIST:
            return [self.value(kind) for _ in range(length)]
        if kind == STRING:
            self._skip_texts(length)
        elif kind == ARRAY:
            raise IndexError
        else:
            self.skip(length * struct.calcsize(SCALARS[kind]))
        return length

    def _skip_texts(self, count: int) -> None:
        """Of a vocabulary, a quarter of a million: in a loop that is as short as can be."""
        at, data, read = self.at, self.data, struct.Struct("<Q").unpack_from
        for _ in range(count):
            at += 8 + read(data, at)[0]
        self.at = at
        self.skip(0)


def _header(cursor: _Cursor, name: str) -> Header:
    version = cursor.scalar("<I")
    if version not in VERSIONS:
        order = " (the file is big-endian)" if version & 0xFFFF == 0 else ""
        raise unsupported(
            f"{name} is of GGUF version {version}{order}; llama.cpp reads {' and '.join(map(str, VERSIONS))}.",
            "Convert the model anew with a current llama.cpp.",
        )
    tensor_count, metadata_count = cursor.count(), cursor.count()
    metadata = {cursor.text(): cursor.value(cursor.scalar("<I")) for _ in range(metadata_count)}
    tensors, ends = _tensors(cursor, tensor_count)
    alignment = int(metadata.get("general.alignment", DEFAULT_ALIGNMENT)) or DEFAULT_ALIGNMENT
    wanted = math.ceil(cursor.at / alignment) * alignment + ends if tensors else cursor.at
    if len(cursor.data) < wanted:
        raise corrupt(f"{name} is cut short: it has {size(len(cursor.data))} of {size(wanted)}.")
    return Header(metadata, tensors)


def _tensors(cursor: _Cursor, count: int) -> tuple[dict[str, Tensor], int]:
    """The tensors, and where the last of them ends."""
    tensors, ends = {}, 0
    for _ in range(count):
        name = cursor.text()
        elements = math.prod(cursor.scalar("<Q") for _ in range(cursor.count("<I", MOST_DIMENSIONS)))
        kind, offset = cursor.scalar("<I"), cursor.scalar("<Q")
        word, per_block, block_bytes = TENSOR_TYPES.get(kind, (str(kind), 0, 0))
        taken = elements // per_block * block_bytes if per_block else None
        tensors[name] = Tensor(word, elements, taken)
        ends = max(ends, offset + (taken or 0))
    return tensors, ends
