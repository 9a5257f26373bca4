"""`spec.model.facts` applied to what is known otherwise: each field that is given wins. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from slipway.api.model import ModelFacts
from slipway.api.units import amount
from slipway.models.facts import Evidence, Keeps, Layers, Model, Quantization, Weights

PLAIN = ("float32", "float16", "bfloat16")
BITS = {"float32": 32, "float16": 16, "bfloat16": 16, "float8": 8, "int8": 8, "int4": 4}
QUANTIZED = {"float8": "fp8", "int8": "int8", "int4": "int4"}
OF_LAYERS = (
    "layers",
    "kv_heads",
    "head_dim",
    "latent_size",
    "sliding_window",
    "sliding_layers",
    "state_layers",
    "state_bytes",
)


@dataclass(frozen=True)
class Given:
    model: Model
    problems: tuple[str, ...] = ()  # one sentence for each contradiction, with the remedy


class _Contradiction(Exception):  # noqa: N818 - it becomes a sentence of the result
    pass


def with_facts(model: Model, facts: ModelFacts) -> Given:
    """Applies all fields that are given; one that contradicts what is known is left out, and named."""
    problems: list[str] = []
    model = _with_plain_fields(model, facts)
    for apply in (_with_layers, _with_dtype, _with_weights):
        try:
            model = apply(model, facts)
        except _Contradiction as contradiction:
            problems.append(str(contradiction))
    if problem := _heads(model):
        problems.append(problem)
    return Given(replace(model, missing=_still_missing(model)), tuple(problems))


def _with_plain_fields(model: Model, facts: ModelFacts) -> Model:
    given: dict[str, Any] = {
        "hidden_size": facts.hidden_size,
        "intermediate_size": facts.intermediate_size,
        "attention_heads": facts.attention_heads,
        "vocabulary_size": facts.vocabulary_size,
        "context_length": facts.context_length,
        "longest_context": facts.context_length,
        "task": facts.task,
    }
    given = {name: value for name, value in given.items() if value is not None}
    reported = dict.fromkeys(facts.model_dump(by_alias=True, exclude_none=True), Evidence.REPORTED)
    return replace(model, **given, evidence={**model.evidence, **reported})


# --- layers ----------------------------------------------------------------------------------------------------------


def _with_layers(model: Model, facts: ModelFacts) -> Model:
    if all(getattr(facts, name) is None for name in OF_LAYERS):
        return model
    changed = tuple(_corrected(each, facts, model) for each in model.layers)
    counts = _counts(changed)
    wanted = Counts(
        layers=facts.layers or counts.layers,
        sliding=counts.sliding if facts.sliding_layers is None else facts.sliding_layers,
        state=counts.state if facts.state_layers is None else facts.state_layers,
    )
    if not changed:
        wanted = _of_spec_alone(wanted, facts)
    if wanted == counts:
        return replace(model, layers=changed)
    return replace(model, layers=_rebuilt(model, changed, wanted, facts))


@dataclass(frozen=True)
class Counts:
    layers: int
    sliding: int  # with a window
    state: int  # with a state alone


def _counts(layers: tuple[Layers, ...]) -> Counts:
    return Counts(
        layers=sum(each.count for each in layers),
        sliding=sum(each.count for each in layers if each.window is not None),
        state=sum(each.count for each in layers if each.keeps is Keeps.STATE),
    )


def _of_spec_alone(wanted: Counts, facts: ModelFacts) -> Counts:
    """With a window and no number of layers that have it, all have it."""
    if facts.sliding_window is not None and facts.sliding_layers is None:
        return replace(wanted, sliding=max(0, wanted.layers - wanted.state))
    return wanted


def _corrected(layers: Layers, facts: ModelFacts, model: Model) -> Layers:
    """The same number of layers, with the sizes that are given."""
    if layers.keeps is Keeps.KEYS_AND_VALUES:
        size = facts.head_dim
        layers = replace(
            layers,
            kv_heads=facts.kv_heads or layers.kv_heads,
            key_size=size or layers.key_size,
            value_size=size or layers.value_size,
            window=layers.window and (facts.sliding_window or layers.window),
        )
    elif layers.keeps is Keeps.LATENT:
        layers = replace(layers, latent_size=facts.latent_size or layers.latent_size)
    if layers.keeps is Keeps.STATE and facts.state_bytes:
        layers = _state(facts.state_bytes, layers.count)
    return layers


def _state(size: int, count: int) -> Layers:
    """Bytes are exact, whatever the type of the values: pairs of bytes, as 16-bit values have."""
    return Layers(count=count, keeps=Keeps.STATE, state_16_bit=-(-size // 2))


def _rebuilt(model: Model, layers: tuple[Layers, ...], wanted: Counts, facts: ModelFacts) -> tuple[Layers, ...]:
    """New groups of the numbers that are given, from one layer of each kind."""
    idle = sum(each.count for each in layers if each.keeps is Keeps.NOTHING)
    full = wanted.layers - wanted.sliding - wanted.state - idle
    if full < 0:
        raise _Contradiction(
            f"spec.model.facts: of {wanted.layers} layers, {wanted.sliding + wanted.state + idle} have a sliding "
            f"window, a state, or keep nothing: correct layers, slidingLayers or stateLayers."
        )
    sees = _one(layers, lambda each: bool(each.kv_heads or each.latent_size) and each.window is None, "layers")
    near = _one(layers, lambda each: each.window is not None, "slidingLayers")
    state = _one(layers, lambda each: each.keeps is Keeps.STATE, "stateLayers")
    if sees is None and (full or wanted.sliding):
        sees = replace(near, window=None) if near else _attention(model, facts)
    groups: list[Layers | None] = [
        replace(sees, count=full) if sees else None,
        _sliding(near, sees, wanted.sliding, facts) if wanted.sliding else None,
        _of_state(state, wanted.state, facts) if wanted.state else None,
        Layers(count=idle, keeps=Keeps.NOTHING),
    ]
    return tuple(each for each in groups if each is not None and each.count)


def _one(layers: tuple[Layers, ...], wanted: Callable[[Layers], bool], field: str) -> Layers | None:
    found = {replace(each, count=1) for each in layers if wanted(each)}
    if len(found) > 1:
        raise _Contradiction(
            f"spec.model.facts.{field} differs from the model's own number, and its layers are of {len(found)} sizes, "
            f"so that it's unclear which ones it means: remove it."
        )
    return found.pop() if found else None


def _attention(model: Model, facts: ModelFacts) -> Layers:
    """Of a model of which nothing else is known."""
    if facts.latent_size:
        return Layers(count=1, keeps=Keeps.LATENT, latent_size=facts.latent_size)
    heads, size = facts.kv_heads, facts.head_dim
    if size is None and model.hidden_size and model.attention_heads:
        size = max(1, model.hidden_size // model.attention_heads)
    if heads is None or size is None:
        lacking = "kvHeads" if heads is None else "headDim"
        raise _Contradiction(
            f"spec.model.facts has the number of layers, but not what they keep: add {lacking}, or latentSize if the "
            f"model has multi-head latent attention."
        )
    return Layers(count=1, kv_heads=heads, key_size=size, value_size=size)


def _sliding(near: Layers | None, sees: Layers | None, count: int, facts: ModelFacts) -> Layers:
    if near is not None:
        return replace(near, count=count)
    if sees is None or facts.sliding_window is None:
        raise _Contradiction(
            f"spec.model.facts.slidingLayers is {count}, without a size of the window: add slidingWindow."
        )
    return replace(sees, count=count, window=facts.sliding_window)


def _of_state(state: Layers | None, count: int, facts: ModelFacts) -> Layers:
    if state is not None:
        return replace(state, count=count)
    if facts.state_bytes is None:
        raise _Contradiction(f"spec.model.facts.stateLayers is {count}, without the size of a state: add stateBytes.")
    return _state(facts.state_bytes, count)


# --- weights ---------------------------------------------------------------------------------------------------------


def _with_dtype(model: Model, facts: ModelFacts) -> Model:
    if facts.dtype is None:
        return model
    if facts.dtype in PLAIN:
        return replace(model, dtype=facts.dtype, quantization=None)
    if model.quantization is not None and model.quantization.bits == BITS[facts.dtype]:
        return model
    return replace(model, quantization=Quantization(method=QUANTIZED[facts.dtype], bits=BITS[facts.dtype]))


def _with_weights(model: Model, facts: ModelFacts) -> Model:
    size = int(amount(facts.weights)) if facts.weights is not None else None
    total = facts.parameters or (model.weights.total if model.weights else None)
    if total is None and size is not None and facts.dtype is not None:
        total = int(Decimal(size) * 8 / BITS[facts.dtype])
    if total is None:
        return model
    known = model.weights or Weights(total=total, active=total, embedding=min(total, _table(model)))
    changed = replace(
        known,
        total=total,
        active=_active(known, total, facts),
        embedding=facts.embedding_parameters or known.embedding,
        experts=facts.expert_parameters or known.experts,
        file_bytes=size or (known.file_bytes if total == known.total and facts.dtype is None else None),
    )
    parts = changed.embedding + changed.head + changed.experts + changed.encoders
    if changed.active > total or parts > total:
        raise _Contradiction(
            f"spec.model.facts.parameters is {total}, which is less than its parts ({max(parts, changed.active)}): "
            f"correct it, or activeParameters, embeddingParameters and expertParameters."
        )
    return replace(model, weights=changed)


def _active(known: Weights, total: int, facts: ModelFacts) -> int:
    """Without a number, the same ones are idle as before."""
    return facts.active_parameters or max(1, total - (known.total - known.active))


def _table(model: Model) -> int:
    return (model.vocabulary_size or 0) * (model.hidden_size or 0)


# --- what is left ----------------------------------------------------------------------------------------------------


def _heads(model: Model) -> str:
    heads = model.attention_heads
    odd = next((each.kv_heads for each in model.layers if each.kv_heads and heads and heads % each.kv_heads), None)
    if odd is None:
        return ""
    return (
        f"The model has {heads} attention heads, which its {odd} key and value heads don't divide: correct "
        f"attentionHeads or kvHeads in spec.model.facts."
    )


def _still_missing(model: Model) -> tuple[str, ...]:
    """Fields that nothing can be planned without; those of layers are missing only while no layer is known."""
    found = {
        "hiddenSize": model.hidden_size,
        "vocabularySize": model.vocabulary_size,
        "contextLength": model.context_length,
        "parameters": model.weights,
        "attentionHeads": model.attention_heads or not any(each.kv_heads for each in model.layers),
        "intermediateSize": True,
    }
    lacking = [field for field in model.missing if not (found[field] if field in found else bool(model.layers))]
    return tuple(dict.fromkeys([*lacking, *(field for field, value in found.items() if not value)]))
