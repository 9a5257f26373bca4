"""How far a model can see, and the tables of rotary embeddings that vLLM keeps for it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from slipway.models.values import MOST, Config, flag, items, real, section, text, whole

# Kinds of scaling by which the length in the config is not multiplied: they leave it, or it includes them already.
NOT_STRETCHED = ("", "default", "su", "longrope", "llama3", "yarn", "deepseek_yarn", "deepseek_llama_scaling", "mrope")
LENGTHS = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "seq_length",
    "model_max_length",
    "max_target_positions",
    "max_sequence_length",
    "max_seq_length",
    "seq_len",
)
WITHOUT = (  # families with tables of positions that are learned, or without positions
    "bert",
    "bloom",
    "camembert",
    "distilbert",
    "electra",
    "falcon_mamba",
    "gpt2",
    "gpt_bigcode",
    "jamba",
    "mamba",
    "mamba2",
    "mpnet",
    "nemotron_h",
    "opt",
    "roberta",
    "xlm-roberta",
)
OFFSET = ("camembert", "roberta", "xlm-roberta")
PARTIAL = ("partial_rotary_factor", "rotary_pct", "rotary_emb_fraction")
VIDEO_POSITIONS = 4  # vLLM's table for positions in three dimensions is this many times longer


@dataclass(frozen=True)
class Lengths:
    default: int | None  # what an engine takes unless it is asked for more
    longest: int | None


def lengths_of(told: Config) -> Lengths:
    """The least of the lengths that the config names, times the scaling of its rotary embeddings."""
    named = [length for name in LENGTHS if (length := whole(told, name))]
    length = whole(told, "model_max_length") or min(named, default=None)
    if length is None:
        return Lengths(None, None)
    if text(told, "model_type") in OFFSET:  # the first rows of the table are those of padding
        length = max(1, length - (whole(told, "pad_token_id", least=0) or 1) - 1)
    kinds = list(scalings(told))
    if "gemma3" not in text(told, "model_type"):
        factor = next((real(kind, "factor", least=1e-6, most=1e6) for kind in kinds if _is_stretched(kind)), None)
        length = min(MOST, int(length * (factor or 1)))
    original = whole(told, "original_max_position_embeddings")
    if original and any(kind_of(kind) in ("longrope", "su") for kind in kinds):
        return Lengths(min(original, length), length)
    return Lengths(length, length)


def scalings(told: Config) -> Iterator[Config]:
    """One for all layers, or one for each kind of layer."""
    found = section(told, "rope_parameters") or section(told, "rope_scaling")
    nested: list[Config] = [value for value in found.values() if isinstance(value, dict)]
    yield from nested or [found]


def kind_of(scaling: Config) -> str:
    return text(scaling, "rope_type", "type").lower()


def rope_values_of(told: Config, head_size: int | None) -> int:
    """Rows times columns of the tables, of which layers with the same parameters share one."""
    size = whole(told, "qk_rope_head_dim", "attention_rope_head_dim") or head_size
    length = whole(told, *LENGTHS)
    absolute = text(told, "position_embedding_type") in ("absolute", "nope", "alibi") or flag(told, "mla_use_nope")
    if not size or not length or absolute or text(told, "model_type") in WITHOUT:
        return 0
    local = _has_two_bases(told) or text(told, "model_type") == "modernbert"
    tables = sum(_rows(told, kind, length) * _columns(told, kind, size) for kind in scalings(told))
    return min(MOST, tables + (length * size if local else 0))


def _is_stretched(scaling: Config) -> bool:
    return kind_of(scaling) not in NOT_STRETCHED


def _has_two_bases(told: Config) -> bool:
    """Older configs of Gemma 3 have a second base for local layers, outside of the scaling."""
    nested = any(isinstance(value, dict) for value in section(told, "rope_parameters").values())
    return not nested and (real(told, "rope_local_base_freq") is not None or _is_gemma3(told))


def _is_gemma3(told: Config) -> bool:
    return text(told, "model_type").startswith("gemma3")


def _columns(told: Config, scaling: Config, size: int) -> int:
    if kind_of(scaling) == "proportional" or whole(told, "qk_rope_head_dim"):
        return size  # the other columns are there, with angles of zero
    partial = real(scaling, "partial_rotary_factor", most=1.0) or real(told, *PARTIAL, most=1.0) or 1.0
    return whole(told, "rotary_dim", most=size) or int(size * partial)


def _rows(told: Config, scaling: Config, length: int) -> int:
    kind, factor = kind_of(scaling), real(scaling, "factor", least=1e-6, most=1e6) or 1.0
    original = whole(scaling, "original_max_position_embeddings") or whole(told, "original_max_position_embeddings")
    if kind in ("longrope", "su"):
        return (original or length) + length
    if kind in ("yarn", "deepseek_yarn"):
        length = int((original or length) * factor)
    elif kind == "linear":
        length = int(length * factor)
    sections = items(scaling, "mrope_section", "xdrope_section") is not None
    return min(MOST, length * (VIDEO_POSITIONS if sections else 1))
