"""Where a checkpoint's tokenizer is, and whether it is complete."""

from __future__ import annotations

from pathlib import Path

from slipway_runtime.models.files import looks_like_json, read_json, reading, refuse_pointer
from slipway_runtime.models.problem import FETCH_AGAIN, corrupt
from slipway_runtime.models.values import JsonObject

FILES = ("tokenizer.json", "tokenizer.model", "tekken.json", "spiece.model", "vocab.json", "vocab.txt")
CONFIG = "tokenizer_config.json"
TEMPLATES = ("chat_template.jinja", "chat_template.json")


def find_tokenizer(folder: Path) -> str | None:
    """Returns the name of the file with the vocabulary."""
    there = [name for name in FILES if (folder / name).is_file()]
    others = [*folder.glob("*.tiktoken"), *folder.glob("tokenizer.model.*")]
    there += sorted(file.name for file in others if file.is_file())
    for name in there[:1]:
        with reading(folder / name):
            refuse_pointer(folder / name)
            if name.endswith(".json") and not looks_like_json(folder / name):
                raise corrupt(f"{name} is cut short or damaged.", FETCH_AGAIN)
    return there[0] if there else None


def has_chat_template(folder: Path) -> bool:
    return any((folder / name).is_file() for name in TEMPLATES) or bool(_config(folder).get("chat_template"))


def _config(folder: Path) -> JsonObject:
    file = folder / CONFIG
    return read_json(file) if file.is_file() else {}
