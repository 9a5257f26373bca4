"""What an inspection of a model's files reports. Pure.

A Job runs the runtime's `inspect` on the model's own source, and its result is JSON of one of two shapes. It comes from
the model's files, so all of it is hostile: what isn't as described here is ignored, and never an error.

A checkpoint in safetensors files (or PyTorch's, of which only `config` and `files` are known):

    {"config": {…},        config.json as it is, with hf_quant_config.json as its `quantization_config` where it has
                           none, and without what no engine's memory depends on, to keep it short: strings
                           of more than 100 characters, lists of more than 512 entries, `id2label`, `label2id`, and
                           `quantization_config.ignore` or `.modules_to_not_convert` beyond 64 names
     "revision": "0e9e39f249a1…",     the commit, if it is known
     "files": 16060556376,            bytes of all weight files, headers included
     "tensors": {
       "bytes": 16060522496,          of all tensors, but for those of `drafts`
       "parameters": 8030261248,      elements as stored (a packed int32 counts as one), but for those of `drafts`
       "embedding": 525336576,        elements of the input embedding: NAME.weight where NAME ends with embed_tokens,
                                      wte, word_embeddings, tok_embeddings, embeddings (of Mamba's `backbone`)…
       "head": 525336576,             elements of the output layer (`lm_head`, `output`); 0 if it isn't stored
       "experts": 0,                  elements of routed experts: names with `.experts.`, or fused ones
       "experts_bytes": 0,
       "encoders": 0,                 elements of vision and audio towers and their projections
       "encoders_bytes": 0,
       "drafts": 0,                   bytes of layers for multi-token prediction, which engines load only for
                                      speculative decoding: `mtp.`, or layers from num_hidden_layers on
       "by_dtype": {"BF16": 16060522496}     bytes by safetensors' own names of types
     }}

A GGUF file, or the first of several:

    {"gguf": {…},          its key-value pairs, without those of `tokenizer.` and strings of more than 100 characters
     "tokens": 128256,     length of `tokenizer.ggml.tokens`
     "files": 4920734272,  bytes of all files of the model
     "tensors": {"bytes": …, "parameters": …, "embedding": …, "head": …, "experts": …, "experts_bytes": …,
                 "encoders": 0, "encoders_bytes": 0, "drafts": 0, "by_dtype": {"Q4_K": …, "Q6_K": …, "F32": …}}}
                           as above; elements are the weights themselves, whatever their type. `embedding` is
                           `token_embd.weight`, `head` is `output.weight`, experts are `blk.N.ffn_*_exps.*`

All numbers are integers. Everything is optional: what isn't there is unknown. `omitted` has the names of members of the
config that were left out because the whole was too long.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from slipway.models.config import model_of_config
from slipway.models.facts import Evidence, Model, Quantization, Weights
from slipway.models.gguf import model_of_gguf
from slipway.models.values import Config, items, section, text, whole

MOST_BYTES = 1 << 50
LISTS_OF_LAYERS = (
    "layer_types",
    "layers_block_type",
    "hybrid_override_pattern",
    "attn_type_list",
    "hybrid_layer_pattern",
    "no_rope_layers",
    "linear_attn_config",
    "block_configs",
    "mlp_layer_types",
    "indexer_types",
    "compress_ratios",
)
TYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}


def model_of_inspection(report: Mapping[str, Any], *, name: str = "") -> Model | None:
    """Returns what the files say; None where the report has neither a config nor a GGUF header."""
    if pairs := section(report, "gguf"):
        return _of_gguf(report, model_of_gguf(pairs, name=name, tokens=whole(report, "tokens")))
    if config := section(report, "config"):
        return _of_checkpoint(report, model_of_config(config, name=name))
    return None


def revision_of(report: Mapping[str, Any]) -> str:
    return text(report, "revision")


def _of_checkpoint(report: Config, model: Model) -> Model:
    model = _without_omitted(report, model)
    tensors = section(report, "tensors")
    size = _bytes(tensors, "bytes") or _bytes(report, "files")
    counted = _counts(tensors, size, model) if model.quantization is None else None
    weights = counted or (replace(model.weights, file_bytes=size) if model.weights and size else model.weights)
    if counted and model.weights and model.weights.total == counted.total:
        weights = replace(model.weights, file_bytes=size)  # they agree, and the config knows more about the parts
    return _with_weights(replace(model, dtype=_dtype(tensors, model)), weights, size)


def _of_gguf(report: Config, model: Model) -> Model:
    tensors = section(report, "tensors")
    size = _bytes(tensors, "bytes") or _bytes(report, "files")
    weights = _counts(tensors, size, model)
    if weights and size:
        bits = Quantization(method="gguf", bits=round(8 * size / weights.total, 3))
        model = replace(model, quantization=bits)
    return _with_weights(model, weights, size)


def _with_weights(model: Model, weights: Weights | None, size: int | None) -> Model:
    evidence = {**model.evidence}
    if weights:
        evidence |= {"parameters": Evidence.EXACT, "activeParameters": Evidence.EXACT}
    if size:
        evidence["weights"] = Evidence.EXACT
    missing = tuple(field for field in model.missing if field != "parameters" or weights is None)
    return replace(model, weights=weights, evidence=evidence, missing=missing)


def _counts(tensors: Config, size: int | None, model: Model) -> Weights | None:
    """Elements are parameters, but where a checkpoint packs several into one."""
    total = whole(tensors, "parameters", most=MOST_BYTES)
    if total is None:
        return None
    parts = {part: min(total, whole(tensors, part, least=0, most=MOST_BYTES) or 0) for part in PARTS}
    experts = model.experts
    idle = parts["experts"] * (experts.count - experts.per_token) // experts.count if experts else 0
    return Weights(total=total, active=total - idle, file_bytes=size, **parts)


PARTS = ("embedding", "head", "experts", "encoders")


def _dtype(tensors: Config, model: Model) -> str:
    """The type of most bytes, where that is a plain one."""
    sizes = {name: _bytes(section(tensors, "by_dtype"), name) or 0 for name in TYPES}
    largest = max(sizes, key=lambda name: sizes[name])
    return TYPES[largest] if sizes[largest] and model.quantization is None else model.dtype


def _without_omitted(report: Config, model: Model) -> Model:
    """A config without its list of layers says nothing about what they keep."""
    omitted = [name for name in items(report, "omitted") or [] if isinstance(name, str)]
    if not any(name.rsplit(".", 1)[-1] in LISTS_OF_LAYERS for name in omitted):
        return model
    return replace(model, layers=(), missing=tuple(dict.fromkeys([*model.missing, "layers"])))


def _bytes(report: Config, name: str) -> int | None:
    return whole(report, name, most=MOST_BYTES)
