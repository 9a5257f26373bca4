"""Each field is from the first source that has it: the spec, the files, a site's models, the catalogue, the Hub."""

from __future__ import annotations

from typing import Any

import pytest
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


# --- a catalogue's weights, and a path that names others --------------------------------------------------------------

OTHERS = ["awq/", "llama-gptq-4bit/", "Q4_K_M/", "IQ3_XS/", "q8_0-files/", "models_int8/", "gguf/", "exl2/"]


@pytest.mark.parametrize("folder", OTHERS)
def test_weights_of_the_catalogue_do_not_count_where_the_path_names_others(folder: str) -> None:
    known = known_of(f"pvc://models/{folder}Qwen/Qwen3-8B")
    assert known.model
    assert (known.model.weights, known.model.missing) == (None, ("parameters",))
    assert known.model.layers
    [problem] = known.problems
    assert problem.startswith(
        "The weights of Qwen/Qwen3-8B aren't quantized in the catalogue of models, and the model's"
    )
    assert "set spec.model.facts.parameters and weights, or name the model by hf://" in problem


@pytest.mark.parametrize("uri", ["s3://bucket/awq/Qwen/Qwen3-30B-A3B-FP8", "s3://gptq/Qwen/Qwen3-30B-A3B-FP8"])
def test_so_they_do_not_where_both_are_quantized_and_differently(uri: str) -> None:
    known = known_of(uri)
    assert known.model
    assert known.model.weights is None
    assert "are fp8 in the catalogue" in known.problems[0]


@pytest.mark.parametrize(
    "uri",
    [
        "hf://Qwen/Qwen3-8B",
        "pvc://models/Qwen/Qwen3-8B",
        "pvc://models/hawqs/q9/sq4x/Qwen/Qwen3-8B",
        "s3://bucket/2026-q4/Qwen/Qwen3-8B",
        "s3://bucket/models/Qwen/Qwen3-30B-A3B-FP8/",
        "s3://bucket/fp8/Qwen/Qwen3-30B-A3B-FP8",
        "s3://bucket/8bit/Qwen/Qwen3-30B-A3B-FP8",
        "s3://bucket/mxfp4/openai/gpt-oss-20b",
    ],
)
def test_they_count_where_the_path_names_none_or_the_same(uri: str) -> None:
    known = known_of(uri)
    assert known.model
    assert known.model.weights
    assert known.problems == ()


@pytest.mark.parametrize("quantization", ["AWQ", "GPTQ", "W4A16", "W8A8", "GGUF"])
def test_the_quantization_of_the_engine_names_the_checkpoint_at_a_path_too(quantization: str) -> None:
    known = known_of("pvc://models/Qwen/Qwen3-8B", quantization=quantization)
    assert known.model
    assert known.model.weights is None
    assert f"engine.quantization is {quantization}" in known.problems[0]
    on_the_hub = known_of(QWEN, quantization=quantization)
    assert on_the_hub.model
    assert on_the_hub.model.weights


def test_facts_about_the_weights_are_enough_then() -> None:
    known = known_of("pvc://awq/Qwen/Qwen3-8B", ModelFacts(parameters=8_190_735_360, weights="6Gi"))
    assert known.model
    assert known.model.known_weights.file_bytes == 6 << 30
    assert (known.model.missing, known.problems) == ((), ())


def test_the_size_of_the_files_of_another_checkpoint_does_not_complete_one() -> None:
    """Its number of parameters does."""
    catalogue = Catalogue(
        [{"names": ["a/b"], "config": config(), "parameters": {"total": 8_030_261_248}, "bytes": 16_060_556_376}]
    )
    awq = {"quant_method": "awq", "bits": 4, "group_size": 128}
    inspection = {"config": config(model_type="new", quantization_config=awq)}
    known = known_of("pvc://models/a/b", inspection=inspection, catalogue=catalogue)
    assert known.model
    assert known.model.known_weights.total == 8_030_261_248
    assert known.model.known_weights.file_bytes is None
