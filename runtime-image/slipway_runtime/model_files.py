"""Finds the model in the folder that was mounted."""

from pathlib import Path


class ModelFilesError(Exception):
    """The folder does not hold exactly one model; the message says what it holds and what to do."""


def find_gguf(path: Path) -> Path:
    """The GGUF file that the path names, or the only one in the folder that it names."""
    if path.is_file():
        return path
    if not path.is_dir():
        raise ModelFilesError(f"{path} does not exist; mount the model there or name its place with --model.")
    found = sorted(path.rglob("*.gguf"))
    match found:
        case [model]:
            return model
        case []:
            raise ModelFilesError(
                f"No .gguf file in {path} ({_listing(path)}); llama.cpp needs the model in that format."
            )
        case _:
            names = _names(path, found)
            raise ModelFilesError(f"{len(found)} .gguf files in {path} ({names}); name the one to serve with --model.")


def _listing(folder: Path) -> str:
    files = sorted(entry for entry in folder.rglob("*") if entry.is_file())
    return f"it has {_names(folder, files)}" if files else "it is empty"


def _names(folder: Path, files: list[Path], most: int = 5) -> str:
    names = [str(file.relative_to(folder)) for file in files[:most]]
    if len(files) > most:
        names.append(f"{len(files) - most} more")
    return ", ".join(names)
