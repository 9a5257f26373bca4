"""How a path says that a checkpoint is quantized, such as `pvc://models/awq/Qwen/Qwen3-8B`. Pure.

The catalogue finds models by the end of a path, and what lies there may be another checkpoint of the same model: then
the catalogue's weights are not those that will be loaded.
"""

from __future__ import annotations

import re
from dataclasses import replace

from slipway.models.catalogue import hub_name
from slipway.models.facts import Model, Quantization

BITS = {
    **dict.fromkeys(("awq", "gptq", "autoround", "w4a16", "w4a8", "int4", "4bit", "fp4", "nvfp4", "mxfp4"), 4),
    **dict.fromkeys(("fp8", "w8a8", "w8a16", "int8", "8bit"), 8),
    **dict.fromkeys(("gguf", "exl2", "exl3", "hqq", "bnb", "bitsandbytes", "quantized"), 0),
}
"""By the word in a path; 0: it doesn't say how many."""
OF_GGUF = re.compile(r"(?<![a-z0-9])i?q[1-8][_-](?:k|nl|x{0,2}s|m|[01])(?![a-z0-9])")  # Q4_K_M, IQ3_XS, Q8_0
OF_SPEC = {"AWQ": "awq", "GPTQ": "gptq", "W8A8": "w8a8", "W4A16": "w4a16", "GGUF": "gguf"}  # spec.engine.quantization


def of_its_path(model: Model, uri: str, quantization: str) -> tuple[Model, str]:
    """The model that a catalogue has found by the end of a path, without weights where the path or the engine's
    quantization names others; and a sentence that says so. `quantization`: of spec.engine."""
    wanted = OF_SPEC.get(quantization, "")
    word = wanted or _word_of(uri)
    if not word or _agrees(model, word):
        return model, ""
    said = f"engine.quantization is {quantization}" if wanted else f"the model's path has '{word}'"
    are = f"are {_name(model.quantization)}" if model.quantization else "aren't quantized"
    changed = replace(
        model,
        weights=None,
        quantization=Quantization(method=word, bits=BITS[word]) if BITS.get(word) else None,
        missing=tuple(dict.fromkeys((*model.missing, "parameters"))),
        evidence={name: value for name, value in model.evidence.items() if name != "parameters"},
    )
    return changed, (
        f"The weights of {model.name} {are} in the catalogue of models, and {said}, so they are not counted: set "
        "spec.model.facts.parameters and weights, or name the model by hf://."
    )


def _word_of(uri: str) -> str:
    """Empty: none says that it is quantized. The name itself is the catalogue's."""
    before = uri.partition("://")[2].rstrip("/").removesuffix(hub_name(uri)).lower()
    of_gguf = OF_GGUF.search(before)
    return next((each for each in re.split(r"[^a-z0-9]+", before) if each in BITS), of_gguf.group() if of_gguf else "")


def _agrees(model: Model, word: str) -> bool:
    found = model.quantization
    if found is None:
        return False
    return word in found.method or (BITS.get(word) == found.bits)


def _name(quantization: Quantization) -> str:
    return quantization.format or quantization.method
