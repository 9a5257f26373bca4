"""What the tensors of a model take, by the part of the model that their names say they belong to. Pure.

Names are those of the checkpoints on the Hugging Face hub, and of llama.cpp's GGUF files. A tensor with any other name
counts in the sums for all tensors alone.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

LONGEST_NAME = 300  # characters of a tensor's name that are looked at
MOST_DTYPES = 16  # of the names of types; a model has a few
OTHERS = "others"


class Part(StrEnum):
    EMBEDDING = "embedding"  # of the input tokens
    HEAD = "head"  # the output layer
    EXPERTS = "experts"  # routed ones
    ENCODERS = "encoders"  # vision and audio towers, and their projections
    DRAFTS = "drafts"  # layers for multi-token prediction, which engines load only for speculative decoding
    REST = "rest"


class Tensor(Protocol):
    """A tensor of either format. `bytes`: None for a type of unknown size."""

    @property
    def elements(self) -> int: ...
    @property
    def bytes(self) -> int | None: ...


PartOf = Callable[[str], Part]

# --- checkpoints -----------------------------------------------------------------------------------------------------

ENCODER = re.compile(
    r"(?:^|\.)(?:(?:vision|visual|image|img|audio|speech|video|mm_|multi_?modal|patch_|sound)\w*"
    r"|embed_vision|embed_audio|aligner|resampler|connector|projector|mlp1|vpm|apm|tts|vte)\."
)
EMBEDDING = re.compile(
    r"(?:^|\.)(?:embed_tokens|wte|word_embeddings?|tok_embeddings|embed_in|embeddings)\.\w+$|^(?:model\.)?shared\.\w+$"
)
HEAD = re.compile(r"(?:^|\.)(?:lm_head|embed_out)\.(?:\w+\.)?\w+$|^(?:language_model\.|model\.)?output\.\w+$")
EXPERT = re.compile(r"\.experts\.|\.experts_\w+|\.block_sparse_moe\.(?:input|output)_linear\.")
DRAFT = re.compile(r"(?:^|\.)mtp\w*\.")
LAYER = re.compile(r"(?:^|\.)layers\.(\d{1,6})\.")


def part_of_checkpoint(layers: int | None) -> PartOf:
    """`layers`: those of the language model; further ones are for multi-token prediction."""

    def part_of(name: str) -> Part:
        if ENCODER.search(name.partition("layers.")[0]):  # some layers of language models have parts for images
            return Part.ENCODERS
        layer = LAYER.search(name)
        if DRAFT.search(name) or (layer and layers and int(layer[1]) >= layers):
            return Part.DRAFTS
        if EXPERT.search(name):
            return Part.EXPERTS
        if layer:
            return Part.REST
        if EMBEDDING.search(name):
            return Part.EMBEDDING
        return Part.HEAD if HEAD.search(name) else Part.REST

    return part_of


# --- GGUF ------------------------------------------------------------------------------------------------------------

GGUF_EXPERT = re.compile(r"^blk\.\d+\.ffn_\w+_exps\.")


def part_of_gguf(name: str) -> Part:
    if name == "token_embd.weight":
        return Part.EMBEDDING
    if name == "output.weight":
        return Part.HEAD
    return Part.EXPERTS if GGUF_EXPERT.search(name) else Part.REST


# --- the sums --------------------------------------------------------------------------------------------------------


@dataclass
class Sums:
    """While they are added up. `is_sized`: the size of each tensor is known."""

    elements: Counter[Part] = field(default_factory=Counter)
    bytes: Counter[Part] = field(default_factory=Counter)
    by_dtype: Counter[str] = field(default_factory=Counter)
    is_sized: bool = True

    def add(self, part: Part, dtype: str, tensor: Tensor) -> None:
        self.elements[part] += tensor.elements
        self.bytes[part] += tensor.bytes or 0
        self.is_sized = self.is_sized and tensor.bytes is not None
        if part is not Part.DRAFTS:
            self.by_dtype[dtype] += tensor.bytes or 0

    def as_json(self) -> dict[str, object]:
        """In the form of operator/slipway/models/inspected.py. Sizes are left out where one isn't known."""
        elements = {part: self.elements[part] for part in (Part.EMBEDDING, Part.HEAD, Part.EXPERTS, Part.ENCODERS)}
        counts = {
            "parameters": self.elements.total() - self.elements[Part.DRAFTS],
            **{str(part): count for part, count in elements.items()},
        }
        if not self.is_sized:
            return dict(counts)
        return {
            "bytes": self.bytes.total() - self.bytes[Part.DRAFTS],
            **counts,
            "experts_bytes": self.bytes[Part.EXPERTS],
            "encoders_bytes": self.bytes[Part.ENCODERS],
            "drafts": self.bytes[Part.DRAFTS],
            "by_dtype": _largest(self.by_dtype),
        }


def sums_of(tensors: Iterable[tuple[str, str, Tensor]], part_of: PartOf) -> Sums:
    """`tensors`: the name, the name of the type, and the tensor."""
    sums = Sums()
    for name, dtype, tensor in tensors:
        sums.add(part_of(name[:LONGEST_NAME]), dtype, tensor)
    return sums


def _largest(by_dtype: Mapping[str, int]) -> dict[str, int]:
    """The names of types are the file's own, so their number is bounded here."""
    in_order = Counter(by_dtype).most_common()
    rest = sum(size for _, size in in_order[MOST_DTYPES:])
    return dict(in_order[:MOST_DTYPES]) | ({OTHERS: rest} if rest else {})
