"""How many bytes the weights take on one device, with the tables and copies that an engine adds. Pure."""

from __future__ import annotations

from slipway.models.facts import Keeps, Model, Weights
from slipway.operator.planning.memory.settings import Settings

SCALES = 1.01
"""Weights that vLLM itself quantizes come with their scales, and layers that it leaves alone."""
ADAPTER_MARGIN = 1.1
"""What an adapter takes besides its matrices in the linear layers: those of the output, and buffers."""


def on_each_device(model: Model, settings: Settings) -> int:
    """Bytes on the device that has the most; the model's weights must be known."""
    own = _of_stage(model, model.known_weights, settings)
    return own + _tables(model) + _absorbed(model, settings) + _adapters(model, settings) + _draft(settings)


def _of_stage(model: Model, weights: Weights, settings: Settings) -> int:
    """Of the largest stage of the pipeline, which is one at an end: it has a table besides its layers.

    If the output layer is the embedding itself, the first stage and the last have a copy each.
    """
    loaded, copied = _loaded(model, weights, settings), 2 * weights.unsplit
    if settings.pipeline == 1:
        return int(max(0, loaded - copied) / settings.tensor + copied)
    first, last = 2 * (weights.embedding + weights.encoders), 2 * (weights.head or weights.embedding)
    in_layers = max(0, loaded - copied - 2 * (weights.embedding + weights.head + weights.encoders))
    count = model.layer_count or settings.pipeline
    share = -(-count // settings.pipeline) / count
    return int((in_layers * share + max(first, last)) / settings.tensor + copied * share)


def file_bytes(model: Model) -> int | None:
    """Of the checkpoint, as far as it is known; else what its number of parameters and type come to."""
    if model.weights is None:
        return None
    return model.weights.file_bytes or _as_they_are(model, model.weights)


def _loaded(model: Model, weights: Weights, settings: Settings) -> int:
    if settings.weight_bits is None or model.quantization is not None:
        return _as_they_are(model, weights)
    kept = 2 * (weights.embedding + weights.head + weights.encoders)
    quantized = weights.total - weights.embedding - weights.head - weights.encoders
    return int(kept + quantized * settings.weight_bits / 8 * SCALES)


def _as_they_are(model: Model, weights: Weights) -> int:
    """As the files have them; but 32-bit weights are loaded as 16 bits."""
    if weights.file_bytes is not None:
        return weights.file_bytes // 2 if model.dtype == "float32" else weights.file_bytes
    if model.quantization is None:
        return 2 * weights.total
    quantized = weights.experts if model.quantization.only_experts else _usually_quantized(weights)
    scale_bits = 16 / model.quantization.group_size if model.quantization.group_size else 0
    return int(2 * (weights.total - quantized) + quantized * (model.quantization.bits + scale_bits) / 8)


def _usually_quantized(weights: Weights) -> int:
    return weights.total - weights.embedding - weights.head - weights.encoders


def _tables(model: Model) -> int:
    return 2 * model.rope_values


def _absorbed(model: Model, settings: Settings) -> int:
    """For latent attention, vLLM keeps the matrices that expand the latent vector a second time, transposed. A stage of
    the pipeline has those of its own layers."""
    values = sum(
        -(-each.count // settings.pipeline)
        * (each.key_size + each.value_size)
        * max(0, each.latent_size - each.rotary_size)
        for each in model.layers
        if each.keeps is Keeps.LATENT
    )
    return 2 * values * (model.attention_heads or 0) // settings.tensor


def _adapters(model: Model, settings: Settings) -> int:
    """The slots that vLLM allocates for LoRA: two matrices for each linear layer."""
    if not settings.adapters or not model.hidden_size:
        return 0
    hidden, inner = model.hidden_size, model.intermediate_size or 4 * model.hidden_size
    sides = 0
    for layers in model.layers:
        heads = (model.attention_heads or 0) * layers.key_size
        kv = layers.kv_heads * (layers.key_size + layers.value_size)
        attention = 2 * (hidden + heads) + 2 * hidden + kv
        sides += layers.count * (attention + 3 * (hidden + inner))
    return int(2 * settings.adapters * settings.adapter_rank * sides * ADAPTER_MARGIN / settings.pipeline)


def _draft(settings: Settings) -> int:
    draft = settings.draft
    return 2 * draft.weights.total if draft and draft.weights else 0
