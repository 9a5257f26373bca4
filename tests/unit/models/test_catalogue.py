"""Every entry of the catalogue is complete and plausible, and is found by its name on the Hub alone."""

from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml
from slipway.models.catalogue import Catalogue, hub_name, model_of_entry, shipped, weights_of_entry
from slipway.models.config import model_of_config
from slipway.models.facts import Evidence, Keeps, Model

FOLDER = resources.files("slipway.models").joinpath("catalogue")
FAMILIES: dict[str, dict[str, Any]] = {
    file.name: yaml.safe_load(file.read_text()) for file in FOLDER.iterdir() if file.name.endswith(".yaml")
}
ENTRIES = [(entry["names"][0], entry) for family in FAMILIES.values() for entry in family["models"]]
EACH = pytest.mark.parametrize("entry", [pytest.param(entry, id=name) for name, entry in ENTRIES])
PUBLISHED: dict[str, list[int | float]] = json.loads((Path(__file__).parent / "recorded/published.json").read_text())
HUB = re.compile(r"[A-Za-z0-9][-A-Za-z0-9._]*/[A-Za-z0-9][-A-Za-z0-9._]*")
SMALLEST, LARGEST = 10_000_000, 3_000_000_000_000  # parameters


def model(entry: dict[str, Any]) -> Model:
    return model_of_entry(entry, entry["names"][0])


def test_the_catalogue_has_models_of_all_kinds() -> None:
    models = [model(entry) for _, entry in ENTRIES]
    assert len(models) >= 80
    assert sum(each.experts is not None for each in models) >= 20
    assert sum(any(layer.latent_size for layer in each.layers) for each in models) >= 10
    assert sum(any(layer.keeps is Keeps.STATE for layer in each.layers) for each in models) >= 10
    assert sum(any(layer.window for layer in each.layers) for each in models) >= 10
    assert sum(bool(each.weights and each.weights.encoders) for each in models) >= 10
    assert sum(each.task == "Embed" for each in models) >= 5
    assert sum(each.quantization is not None for each in models) >= 20


def test_no_name_is_in_it_twice() -> None:
    names = [name.lower() for _, entry in ENTRIES for name in entry["names"]]
    assert sorted(names) == sorted(set(names))


@EACH
def test_an_entry_is_complete(entry: dict[str, Any]) -> None:
    found = model(entry)
    assert not found.missing
    assert found.architecture
    assert all(HUB.fullmatch(name) for name in entry["names"])
    assert entry["source"]
    assert entry["counted"]


@EACH
def test_its_counts_are_those_that_are_computed_from_its_config(entry: dict[str, Any]) -> None:
    assert model_of_config(entry["config"]).weights == weights_of_entry(entry)


@EACH
def test_its_numbers_are_plausible(entry: dict[str, Any]) -> None:
    found = model(entry)
    weights = found.weights
    assert weights is not None
    assert SMALLEST <= weights.active <= weights.total <= LARGEST
    assert weights.embedding == found.vocabulary_size * found.hidden_size  # type: ignore[operator]
    assert weights.head in (0, weights.embedding)
    assert weights.experts + weights.embedding + weights.head + weights.encoders + weights.unsplit < weights.total
    assert (weights.experts > 0) == (found.experts is not None)
    assert 256 <= (found.context_length or 0) <= (found.longest_context or 0) <= 20_000_000
    assert all(layer.count > 0 for layer in found.layers)
    assert set(found.evidence.values()) == {Evidence.REPORTED}


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_its_numbers_are_those_of_the_published_configs(name: str) -> None:
    """A digest of the config files in aiconfigurator-core 0.12.0: layers, hidden size, heads, key and value heads,
    vocabulary, length, experts, experts per token."""
    found = shipped().find(f"hf://{name}")
    assert found is not None
    experts = [found.experts.count, found.experts.per_token] if found.experts else [0, 0]
    numbers = [found.layer_count, found.hidden_size, found.attention_heads, found.vocabulary_size, found.context_length]
    assert [*numbers, *experts] == PUBLISHED[name]


def test_a_model_of_the_hub_is_found_whatever_its_case() -> None:
    assert shipped().find("hf://meta-LLAMA/llama-3.1-8b") is shipped().find("hf://meta-llama/Llama-3.1-8B")


@pytest.mark.parametrize(
    ("uri", "is_found"),
    [
        ("s3://bucket/mirror/Qwen/Qwen3-8B", True),
        ("pvc://models/Qwen/Qwen3-8B/", True),
        ("https://mirror.example/Qwen/Qwen3-8B", True),
        ("pvc://Qwen/Qwen3-8B", False),  # a claim of that name
        ("s3://bucket/mirror/qwen/qwen3-8b", False),
        ("s3://bucket/Qwen3-8B", False),
        ("hf://Qwen/Qwen3-8B-AWQ", False),
        ("hf://someone/Qwen3-8B", False),
        ("Qwen/Qwen3-8B", False),
        ("", False),
    ],
)
def test_elsewhere_the_end_of_the_path_must_be_the_exact_name(uri: str, is_found: bool) -> None:
    assert (shipped().find(uri) is not None) == is_found


def test_the_name_on_the_hub_has_two_segments() -> None:
    assert hub_name("hf://a/b") == "a/b"
    assert hub_name("hf://a/b/c") == ""


def test_a_uri_can_be_a_name_in_a_catalogue_of_a_site() -> None:
    catalogue = Catalogue([{"names": ["s3://bucket/ours"], "config": {"model_type": "llama"}}])
    assert catalogue.find("s3://bucket/ours") is not None
    assert catalogue.find("s3://bucket/other") is None
