"""What a user wants planned: a model by its name, an LLMDeployment in a file, or a model's own config.json."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from slipway.api.llmdeployment import LLMDeployment
from slipway.api.names import API_VERSION, KIND, MAX_NAME_LENGTH
from slipway.models.catalogue import hub_name
from slipway.models.catalogue import shipped as catalogue
from slipway.models.sources import Known, known_of

from slipway_cli.offline.families import families_with
from slipway_cli.offline.files import text_of
from slipway_cli.offline.invalid import first_mistake
from slipway_cli.offline.profiles import LOADER
from slipway_cli.problems import Misused

Spec = Mapping[str, Any]
NAMES_OF_FILES = (".yaml", ".yml", ".json")
OBJECT_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
ON_THE_HUB = re.compile(r"[A-Za-z0-9][-A-Za-z0-9._]*/[A-Za-z0-9][-A-Za-z0-9._]*")


@dataclass(frozen=True)
class Wanted:
    """An LLMDeployment, and what is known of its model."""

    deployment: LLMDeployment
    known: Known
    draft: Known | None = None


def wanted_of(argument: str, changes: Spec) -> list[Wanted]:
    """`changes`: what the command line says of the spec, by section; it wins."""
    if argument == "-" or argument.lower().endswith(NAMES_OF_FILES) or _is_file(argument):
        return _of_file(argument, changes)
    uri = argument if "://" in argument else f"hf://{_on_the_hub(argument)}"
    return [_completed({"model": {"uri": uri}}, name_of(uri), changes)]


def _is_file(argument: str) -> bool:
    try:
        return Path(argument).is_file()
    except OSError:  # no file can have so long a name
        return False


def name_of(uri: str) -> str:
    """A name for an object that serves the model."""
    last = uri.partition("://")[2].rstrip("/").rpartition("/")[2] or "model"
    name = re.sub(r"[^a-z0-9]+", "-", last.lower()).strip("-")[:40].strip("-")
    return name if name[:1].isalpha() else f"m-{name}".rstrip("-")


def _on_the_hub(name: str) -> str:
    """`ORGANIZATION/MODEL`; where only the model is given, the one of the catalogue that is called so."""
    if ON_THE_HUB.fullmatch(name):
        return name
    if "/" in name or not re.fullmatch(r"[-A-Za-z0-9._]+", name):
        raise Misused(f"{name!r} is neither a file nor a model: write ORGANIZATION/MODEL, as on the Hub, or a URI.")
    found = [each for each in catalogue().names if each.lower().endswith(f"/{name.lower()}")]
    if len(found) == 1:
        return found[0]
    if found:
        raise Misused(f"{name} may be {' or '.join(found)}: give the whole name.")
    raise Misused(f"No known model is called {name}{_close(name)}: give ORGANIZATION/MODEL, or its config.json.")


def _close(name: str) -> str:
    names = catalogue().names
    short = {each.rpartition("/")[2].lower(): each for each in names}
    close = get_close_matches(name.rpartition("/")[2].lower(), short, n=3, cutoff=0.6)
    return f" (similar: {', '.join(short[each] for each in close)})" if close else ""


# --- files -----------------------------------------------------------------------------------------------------------


def documents_in(path: str) -> list[Any]:
    """The items of lists, as `kubectl get` writes them, are documents of their own."""
    return [item for each in _read(path) for item in _items(each)]


def _items(document: Any) -> list[Any]:
    is_list = isinstance(document, dict) and str(document.get("kind")).endswith("List")
    items = document.get("items") if is_list else None
    return items if isinstance(items, list) else [document]


def _read(path: str) -> list[Any]:
    try:
        text = sys.stdin.read() if path == "-" else text_of(Path(path))
        if path.lower().endswith(".json"):
            return [json.loads(text)]
        return [_as_json(each) for each in yaml.load_all(text, _Manifests) if each is not None]
    except FileNotFoundError:
        raise Misused(f"There is no file {path}.") from None
    except (OSError, UnicodeDecodeError, ValueError, TypeError, RecursionError, yaml.YAMLError) as error:
        said = " ".join(str(error).split())
        raise Misused(f"{path} can't be read as YAML or JSON ({said}): correct it.") from None


_RULES = {
    first: [each for each in rules if each[0] != "tag:yaml.org,2002:timestamp"]
    for first, rules in LOADER.yaml_implicit_resolvers.items()
}
_Manifests = type("_Manifests", (LOADER,), {"yaml_implicit_resolvers": _RULES})
"""A date without quotes is a string, as for kubectl."""


def _as_json(document: Any) -> Any:
    """As it is sent. An anchor within itself, or a value that JSON doesn't have, is an error here."""
    return json.loads(json.dumps(document, allow_nan=False))


def _of_file(path: str, changes: Spec) -> list[Wanted]:
    found: list[Wanted] = []
    for each in documents_in(path):
        if isinstance(each, dict) and each.get("kind") == KIND:
            found.append(_of_manifest(path, each, changes))
        elif isinstance(each, dict) and (each.get("architectures") or each.get("model_type")):
            found.append(_of_config(path, each, changes))
    if not found:
        raise Misused(f"{path} has neither a {KIND} of {API_VERSION} nor a model's config: give one of the two.")
    return found


def _of_manifest(path: str, manifest: dict[str, Any], changes: Spec) -> Wanted:
    spec, metadata = manifest.get("spec"), manifest.get("metadata")
    if not isinstance(spec, dict) or not isinstance(metadata, dict) or not metadata.get("name"):
        raise Misused(f"{path} has a {KIND} without metadata.name or spec: add them.")
    return _completed(spec, str(metadata["name"]), changes, metadata=metadata)


def _of_config(path: str, config: dict[str, Any], changes: Spec) -> Wanted:
    said = str(config.get("_name_or_path") or "")
    folder = Path(path).resolve().parent.name
    uri = f"hf://{said}" if ON_THE_HUB.fullmatch(said) else f"pvc://{name_of(f'pvc://{folder}')}/"
    return _completed({"model": {"uri": uri}}, name_of(uri), changes, config=config)


def checked(spec: Spec, name: str) -> Wanted:
    """An LLMDeployment of that spec; nothing may be known of its model."""
    deployment = _valid({"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": spec}, name)
    model = deployment.spec.model
    return Wanted(deployment, known_of(model.uri, model.facts, task=model.task))


def _completed(
    spec: Spec, name: str, changes: Spec, *, metadata: Spec | None = None, config: Spec | None = None
) -> Wanted:
    merged = {**spec}
    for section, fields in changes.items():
        own = merged.get(section)
        merged[section] = {**(own if isinstance(own, dict) else {}), **fields}
    manifest = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {**(metadata or {}), "name": name}, "spec": merged}
    deployment = _valid(manifest, name)
    return Wanted(deployment, _known(deployment, config), _draft(deployment))


def _valid(manifest: dict[str, Any], name: str) -> LLMDeployment:
    if not OBJECT_NAME.fullmatch(name) or len(name) > MAX_NAME_LENGTH:
        raise Misused(
            f"The name {name!r} is invalid: write a letter, then lower-case letters, digits and '-', "
            f"{MAX_NAME_LENGTH} characters at most."
        )
    try:
        return LLMDeployment.model_validate(manifest)
    except ValidationError as error:
        raise Misused(f"The {KIND} {name} is invalid: {first_mistake(error)}") from None


def _known(deployment: LLMDeployment, config: Spec | None) -> Known:
    spec = deployment.spec
    return known_of(
        spec.model.uri,
        spec.model.facts,
        inspection={"config": config} if config else None,
        catalogue=families_with(spec.model.uri),
        quantization=spec.engine.quantization,
        task=spec.model.task,
    )


def why_unknown(uri: str) -> str:
    """Nothing is known of that model, with the remedy."""
    name = hub_name(uri) if uri.startswith("hf://") else uri
    return (
        f"{name} is not among the {len(catalogue().names)} models that this version knows{_close(name)}: give its "
        "config.json instead, as `kubectl llm plan config.json`, or its numbers by --fact, as --fact parameters=8e9."
    )


def _draft(deployment: LLMDeployment) -> Known | None:
    speculative = deployment.spec.engine.speculative
    return known_of(speculative.model) if speculative and speculative.model else None
