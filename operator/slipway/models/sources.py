"""Everything that is known of one model, from all sources, the first of which wins for each field. Pure.

1. `spec.model.facts`
2. what an inspection of the checkpoint's own files found
3. a site's own catalogue (ConfigMaps)
4. the catalogue of this package
5. the Hub's config.json, where the operator may fetch it
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from slipway.api.model import ModelFacts
from slipway.models.catalogue import Catalogue, hub_name, shipped
from slipway.models.facts import Evidence, Model
from slipway.models.given import Given, with_facts
from slipway.models.inspected import model_of_inspection
from slipway.models.named import of_its_path

AUTO = "Auto"
NO_FACTS = ModelFacts()
EMPTY = Catalogue(())
NOTHING_KNOWN = Model(
    architecture="", missing=("parameters", "layers", "hiddenSize", "vocabularySize", "contextLength", "attentionHeads")
)
COMPLETED = (
    "layers",
    "weights",
    "experts",
    "hidden_size",
    "intermediate_size",
    "attention_heads",
    "vocabulary_size",
    "context_length",
    "longest_context",
)


@dataclass(frozen=True)
class Known:
    """The model, where its numbers are from, and what of the spec contradicts them."""

    model: Model | None  # None: no source has anything
    sources: tuple[str, ...] = ()  # in plain words, the one that wins first
    problems: tuple[str, ...] = ()  # one sentence each, with the remedy


def known_of(
    uri: str,
    facts: ModelFacts = NO_FACTS,
    *,
    inspection: Mapping[str, Any] | None = None,
    site: Catalogue = EMPTY,
    catalogue: Catalogue | None = None,
    hub: Mapping[str, Any] | None = None,
    quantization: str = "None",
    task: str = AUTO,
) -> Known:
    """`inspection`: the report of models/inspected.py; `hub`: the same of the Hub's config.json; `quantization`: of
    spec.engine; `task`: of spec.model."""
    found = _found(uri, quantization, inspection, site, shipped() if catalogue is None else catalogue, hub)
    given = facts.model_dump(exclude_none=True)
    if not found and not given:
        return Known(None)
    model = found[0].model if found else NOTHING_KNOWN
    used = found[:1]
    for each in found[1:]:
        if model.missing and (completed := _completed(model, each.model)) != model:
            model, used = completed, [*used, each]
    sources = [each.name for each in used]
    result = with_facts(model, facts) if given else Given(model)
    if task != AUTO:
        result = replace(result, model=replace(result.model, task=task))
    problems = () if result.model.weights else (each.problem for each in used if each.problem)
    return Known(result.model, (*(["spec.model.facts"] if given else []), *sources), (*problems, *result.problems))


@dataclass(frozen=True)
class _Source:
    name: str  # in plain words
    model: Model
    problem: str = ""  # why its weights don't count


def _found(
    uri: str,
    quantization: str,
    inspection: Mapping[str, Any] | None,
    site: Catalogue,
    catalogue: Catalogue,
    hub: Mapping[str, Any] | None,
) -> list[_Source]:
    read = model_of_inspection(inspection, name=hub_name(uri)) if inspection else None
    of_hub = model_of_inspection(hub, name=hub_name(uri)) if hub else None
    candidates = (
        _Source("the model's own files", read) if read else None,
        _of_catalogue("a ConfigMap of models", site.find(uri), uri, quantization),
        _of_catalogue("the catalogue of models", catalogue.find(uri), uri, quantization),
        _Source("the Hub's config.json", _reported(of_hub)) if of_hub else None,
    )
    return [each for each in candidates if each is not None]


def _of_catalogue(catalogue: str, model: Model | None, uri: str, quantization: str) -> _Source | None:
    if model is None:
        return None
    if uri.startswith("hf://") or model.name == uri:
        return _Source(catalogue, model)
    own, problem = of_its_path(model, uri, quantization)
    return _Source(f"{catalogue}, since the path ends with {model.name}", own, problem)


def _reported(model: Model) -> Model:
    """The same numbers, which aren't read from the files that will be loaded."""
    evidence = dict.fromkeys([*model.evidence, *(["parameters"] if model.weights else [])], Evidence.REPORTED)
    return replace(model, evidence=evidence)


def _completed(model: Model, other: Model) -> Model:
    """What is missing, as far as the other source has it."""
    gained: dict[str, Any] = {}
    for name in (each.name for each in fields(Model) if each.name in COMPLETED):
        if not getattr(model, name) and getattr(other, name):
            gained[name] = getattr(other, name)
    if "weights" in gained and model.quantization != other.quantization:
        gained["weights"] = replace(gained["weights"], file_bytes=None)  # those of another checkpoint
    evidence = {**other.evidence, **model.evidence}
    missing = tuple(field for field in model.missing if field in other.missing)
    return replace(model, **gained, evidence=evidence, missing=missing)
