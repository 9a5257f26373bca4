"""Where a checkpoint's tokenizer is, whether it is complete, and its chat template."""

from __future__ import annotations

from pathlib import Path

from slipway_runtime.models.files import looks_like_json, read_json, reading, refuse_pointer
from slipway_runtime.models.problem import FETCH_AGAIN, corrupt
from slipway_runtime.models.values import JsonObject

FILES = ("tokenizer.json", "tokenizer.model", "tekken.json", "spiece.model", "vocab.json", "vocab.txt")
CONFIG = "tokenizer_config.json"
TEMPLATES = ("chat_template.jinja", "chat_template.json")
LONGEST_TEMPLATE = 256 << 10  # the longest of published models have some 20 KiB
MOST_TEMPLATES = 16


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


def chat_template(folder: Path) -> str:
    """Returns the chat template, as much as is read of it; several that have names, one after the other."""
    for name in TEMPLATES:
        if (folder / name).is_file():
            return _of_file(folder / name)
    return _joined(_config(folder).get("chat_template"))


def _of_file(file: Path) -> str:
    if file.suffix == ".json":
        return _joined(read_json(file).get("chat_template"))
    return read_template(file)


def read_template(file: Path) -> str:
    with reading(file):
        refuse_pointer(file)
        with file.open("rb") as stream:
            return stream.read(LONGEST_TEMPLATE).decode(errors="replace")


def _joined(templates: object) -> str:
    if isinstance(templates, str):
        return templates[:LONGEST_TEMPLATE]
    named = templates if isinstance(templates, list) else []
    found = (each.get("template") for each in named[:MOST_TEMPLATES] if isinstance(each, dict))
    return "\n".join(each for each in found if isinstance(each, str))[:LONGEST_TEMPLATE]


def _config(folder: Path) -> JsonObject:
    file = folder / CONFIG
    return read_json(file) if file.is_file() else {}
