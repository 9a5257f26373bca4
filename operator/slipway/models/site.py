"""A site's own models: ConfigMaps in the form of the catalogue. Pure.

Users who may write ConfigMaps in Slipway's namespace write them; a mistake in one entry leaves the others as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from slipway.models.catalogue import Catalogue, key_of, model_of_entry, weights_of_entry
from slipway.models.config import model_of_config
from slipway.models.values import section

LARGEST_FILE = 128 << 10  # characters: some hundred models
LARGEST_IN_ALL = 1 << 20  # characters
MOST_NODES = 50_000  # of one file
DEEPEST = 12
MOST_NAMES = 64  # of one entry
NAME = re.compile(r"[a-z][a-z0-9]*://\S{1,1000}|[A-Za-z0-9][-A-Za-z0-9._]{0,99}/[A-Za-z0-9][-A-Za-z0-9._]{0,99}")
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Entry = Mapping[str, Any]


@dataclass(frozen=True)
class Site:
    catalogue: Catalogue
    problems: tuple[str, ...] = ()  # one sentence for each entry that is left out, with the remedy


class _Invalid(Exception):  # noqa: N818 - it becomes a sentence of the result
    pass


def site_of(config_maps: Iterable[Mapping[str, Any]]) -> Site:
    """Takes the ConfigMaps in the order of their names."""
    entries: list[Entry] = []
    problems: list[str] = []
    homes: dict[str, str] = {}  # where a name is
    left = LARGEST_IN_ALL
    for place, text in _files(config_maps):
        left -= len(text)
        try:
            for number, entry in enumerate(_entries(text, left), start=1):
                try:
                    entries.append(_checked(entry, homes))
                    homes |= dict.fromkeys(map(key_of, entry["names"]), place)
                except _Invalid as invalid:
                    problems.append(f"{place}: model {number} is left out: {invalid}.")
        except _Invalid as invalid:
            problems.append(f"{place} is left out: {invalid}.")
    return Site(Catalogue(entries), tuple(problems))


def _files(config_maps: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    for config_map in sorted(config_maps, key=lambda each: str((each.get("metadata") or {}).get("name"))):
        name, data = (config_map.get("metadata") or {}).get("name"), section(config_map, "data")
        for key in sorted(data):
            if key.endswith(".yaml") and isinstance(data[key], str):
                yield f"{key} of the ConfigMap {name}", data[key]


def _entries(text: str, left: int) -> list[Any]:
    """`left`: how many characters further files may have."""
    if left < 0:
        raise _Invalid(f"the models have more than {LARGEST_IN_ALL} characters in all: remove those that aren't served")
    if len(text) > LARGEST_FILE:
        raise _Invalid(f"it has {len(text)} characters: split it into files of at most {LARGEST_FILE}")
    try:
        _refuse_bombs(text)
        found = yaml.load(text, LOADER)  # a safe loader, of either kind
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        where = getattr(error, "problem_mark", None)
        raise _Invalid(f"it isn't valid YAML{f' in line {where.line + 1}' if where else ''}: correct it") from None
    models = found.get("models") if isinstance(found, Mapping) else None
    if not isinstance(models, list):
        raise _Invalid("it has no list `models`: write one, with names and a config for each model")
    return models


def _refuse_bombs(text: str) -> None:
    """An alias can stand for a million others, and each level of nesting needs stack."""
    depth = 0
    for nodes, event in enumerate(yaml.parse(text, LOADER), start=1):
        if isinstance(event, yaml.AliasEvent):
            raise _Invalid("it has an alias (*name): write the value out")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if nodes > MOST_NODES or depth > DEEPEST:
            raise _Invalid("it has more values, or more levels of them, than a catalogue has: split it")


def _checked(entry: Any, homes: Mapping[str, str]) -> Entry:
    if not isinstance(entry, Mapping):
        raise _Invalid("it isn't an object: write names and config")
    names = entry.get("names")
    if not isinstance(names, list) or not 0 < len(names) <= MOST_NAMES:
        raise _Invalid(f"names must be a list of 1 to {MOST_NAMES} names, as [ORGANIZATION/MODEL]")
    wrong = [name for name in names if not isinstance(name, str) or not NAME.fullmatch(name)]
    if wrong:
        raise _Invalid(f"{str(wrong[0])[:100]!r} is not a name: write ORGANIZATION/MODEL, or the URI of spec.model.uri")
    if twice := [name for name in names if key_of(name) in homes]:
        raise _Invalid(f"{twice[0]} is in {homes[key_of(twice[0])]}, too: remove one of them")
    if not isinstance(entry.get("config"), Mapping):
        raise _Invalid(f"{names[0]} has no config: write the fields of its config.json")
    return _sound(entry, str(names[0]))


def _sound(entry: Entry, name: str) -> Entry:
    """Counts are those of the entry, so they must be at least those that follow from its config."""
    weights, own = weights_of_entry(entry), model_of_config(entry["config"]).weights
    if weights is not None and weights.active > weights.total:
        raise _Invalid(f"{name} has {weights.active} active parameters of {weights.total}: correct parameters")
    if weights is not None and own is not None and not own.total // 2 <= weights.total <= own.total * 2:
        raise _Invalid(
            f"{name} has {weights.total} parameters, and by its config {own.total}: correct one of them, or leave "
            "parameters out"
        )
    if missing := model_of_entry(entry, name).missing:
        raise _Invalid(f"{name} lacks {', '.join(missing)}: add to its config, or to parameters")
    return entry
