"""The number of parameters, computed from a config.json: exact for known families, unknown for all others. Pure.

The numbers are compared with what transformers makes of the same configs (`operator/count_parameters.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from slipway.models.encoders import encoder_weights, tower_size
from slipway.models.experts import experts_of, sparse_layers
from slipway.models.facts import Experts, Keeps, Weights
from slipway.models.families import Family, family_of
from slipway.models.gemma import gemma4_size
from slipway.models.layers import ENCODERS, layers_of
from slipway.models.nas import nemotron_nas_size
from slipway.models.sizes import FIELD, Size, copied, experts_block, mixer, mlp, norm, on
from slipway.models.values import Config, Unclear, flag, needed, text, whole
from slipway.models.zamba import zamba2_size


def weights_of(config: Config, told: Config) -> Weights:
    """Raises Unclear for a family that isn't covered."""
    model_type = text(told, "model_type")
    if model_type in ENCODERS:
        return encoder_weights(told)
    family = family_of(model_type)
    hidden = needed("hiddenSize", told, "hidden_size")
    experts = experts_of(told)
    if model_type in OF_THEIR_OWN:
        layers, family = OF_THEIR_OWN[model_type](told, hidden, experts), Family()
    elif family is None:
        raise Unclear(FIELD)
    else:
        family = replace(family, norms=_norms_of_falcon(told)) if model_type == "falcon" else family
        layers = _layers(told, family, hidden, experts) + norm(family, hidden, family.final_norms)
    return _assembled(told, family, layers, experts, tower_size(config, hidden))


def _norms_of_falcon(told: Config) -> int:
    """Attention and MLP share one if they are parallel, except in the newer blocks."""
    if not flag(told, "parallel_attn", default=True):
        return 2
    default = 2 if flag(told, "new_decoder_architecture") else 1
    return 2 if (whole(told, "num_ln_in_parallel_attn") or default) == 2 else 1


def _gemma4(told: Config, hidden: int, experts: Experts | None) -> Size:
    return gemma4_size(told, hidden, experts)


def _zamba2(told: Config, hidden: int, _: Experts | None) -> Size:
    return zamba2_size(told, hidden) + copied(hidden)


def _nemotron_nas(told: Config, hidden: int, _: Experts | None) -> Size:
    return nemotron_nas_size(told, hidden) + copied(hidden)


OF_THEIR_OWN: Mapping[str, Callable[[Config, int, Experts | None], Size]] = {
    "gemma4": _gemma4,
    "gemma4_text": _gemma4,
    "zamba2": _zamba2,
    "nemotron-nas": _nemotron_nas,
}
"""Families whose blocks differ from each other. All layers, and the norm after them."""


def _assembled(told: Config, family: Family, layers: Size, experts: Experts | None, encoders: int) -> Weights:
    vocabulary = needed("vocabularySize", told, "vocab_size")
    width, length = needed("hiddenSize", told, "hidden_size"), whole(told, "max_position_embeddings") or 0
    table = vocabulary * width
    head = 0 if flag(told, "tie_word_embeddings", default=True) else table
    total = table + head + layers.total + encoders + (vocabulary if on(told, family.head_bias) else 0)
    total += 0 if family.positions is None else (length + family.positions) * width
    idle = layers.experts * (experts.count - experts.per_token) // experts.count if experts else 0
    return Weights(
        total=total,
        active=total - idle,
        embedding=table,
        head=head,
        experts=layers.experts,
        encoders=encoders,
        unsplit=layers.unsplit,
    )


def _layers(told: Config, family: Family, hidden: int, experts: Experts | None) -> Size:
    groups = layers_of(told)
    count = sum(each.count for each in groups)
    total = norm(family, hidden, family.norms) * count
    for each in groups:
        total += mixer(told, family, hidden, each) * each.count
    if family.alone:
        return total + _alone(told, family, hidden, experts, sum(_is_idle(each.keeps) * each.count for each in groups))
    sparse = sum(sparse_layers(told)) if experts else 0
    dense = count if family.mlp_besides else count - sparse
    total += mlp(told, family, hidden) * dense if dense else Size()
    return total + experts_block(told, family, hidden, experts) * sparse if experts else total


def _alone(told: Config, family: Family, hidden: int, experts: Experts | None, count: int) -> Size:
    """Layers that keep nothing have an MLP or experts."""
    sparse = experts.layers if experts else 0
    found = mlp(told, family, hidden) * (count - sparse) if count - sparse else Size()
    return found + experts_block(told, family, hidden, experts) * sparse if experts else found


def _is_idle(keeps: Keeps) -> bool:
    return keeps is Keeps.NOTHING
