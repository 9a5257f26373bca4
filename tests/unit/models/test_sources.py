"""Each field is from the first source that has it: the spec, the files, a site's models, the catalogue, the Hub."""

from __future__ import annotations

from typing import Any

from slipway.api.model import ModelFacts
from slipway.models.catalogue import Catalogue
from slipway.models.facts import Evidence
from slipway.models.sources import known_of
from support.builders.configs import LLAMA_3_1_8B

QWEN = "hf://Qwen/Qwen3-8B"


def config(**fields: Any) -> dict[str, Any]:
    return {**LLAMA_3_1_8B, **fields}


def hub(**fields: Any) -> dict[str, Any]:
    return {"config": config(**fields)}


def entry(**fields: Any) -> Catalogue:
    return Catalogue([{"names": ["Qwen/Qwen3-8B"], "config": config(**fields)}])


def length(**sources: Any) -> tuple[int | None, tuple[str, ...]]:
    known = known_of(QWEN, **sources)
    assert known.model is not None
    return known.model.context_length, known.sources


def test_the_sources_in_their_order() -> None:
    inspection = {"config": config(max_position_embeddings=1)}
    site, catalogue = entry(max_position_embeddings=2), entry(max_position_embeddings=3)
    sources: dict[str, Any] = {"inspection": inspection, "site": site, "catalogue": catalogue, "hub": hub()}
    facts = ModelFacts(context_length=8192)
    assert length(facts=facts, **sources) == (8192, ("spec.model.facts", "the model's own files"))
    assert length(**sources) == (1, ("the model's own files",))
    del sources["inspection"]
    assert length(**sources) == (2, ("a ConfigMap of models",))
    del sources["site"]
    assert length(**sources) == (3, ("the catalogue of models",))
    assert length(catalogue=Catalogue(()), hub=hub()) == (131072, ("the Hub's config.json",))


def test_nothing_is_known_of_a_model_without_a_source() -> None:
    known = known_of("s3://bucket/model")
    assert known.model is None
    assert known.sources == ()


def test_what_one_source_lacks_the_next_one_has() -> None:
    inspection = {"config": config(model_type="new", max_position_embeddings=None)}
    known = known_of(QWEN, inspection=inspection, hub=hub())
    assert known.model is not None
    assert known.sources == ("the model's own files", "the catalogue of models")
    assert known.model.context_length == 40_960
    assert known.model.evidence["hiddenSize"] is Evidence.EXACT
    assert known.model.evidence["contextLength"] is Evidence.REPORTED
    assert not known.model.missing


def test_facts_complete_what_no_source_has() -> None:
    known = known_of("s3://b/m", ModelFacts(context_length=4096), hub=hub(max_position_embeddings=None))
    assert known.model is not None
    assert not known.model.missing


def test_a_model_that_is_found_by_the_end_of_its_path_says_so() -> None:
    known = known_of("pvc://models/Qwen/Qwen3-8B")
    assert known.sources == ("the catalogue of models, since the path ends with Qwen/Qwen3-8B",)


def test_facts_alone_are_a_source() -> None:
    known = known_of("s3://bucket/model", ModelFacts(context_length=4096))
    assert known.model is not None
    assert known.sources == ("spec.model.facts",)
    assert {"parameters", "layers"} <= set(known.model.missing)


def test_what_the_hub_says_is_reported() -> None:
    known = known_of("hf://someone/something", hub=hub())
    assert known.model is not None
    assert set(known.model.evidence.values()) == {Evidence.REPORTED}
