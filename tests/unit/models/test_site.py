"""A site's own models: what is taken from its ConfigMaps, and the sentence for each entry that isn't."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from slipway.models import site
from slipway.models.facts import Evidence
from slipway.models.site import Site, site_of
from support.builders.configs import LLAMA_3_1_8B

ENTRY = {"names": ["acme/legal-8b"], "config": LLAMA_3_1_8B}
OF_LLAMA = 8_030_261_248


def config_map(text: str, *, name: str = "models", key: str = "acme.yaml") -> dict[str, Any]:
    return {"metadata": {"name": name}, "data": {key: text}}


def of(*entries: Any) -> Site:
    return site_of([config_map(yaml.safe_dump({"models": [*entries]}, sort_keys=False))])


def problem(*entries: Any) -> str:
    found = of(*entries)
    assert len(found.problems) == 1
    return found.problems[0]


def test_a_model_is_found_by_its_name_on_the_hub() -> None:
    found = of(ENTRY)
    model = found.catalogue.find("hf://ACME/Legal-8B")
    assert not found.problems
    assert model is not None
    assert model.weights
    assert model.weights.total == OF_LLAMA
    assert set(model.evidence.values()) == {Evidence.REPORTED}


@pytest.mark.parametrize("uri", ["s3://models/Acme/legal", "pvc://claim", "oci://registry.acme.example/models/legal:1"])
def test_a_model_is_found_by_its_uri(uri: str) -> None:
    catalogue = of(ENTRY | {"names": [uri]}).catalogue
    assert catalogue.find(uri) is not None
    assert catalogue.find(f"{uri}-2") is None


def test_counts_of_an_entry_win_over_those_of_its_config() -> None:
    found = of(ENTRY | {"parameters": {"total": 9_000_000_000, "active": 9_000_000_000}})
    model = found.catalogue.find("hf://acme/legal-8b")
    assert model is not None
    assert model.weights
    assert model.weights.total == 9_000_000_000


def test_one_mistake_leaves_the_other_entries() -> None:
    found = of(ENTRY | {"config": None}, ENTRY | {"names": ["acme/other"]})
    assert found.catalogue.names == ["acme/other"]
    assert found.problems == (
        "acme.yaml of the ConfigMap models: model 1 is left out: acme/legal-8b has no config: write the fields of its "
        "config.json.",
    )


WRONG = {
    "not an object": (7, "it isn't an object: write names and config"),
    "no names": ({"config": LLAMA_3_1_8B}, "names must be a list of 1 to 64 names, as [ORGANIZATION/MODEL]"),
    "one name": (ENTRY | {"names": "acme/a"}, "names must be a list of 1 to 64 names, as [ORGANIZATION/MODEL]"),
    "many names": (ENTRY | {"names": ["a/b"] * 65}, "names must be a list of 1 to 64 names, as [ORGANIZATION/MODEL]"),
    "not a name": (
        ENTRY | {"names": ["legal"]},
        "'legal' is not a name: write ORGANIZATION/MODEL, or the URI of spec.model.uri",
    ),
    "a long name": (ENTRY | {"names": ["a" * 5000]}, f"'{'a' * 100}' is not a name: write"),
    "a number": (ENTRY | {"names": [7]}, "'7' is not a name: write ORGANIZATION/MODEL"),
    "more active": (
        ENTRY | {"parameters": {"total": OF_LLAMA, "active": OF_LLAMA + 1}},
        f"acme/legal-8b has {OF_LLAMA + 1} active parameters of {OF_LLAMA}: correct parameters",
    ),
    "millions for billions": (
        ENTRY | {"parameters": {"total": 8_030_261}},
        f"acme/legal-8b has 8030261 parameters, and by its config {OF_LLAMA}: correct one of them, or leave parameters "
        "out",
    ),
    "incomplete": (
        ENTRY | {"config": {**LLAMA_3_1_8B, "max_position_embeddings": None}},
        "acme/legal-8b lacks contextLength: add to its config, or to parameters",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_entry_that_is_wrong_is_left_out_by_a_sentence(case: str) -> None:
    entry, sentence = WRONG[case]
    assert problem(entry).startswith(f"acme.yaml of the ConfigMap models: model 1 is left out: {sentence}")


def test_a_name_is_taken_once() -> None:
    maps = [config_map(yaml.safe_dump({"models": [ENTRY]}), name=name) for name in ("second", "first")]
    found = site_of(maps)
    assert len(found.catalogue) == 1
    assert found.problems == (
        "acme.yaml of the ConfigMap second: model 1 is left out: acme/legal-8b is in acme.yaml of the ConfigMap first, "
        "too: remove one of them.",
    )


FILES = {
    "not YAML": ("models: [", "it isn't valid YAML in line 2: correct it."),
    "a control character": ("models: \x00", "it isn't valid YAML: correct it."),
    "no models": ("family: acme", "it has no list `models`: write one, with names and a config for each model."),
    "a list": ("- a", "it has no list `models`: write one, with names and a config for each model."),
    "an object of another language": ("models: !!python/object/apply:os.system [ls]", "it isn't valid YAML in line 1"),
    "an alias": ("models: [&a {names: [a/b]}, *a]", "it has an alias (*name): write the value out."),
    "deep": ("models: " + "[" * 60 + "]" * 60, "it has more values, or more levels of them, than a catalogue has"),
    "many values": ("models: [" + "1," * 60_000 + "]", "it has more values, or more levels of them, than a catalogue"),
    "long": ("#" * 200_000, "it has 200000 characters: split it into files of at most 131072."),
}


@pytest.mark.parametrize("case", FILES)
def test_a_file_that_is_wrong_is_left_out_by_a_sentence(case: str) -> None:
    text, sentence = FILES[case]
    found = site_of([config_map(text), config_map(yaml.safe_dump({"models": [ENTRY]}), name="right")])
    assert len(found.catalogue) == 1
    assert len(found.problems) == 1
    assert found.problems[0].startswith(f"acme.yaml of the ConfigMap models is left out: {sentence}")


def test_all_files_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    text = yaml.safe_dump({"models": [ENTRY]})
    monkeypatch.setattr(site, "LARGEST_IN_ALL", len(text) + 10)
    found = site_of([config_map(text, name="a"), config_map("models: [] # and more", name="b")])
    assert len(found.catalogue) == 1
    assert [problem.partition(": ")[2] for problem in found.problems] == [
        f"the models have more than {len(text) + 10} characters in all: remove those that aren't served."
    ]


def test_other_keys_are_not_read() -> None:
    found = site_of([config_map("models: [", key="README.md"), {"metadata": {"name": "a"}}, {}])
    assert (len(found.catalogue), found.problems) == (0, ())
