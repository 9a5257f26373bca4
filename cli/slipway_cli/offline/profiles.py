"""The accelerator profiles that a plan may choose: those of the chart, or those of a file; with a user's prices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from slipway.api.acceleratorprofile import AcceleratorProfile
from slipway.api.names import PROFILE_KIND

from slipway_cli.data import folder
from slipway_cli.offline.files import text_of
from slipway_cli.offline.invalid import first_mistake
from slipway_cli.problems import Misused

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
Profiles = Mapping[str, AcceleratorProfile]


def shipped() -> Profiles:
    """Those of the chart."""
    files = sorted(folder("accelerators").glob("*.yaml"))
    return _by_name(each for file in files for each in yaml.load_all(file.read_text(encoding="utf-8"), LOADER))


def of_file(path: Path) -> Profiles:
    """Those of a file, such as `kubectl get acceleratorprofiles --output yaml` writes."""
    try:
        documents = list(yaml.load_all(text_of(path), LOADER))
    except (yaml.YAMLError, OSError, UnicodeDecodeError) as error:
        raise Misused(f"{path} can't be read as YAML ({error}): give a file of AcceleratorProfiles.") from None
    listed = [each for found in documents if isinstance(found, dict) for each in found.get("items") or [found]]
    ours = [each for each in listed if isinstance(each, dict) and each.get("kind") == PROFILE_KIND]
    if not ours:
        raise Misused(
            f"{path} has no AcceleratorProfile: write them to it by `kubectl get acceleratorprofiles --output yaml`."
        )
    try:
        return _by_name(ours)
    except ValidationError as error:
        raise Misused(f"{path} has an invalid AcceleratorProfile: {first_mistake(error)}") from None


def _by_name(objects: Iterable[Any]) -> Profiles:
    found = [AcceleratorProfile.model_validate(each) for each in objects]
    return {each.metadata.name: each for each in found}


def with_prices(profiles: Profiles, prices: Mapping[str, float]) -> Profiles:
    unknown = [name for name in prices if name not in profiles]
    if unknown:
        raise Misused(f"--price names {unknown[0]}, and there is no such profile{_hint(unknown[0], profiles)}")
    return {
        name: each.model_copy(update={"spec": each.spec.model_copy(update={"cost_per_hour": prices[name]})})
        if name in prices
        else each
        for name, each in profiles.items()
    }


def named(wanted: Sequence[str], profiles: Profiles) -> list[str]:
    """The profiles that `--gpu` means: one of that name, or all whose names start with it, whole devices only."""
    found: list[str] = []
    for word in wanted:
        lower = word.lower()
        exact = [lower] if lower in profiles else []
        starting = [name for name in profiles if name.startswith(f"{lower}-") and "-mig-" not in name]
        matching = exact or starting
        if not matching:
            raise Misused(f"--gpu {word} is not the name of a profile, or its start{_hint(lower, profiles)}")
        found += [name for name in matching if name not in found]
    return found


def _hint(name: str, profiles: Profiles) -> str:
    close = get_close_matches(name, profiles, n=3, cutoff=0.4)
    listed = f"Did you mean {' or '.join(close)}? " if close else ""
    return f". {listed}`kubectl llm plan --list-gpus` shows all {len(profiles)}."
