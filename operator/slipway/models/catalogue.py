"""The models that Slipway knows: data of this package, one file for each family, and a site's own in the same form.

    family: llama                    # of one architecture
    models:
    - names: [meta-llama/Llama-3.1-8B, meta-llama/Llama-3.1-8B-Instruct]      # ORGANIZATION/MODEL on the Hub, or a URI
      source: aiconfigurator-core 0.12.0, model_configs/meta-llama--Meta-Llama-3.1-8B_config.json
      task: Generate                 # optional, where the architecture doesn't say it
      config: {…}                    # the fields of config.json that are needed
      parameters: {total: 8030261248, active: 8030261248, embedding: 525336576, head: 525336576}
      counted: transformers 5.19.0   # where the counts are from
      bytes: 16060556376             # optional: of the weight files

`operator/generate_catalogue.py` writes the files. Pure, but for reading them once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from importlib import resources
from typing import Any

import yaml

from slipway.contract.tasks import Task
from slipway.models.config import model_of_config
from slipway.models.facts import Evidence, Model, Weights
from slipway.models.values import Config, items, section, text, whole

COUNTS = ("total", "active", "embedding", "head", "experts", "encoders", "unsplit")


class Catalogue:
    """Models by their name on the Hub. A model is put together when it is first asked for."""

    def __init__(self, entries: Iterable[Mapping[str, Any]]) -> None:
        self._entries: dict[str, tuple[str, Config]] = {}
        self._models: dict[str, Model] = {}
        for entry in entries:
            for name in names_of(entry):
                self._entries.setdefault(key_of(name), (name, entry))

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self._entries.values()]

    def find(self, uri: str) -> Model | None:
        """Returns the model that a `spec.model.uri` names: on the Hub, or by a path that ends with such a name."""
        wanted = uri if uri in self._entries else hub_name(uri)
        found = self._entries.get(key_of(wanted))
        if found is None or (found[0] != wanted and not uri.startswith("hf://")):
            return None
        name, entry = found
        if name not in self._models:
            self._models[name] = model_of_entry(entry, name)
        return self._models[name]


def key_of(name: str) -> str:
    """The Hub doesn't tell capitals from small letters; other sources do."""
    return name if "://" in name else name.lower()


def hub_name(uri: str) -> str:
    """Returns ORGANIZATION/MODEL of hf://ORGANIZATION/MODEL, and elsewhere the last two segments of the path."""
    scheme, _, rest = uri.partition("://")
    segments = [segment for segment in rest.split("/") if segment]
    if scheme == "hf":
        return rest if len(segments) == 2 else ""
    return "/".join(segments[-2:]) if len(segments) > 2 else ""  # the first is a bucket, a claim or a host


def names_of(entry: Config) -> list[str]:
    return [name for name in items(entry, "names") or [] if isinstance(name, str)]


def model_of_entry(entry: Config, name: str) -> Model:
    """Returns the model; its numbers are reported by the entry's source, not read from the files to be loaded."""
    model = model_of_config(section(entry, "config"), name=name)
    weights = weights_of_entry(entry) or model.weights
    missing = tuple(field for field in model.missing if field != "parameters" or weights is None)
    task = text(entry, "task")
    return replace(
        model,
        task=task if task in [*Task] else model.task,
        weights=weights,
        missing=missing,
        evidence=dict.fromkeys([*model.evidence, *(["parameters"] if weights else [])], Evidence.REPORTED),
    )


def weights_of_entry(entry: Config) -> Weights | None:
    counts = {name: whole(section(entry, "parameters"), name, least=0, most=1 << 50) or 0 for name in COUNTS}
    if not counts["total"]:
        return None
    return Weights(**{**counts, "active": counts["active"] or counts["total"]}, file_bytes=whole(entry, "bytes"))


@cache
def shipped() -> Catalogue:
    """The catalogue of this package."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    files = sorted(resources.files(__package__).joinpath("catalogue").iterdir(), key=lambda file: file.name)
    read = [yaml.load(file.read_text(encoding="utf-8"), loader) for file in files if file.name.endswith(".yaml")]
    return Catalogue(entry for family in read for entry in family["models"])
