"""What an inspection reports of a model's files: small enough for a termination message, by which the operator gets it.

operator/slipway/models/inspected.py describes the content. All of it comes from the headers of the files, which were
checked before: no weights are read.
"""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from slipway_runtime.contract.pod import REPORT_LIMIT, REPORT_START, TERMINATION_LIMIT
from slipway_runtime.models import reading, reducing, safetensors
from slipway_runtime.models.config import architecture_of
from slipway_runtime.models.facts import Facts
from slipway_runtime.models.gguf import GgufHeader
from slipway_runtime.models.locating import LocatedModel
from slipway_runtime.models.problem import corrupt, not_found
from slipway_runtime.models.tensors import part_of_checkpoint, part_of_gguf, sums_of
from slipway_runtime.models.values import JsonObject, length

COMMIT = re.compile(r"[0-9a-f]{40}")
DOWNLOADED = Path(".cache/huggingface/download/config.json.metadata")  # its first line is the commit
TOKENS = "tokenizer.ggml.tokens"
MOST_STEPS = 300  # of leaving out; a model's config needs none, or one or two

Report = dict[str, Any]


def content_of(found: LocatedModel, facts: Facts) -> Report:
    """`facts`: of the same model, which is complete, as reading it has shown."""
    return _of_gguf(found) if found.is_gguf else _of_checkpoint(found, facts)


def encoded(content: Report) -> str:
    """Returns one line for a termination message. Where the content is too long, its largest members are left out."""
    path = "gguf" if "gguf" in content else "config"
    omitted: list[str] = []
    for _ in range(MOST_STEPS):
        text = reducing.compact(content | ({"omitted": reducing.named(omitted)} if omitted else {}))
        if line := _line(text):
            return line
        if not content[path]:
            break
        content, gone = reducing.without_largest(content, path)
        omitted += gone
    raise corrupt("Its config has more in it than that of any model.")


def _line(text: str) -> str | None:
    """None: it is too long."""
    if len(text) > REPORT_LIMIT:
        return None
    line = REPORT_START + base64.b85encode(zlib.compress(text.encode(), level=9)).decode()
    return line if len(line) <= TERMINATION_LIMIT else None


def refuse_links_out(found: LocatedModel, path: Path) -> None:
    """Of a volume, the model's pod sees only what is below the path: a link that leads elsewhere is broken there."""
    inside = path.resolve()
    for file in _files(found):
        if not file.resolve().is_relative_to(inside):
            raise not_found(
                f"{file} is a link to a file outside of {path}, which isn't mounted for the model.",
                "Copy the files instead of links, or name a folder that contains both in spec.model.uri.",
            )


# --- checkpoints -----------------------------------------------------------------------------------------------------


def _of_checkpoint(found: LocatedModel, facts: Facts) -> Report:
    folder = found.path
    config = reading.read_config(folder)
    files = reading.weight_files(folder)
    report: Report = {"config": _named(reducing.reduced(config), config), "files": _bytes(files)}
    if revision := _revision(folder):
        report["revision"] = revision
    if tensors := safetensors.read_checkpoint(folder, reading.without_second_copy(safetensors.weight_files(folder))):
        of_each = ((name, each.dtype, each) for name, each in tensors.items())
        report["tensors"] = sums_of(of_each, part_of_checkpoint(facts.shape.layers)).as_json()
    return report


def _named(kept: JsonObject, config: JsonObject) -> JsonObject:
    """Mistral's own format names no architecture."""
    return kept if config.get("architectures") else kept | {"architectures": [architecture_of(config)]}


def _revision(folder: Path) -> str | None:
    """Returns the commit: the hub's tools leave it next to the files, or name the folder after it."""
    folder = folder.resolve()
    if folder.parent.name == "snapshots" and COMMIT.fullmatch(folder.name):
        return folder.name
    note = folder / DOWNLOADED
    if not note.is_file():
        return None
    with note.open("rb") as stream:
        first = stream.read(40).decode(errors="replace")
    return first if COMMIT.fullmatch(first) else None


# --- GGUF ------------------------------------------------------------------------------------------------------------


def _of_gguf(found: LocatedModel) -> Report:
    first, tensors = reading.read_gguf_headers(found.shards)
    of_each = ((name, each.type, each) for name, each in tensors.items())
    report: Report = {
        "gguf": reducing.reduced(_about_the_model(first)),
        "files": _bytes(found.shards),
        "tensors": sums_of(of_each, part_of_gguf).as_json(),
    }
    if tokens := length(first.metadata, TOKENS):
        report["tokens"] = int(tokens)
    return report


def _about_the_model(header: GgufHeader) -> JsonObject:
    return {name: value for name, value in header.metadata.items() if not name.startswith("tokenizer.")}


# --- files -----------------------------------------------------------------------------------------------------------


def _files(found: LocatedModel) -> Iterable[Path]:
    if found.is_gguf:
        return found.shards
    return (reading.config_file(found.path), *reading.weight_files(found.path))


def _bytes(files: Iterable[Path]) -> int:
    return sum(file.stat().st_size for file in files)
