"""Which model is at a path: a GGUF file, or a folder with a checkpoint as the Hugging Face hub has them.

The path may be the model itself, or a folder that contains it at any depth, next to other files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from slipway_runtime.contract.engines import BUILT_IN
from slipway_runtime.models import gguf
from slipway_runtime.models.files import reading
from slipway_runtime.models.problem import ModelError, corrupt, not_found, unsupported

CONFIG, MISTRAL_CONFIG, ADAPTER_CONFIG = "config.json", "params.json", "adapter_config.json"
SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf$", re.IGNORECASE)
GGUF_ENGINES = tuple(each.name for each in BUILT_IN if each.model_format == "gguf")
CHECKPOINT_ENGINES = tuple(each.name for each in BUILT_IN if each.model_format == "huggingface")
DEEPEST = 6  # levels of folders below the path
MOST_ENTRIES = 200_000  # files and folders that are visited: links to folders may form circles
MOST_STEPS = 50_000_000  # in the headers of several models, of which one is to be chosen
NAME_IT = "Name the one to serve with --model."


@dataclass(frozen=True)
class LocatedModel:
    """A model: what the engine is to load, and what belongs to it."""

    path: Path  # a GGUF file, of several the first; or the folder of a checkpoint
    shards: tuple[Path, ...] = ()  # all files of a GGUF model
    projector: Path | None = None  # the file with the vision or audio part of a GGUF model
    adapters: dict[str, Path] = field(default_factory=dict)  # LoRA folders next to the model, by name

    @property
    def is_gguf(self) -> bool:
        return bool(self.shards)


def find_model(path: Path, engine: str = "") -> LocatedModel:
    """Returns the only model under the path that the engine can read; without an engine, all formats count."""
    with reading(path):
        return _find_model(path, engine)


def find_adapter(path: Path) -> Path:
    """Returns the folder of the only LoRA adapter under the path."""
    with reading(path):
        return _find_adapter(path)


def _find_adapter(path: Path) -> Path:
    if not path.exists():
        raise not_found(f"{path} doesn't exist.", "Mount the adapter there.")
    found = [config.parent for config in _files(path) if config.name == ADAPTER_CONFIG]
    if not found:
        raise not_found(f"There is no LoRA adapter in {path}: {_contents(path)}.", f"It needs an {ADAPTER_CONFIG}.")
    if len(found) > 1:
        raise not_found(f"There are {len(found)} adapters in {path}: {_names(path, found)}.", "Name the folder of one.")
    return found[0]


def _find_model(path: Path, engine: str) -> LocatedModel:
    if not path.exists():
        raise not_found(f"{path} doesn't exist.", "Mount the model there, or name another path with --model.")
    files = _files(path)
    weights = [file for file in files if file.suffix.lower() == ".gguf"]
    folders = _checkpoint_folders(path, files)
    if path.is_file() and path not in weights:
        return _single_file(path, engine)
    if weights and (engine in GGUF_ENGINES or not folders):
        if engine in CHECKPOINT_ENGINES:
            raise unsupported(
                f"{path} has a GGUF model ({_names(path, weights)}), which {engine} can't read.",
                "Choose engine llamacpp, or the model's original checkpoint.",
            )
        return _gguf(path, weights)
    if folders and engine not in GGUF_ENGINES:
        return _checkpoint(path, folders, files)
    raise _nothing(path, files, engine)


def _single_file(file: Path, engine: str) -> LocatedModel:
    """Recognises a file by its first bytes, whatever its name."""
    with file.open("rb") as stream:
        if stream.read(len(gguf.MAGIC)) != gguf.MAGIC and engine not in GGUF_ENGINES:
            raise not_found(
                f"{file} is a single file, but not a GGUF file.",
                "Name the folder that has the checkpoint's config.json.",
            )
    return LocatedModel(file, shards=(file,))


# --- GGUF ------------------------------------------------------------------------------------------------------------


def _gguf(path: Path, files: list[Path]) -> LocatedModel:
    """Returns the one model; its parts count as one file, and files that are not models don't count."""
    models = _models_by_first_file(files)
    projector = None
    if len(models) > 1:
        budget = gguf.Budget(MOST_STEPS)
        kinds = {first: _kind(first, budget) for first in models}
        projectors = [first for first, kind in kinds.items() if kind == "mmproj"]
        projector = projectors[0] if len(projectors) == 1 else None
        models = {first: parts for first, parts in models.items() if kinds[first] == "model"} or models
    if len(models) > 1:
        raise not_found(f"There are {len(models)} GGUF models in {path}: {_names(path, models)}.", NAME_IT)
    [(first, parts)] = models.items()
    _all_parts_there(first, parts)
    return LocatedModel(first, shards=tuple(parts), projector=projector)


def _models_by_first_file(files: Iterable[Path]) -> dict[Path, list[Path]]:
    models: dict[Path, list[Path]] = {}
    for file in sorted(files):
        models.setdefault(_first_part(file), []).append(file)
    return models


def _first_part(file: Path) -> Path:
    part = SHARD.match(file.name)
    return file.with_name(f"{part['stem']}-00001-of-{part['count']}.gguf") if part else file


def _all_parts_there(first: Path, parts: list[Path]) -> None:
    part = SHARD.match(first.name)
    if not part:
        return
    there = {SHARD.sub(r"\g<number>", file.name) for file in parts}
    wanted = [f"{number:05}" for number in range(1, int(part["count"]) + 1)]
    if missing := [number for number in wanted if number not in there]:
        raise corrupt(f"{len(missing)} of {len(wanted)} parts of {first.name} are missing: {', '.join(missing[:5])}.")


def _kind(file: Path, budget: gguf.Budget) -> str:
    budget.room = gguf.MOST_KEPT  # nothing is kept of the previous one
    try:
        with reading(file):
            return gguf.read_header(file, budget).kind
    except ModelError:
        return "model"  # a damaged file is no reason to choose another one: reading it reports the damage


# --- checkpoints -----------------------------------------------------------------------------------------------------


def _checkpoint_folders(path: Path, files: list[Path]) -> list[Path]:
    """Returns folders with a config.json; if the path itself has one, it alone counts."""
    folders = list(dict.fromkeys(file.parent for file in files if file.name in (CONFIG, MISTRAL_CONFIG)))
    return [path] if path in folders else [folder for folder in folders if _has_weights(folder)] or folders


def _has_weights(folder: Path) -> bool:
    return any(file.suffix in (".safetensors", ".bin", ".pt") for file in folder.iterdir())


def _checkpoint(path: Path, folders: list[Path], files: list[Path]) -> LocatedModel:
    if len(folders) > 1:
        raise not_found(f"There are {len(folders)} models in {path}: {_names(path, folders)}.", NAME_IT)
    [folder] = folders
    adapters = {file.parent.name: file.parent for file in files if file.name == ADAPTER_CONFIG}
    return LocatedModel(folder, adapters={name: place for name, place in adapters.items() if place != folder})


# --- what is said when there is none ---------------------------------------------------------------------------------


def _nothing(path: Path, files: list[Path], engine: str) -> ModelError:
    names = {file.name for file in files}
    if ADAPTER_CONFIG in names:
        return not_found(
            f"{path} has a LoRA adapter and no model.",
            "Name the model that it was made for in spec.model, and the adapter in spec.engine.adapters.",
        )
    if engine in GGUF_ENGINES and CONFIG in names:
        return unsupported(
            f"No .gguf file in {path} ({_contents(path)}), and {engine} reads no other format.",
            "Choose engine vllm, or the model as GGUF.",
        )
    wanted = "Neither a config.json nor a GGUF file"
    if engine in (*GGUF_ENGINES, *CHECKPOINT_ENGINES):
        wanted = "No .gguf file" if engine in GGUF_ENGINES else "No config.json"
    return not_found(f"{wanted} in {path} ({_contents(path)}).", "Check spec.model.uri and its path.")


def _contents(path: Path) -> str:
    files = _files(path)
    return f"it has {_names(path, files)}" if files else "it is empty"


def _names(path: Path, places: Iterable[Path], most: int = 5) -> str:
    names = sorted(str(place.relative_to(path)) if place != path else place.name for place in places)
    return ", ".join([*names[:most], *([f"{len(names) - most} more"] if len(names) > most else [])])


def _files(path: Path) -> list[Path]:
    """Returns all files under the path, its own first; hidden folders belong to downloaders."""
    if path.is_file():
        return [path]
    entries = [*islice(_entries(path, DEEPEST), MOST_ENTRIES + 1)]
    if len(entries) > MOST_ENTRIES:
        raise not_found(f"There are more than {MOST_ENTRIES} files and folders in {path}.", NAME_IT)
    return [entry for entry, is_file in entries if is_file]


def _entries(path: Path, depth: int) -> Iterator[tuple[Path, bool]]:
    """Yields every entry under the path, and whether it is a file."""
    folders = []
    for entry in sorted(islice(path.iterdir(), MOST_ENTRIES + 1)):
        is_file = entry.is_file()
        yield entry, is_file
        if depth and not is_file and not entry.name.startswith(".") and entry.is_dir():
            folders.append(entry)
    for folder in folders:
        yield from _entries(folder, depth - 1)
