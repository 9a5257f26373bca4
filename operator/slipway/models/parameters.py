"""The number of parameters, computed from a config.json: exact for known families, unknown for all others. Pure.

The numbers are compared with what transformers makes of the same configs (`operator/count_parameters.py`).
"""

from __future__ import annotations

from slipway.models.encoders import encoder_weights, tower_size
from slipway.models.experts import experts_of, sparse_layers
from slipway.models.facts import Experts, Keeps, Weights
from slipway.models.families import Family, family_of
from slipway.models.gemma import gemma4_size
from slipway.models.layers import ENCODERS, layers_of
from slipway.models.sizes import FIELD, Size, experts_block, mixer, mlp, norm, on
from slipway.models.values import Config, Unclear, flag, needed, text, whole


def weights_of(config: Config, told: Config) -> Weights:
    """Raises Unclear for a family that isn't covered."""
    model_type = text(told, "model_type")
    if model_type in ENCODERS:
        return encoder_weights(told)
    family = family_of(model_type)
    hidden = needed("hiddenSize", told, "hidden_size")
    experts = experts_of(told)
    if model_type in ("gemma4_text", "gemma4"):
        layers = gemma4_size(told, hidden, experts)
        family = Family()
    elif family is None:
        raise Unclear(FIELD)
    else:
        layers = _layers(told, family, hidden, experts) + norm(family, hidden, family.final_norms)
    return _assembled(told, family, layers, experts, tower_size(config, hidden))


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
