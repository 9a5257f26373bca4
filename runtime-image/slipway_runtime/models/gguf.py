"""The header of a GGUF file, as described in https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.

Counts, then metadata (key, type, value), then the tensors' names, shapes, types and offsets, then their bytes.
"""

from __future__ import annotations

import math
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from slipway_runtime.models.files import reading, refuse_pointer, size
from slipway_runtime.models.gguf_types import TENSOR_TYPES
from slipway_runtime.models.problem import corrupt, unsupported
from slipway_runtime.models.values import LongList, text, whole

MAGIC = b"GGUF"
VERSIONS = (2, 3)  # version 1 is practically extinct, and no engine reads it
DEFAULT_ALIGNMENT = 32
LONGEST_LIST = 1024  # items; longer ones are the tokenizer's tables, of which only the length is kept
LONGEST_TEXT = 1 << 16  # bytes that are kept of a text, such as a chat template
MOST_ENTRIES = 10_000_000  # a file that claims more entries is damaged
MOST_DIMENSIONS = 8
MOST_ELEMENTS = 1 << 60
LARGEST_ALIGNMENT = 1 << 20

# Limits for all files of a model together. The largest vocabularies have a million strings and their attributes; what
# is kept is a few megabytes.
MOST_STEPS = 10_000_000  # strings and values that are read one by one: some seconds
MOST_KEPT = 64 << 20  # bytes, approximately
VALUE_BYTES, TENSOR_BYTES = 64, 256  # memory of one, approximately

STRING, ARRAY = 8, 9
SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}


class _Excess(Exception):  # noqa: N818 - it becomes an error where the file is known
    """The headers contain more than those of any model."""


@dataclass
class Budget:
    """What may still be read: a header of gigabytes must take neither that much memory nor minutes."""

    steps: int = MOST_STEPS
    room: int = MOST_KEPT

    def step(self, count: int = 1) -> None:
        self.steps -= count
        if self.steps < 0:
            raise _Excess

    def keep(self, size: int) -> None:
        self.step()
        self.room -= size
        if self.room < 0:
            raise _Excess


@dataclass(frozen=True, slots=True)
class GgufTensor:
    type: str
    elements: int
    bytes: int | None  # None for a type that is newer than this table


@dataclass(frozen=True)
class GgufHeader:
    metadata: dict[str, Any]  # a long list is replaced by its length
    tensors: dict[str, GgufTensor]

    @property
    def architecture(self) -> str:
        return text(self.metadata, "general.architecture") or ""

    @property
    def kind(self) -> str:
        """`model`, or what lies next to models: `adapter`, `mmproj`, `imatrix`."""
        return text(self.metadata, "general.type") or "model"


def read_header(file: Path, budget: Budget | None = None) -> GgufHeader:
    """Reads the header, and checks that the file is as long as the header says."""
    with reading(file):
        refuse_pointer(file)
        with file.open("rb") as stream:
            return _read(stream, file.name, budget or Budget())


def _read(stream: BinaryIO, name: str, budget: Budget) -> GgufHeader:
    magic = stream.read(len(MAGIC))
    if magic != MAGIC:
        what = "is empty" if not magic else f"begins with {magic!r}"
        raise corrupt(f"{name} isn't a GGUF file: it {what}.")
    with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            return _header(_Cursor(data, len(MAGIC), budget), name)
        except _Excess:
            raise corrupt(f"{name}: its header contains more than that of any model.") from None
        except (struct.error, IndexError, KeyError, OverflowError, RecursionError):
            raise corrupt(f"{name} ({size(len(data))}) is cut short or damaged within its header.") from None


class _Cursor:
    """A position in the bytes, which advances as they are read; reading past the end is an error."""

    def __init__(self, data: mmap.mmap, at: int, budget: Budget) -> None:
        self.data, self.at, self.budget = data, at, budget

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
        self.budget.keep(min(length, LONGEST_TEXT))
        return self.data[begins : min(self.at, begins + LONGEST_TEXT)].decode(errors="replace")

    def key(self) -> str:
        self.budget.keep(VALUE_BYTES)
        return self.text()

    def value(self, kind: int) -> Any:
        self.budget.keep(VALUE_BYTES)
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
        return LongList(length)

    def _skip_texts(self, count: int) -> None:
        """Skips the strings of a vocabulary, a quarter of a million, in a loop that is as short as possible."""
        self.budget.step(count)
        at, data, read = self.at, self.data, struct.Struct("<Q").unpack_from
        for _ in range(count):
            at += 8 + read(data, at)[0]
        self.at = at
        self.skip(0)


def _header(cursor: _Cursor, name: str) -> GgufHeader:
    version = cursor.scalar("<I")
    if version not in VERSIONS:
        order = " (the file is big-endian)" if version & 0xFFFF == 0 else ""
        raise unsupported(
            f"{name} is of GGUF version {version}{order}; llama.cpp reads {' and '.join(map(str, VERSIONS))}.",
            "Convert the model again with a current llama.cpp.",
        )
    tensor_count, metadata_count = cursor.count(), cursor.count()
    metadata = {cursor.key(): cursor.value(cursor.scalar("<I")) for _ in range(metadata_count)}
    tensors, ends = _tensors(cursor, tensor_count)
    alignment = whole(metadata, "general.alignment", most=LARGEST_ALIGNMENT) or DEFAULT_ALIGNMENT
    wanted = -(-cursor.at // alignment) * alignment + ends if tensors else cursor.at
    if len(cursor.data) < wanted:
        raise corrupt(f"{name} is cut short: it has {size(len(cursor.data))} of {size(wanted)}.")
    return GgufHeader(metadata, tensors)


def _tensors(cursor: _Cursor, count: int) -> tuple[dict[str, GgufTensor], int]:
    """Returns the tensors, and where the last of them ends."""
    tensors, ends = {}, 0
    for _ in range(count):
        cursor.budget.keep(TENSOR_BYTES)
        name = cursor.key()
        elements = math.prod(cursor.scalar("<Q") for _ in range(cursor.count("<I", MOST_DIMENSIONS)))
        if elements > MOST_ELEMENTS:
            raise IndexError
        kind, offset = cursor.scalar("<I"), cursor.scalar("<Q")
        word, per_block, block_bytes = TENSOR_TYPES.get(kind, (str(kind), 0, 0))
        taken = elements // per_block * block_bytes if per_block else None
        tensors[name] = GgufTensor(word, elements, taken)
        ends = max(ends, offset + (taken or 0))
    return tensors, ends
