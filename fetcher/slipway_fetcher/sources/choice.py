"""Which files of a repository are the model, where the user doesn't choose: one format, no leftovers of training."""

from __future__ import annotations

import re
from collections.abc import Iterable

from slipway_fetcher.problem import FetchError, Reason

LEFT_OUT = re.compile(
    r"(^|/)\.[^/]*(/|$)"  # .gitattributes, .cache/
    r"|^(original|metal|onnx|openvino|coreml|mlx|tflite|flax|tf|runs|checkpoint-\d+|logs)/"
    r"|\.(h5|msgpack|onnx|onnx_data|tflite|ot|mlmodel|mlpackage|ckpt|pkl|pickle|npz|zip|tar|gz|png|jpe?g|gif|webp|svg|mp4|pdf)$"
    r"|(^|/)(optimizer|scheduler|scaler|rng_state[^/]*|training_args)\.(pt|pth|bin)$",
    re.IGNORECASE,
)
PICKLED = re.compile(r"\.(bin|pt|pth)$", re.IGNORECASE)
SAFE = re.compile(r"\.safetensors$", re.IGNORECASE)
SAFE_INDEX = re.compile(r"\.safetensors\.index\.json$", re.IGNORECASE)
PICKLED_INDEX = re.compile(r"\.bin\.index\.json$", re.IGNORECASE)
CONSOLIDATED = re.compile(r"^consolidated[^/]*\.safetensors(\.index\.json)?$")
GGUF = re.compile(r"\.gguf$", re.IGNORECASE)
SHARD = re.compile(r"-\d{5}-of-\d{5}(?=\.gguf$)", re.IGNORECASE)
PROJECTOR = re.compile(r"(^|/)mmproj[^/]*\.gguf$", re.IGNORECASE)


def chosen(paths: Iterable[str], where: str) -> set[str]:
    """Safetensors before pickled weights before GGUF; of GGUF one model, if there is only one."""
    left = {path for path in paths if not LEFT_OUT.search(path)}
    if any(SAFE.search(path) for path in left):
        left = {path for path in left if not (PICKLED.search(path) or PICKLED_INDEX.search(path) or GGUF.search(path))}
        return _without_second_copy(left)
    left = {path for path in left if not SAFE_INDEX.search(path)}
    if any(PICKLED.search(path) for path in left):
        return {path for path in left if not GGUF.search(path)}
    return _with_one_gguf(left, where)


def _without_second_copy(paths: set[str]) -> set[str]:
    """Mistral's repositories have the same weights twice: once in Hugging Face's layout, once as `consolidated`."""
    others = any(SAFE.search(path) and "/" not in path and not CONSOLIDATED.search(path) for path in paths)
    return {path for path in paths if not CONSOLIDATED.search(path)} if others else paths


def _with_one_gguf(paths: set[str], where: str) -> set[str]:
    """Shards of one model count as one."""
    models = {SHARD.sub("", path) for path in paths if GGUF.search(path) and not PROJECTOR.search(path)}
    if len(models) > 1:
        some = ", ".join(sorted(models)[:12]) + (", …" if len(models) > 12 else "")
        raise FetchError(
            Reason.INVALID,
            f"{where} has {len(models)} models in GGUF format, and `files` doesn't say which.",
            f"Choose one with `files`, such as '*{sorted(models)[0].rpartition('/')[2]}'; there are {some}.",
        )
    return paths
