"""Hands weights that are already on the device to vLLM's loader, in place of the function that reads the files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from slipway_runtime.faststart.device_copy import Copy, DeviceMemory

TYPES = {  # safetensors' names, and torch's
    "BF16": "bfloat16",
    "F16": "float16",
    "F32": "float32",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}


def take_weights_from(copy: Copy, loader: Any, *, say: Callable[[str], None]) -> None:
    """Replaces the loader's function. Files that were not copied, such as a draft model's, are read as usual."""
    ordinary = loader.safetensors_weights_iterator

    def safetensors_weights_iterator(hf_weights_files: list[str], *args: Any, **kwargs: Any) -> Iterator[Any]:
        say("wants the weights")
        headers = [header_of(Path(file)) for file in hf_weights_files]
        memories = copy.take(hf_weights_files) if all(map(_is_understood, headers)) else None
        if memories is None:
            say("reads the weights itself")
            return iter(ordinary(hf_weights_files, *args, **kwargs))
        return _tensors(headers, memories, say)

    loader.safetensors_weights_iterator = safetensors_weights_iterator


SafetensorsHeader = tuple[int, dict[str, Any]]  # the offset of the values, and the tensors by name


def header_of(file: Path) -> SafetensorsHeader:
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        tensors = json.loads(opened.read(length))
    tensors.pop("__metadata__", None)
    return 8 + length, tensors


def _is_understood(header: SafetensorsHeader) -> bool:
    return all(tensor["dtype"] in TYPES for tensor in header[1].values())


def _tensors(
    headers: Sequence[SafetensorsHeader], memories: list[DeviceMemory], say: Callable[[str], None]
) -> Iterator[tuple[str, Any]]:
    import torch  # noqa: PLC0415 - only the engine core has it

    for begin, tensors in headers:
        values = torch.as_tensor(memories.pop(0), device="cuda")
        for name, tensor in tensors.items():
            start, end = (begin + offset for offset in tensor["data_offsets"])
            yield name, values[start:end].view(getattr(torch, TYPES[tensor["dtype"]])).view(tensor["shape"])
        del values
    say("has handed over the weights")
