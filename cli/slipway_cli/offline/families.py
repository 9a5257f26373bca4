"""The catalogue of models, of which only the families are parsed that may have a model: all of it takes 0.1 s."""

from __future__ import annotations

from importlib import resources

import yaml
from slipway.models.catalogue import Catalogue, hub_name

from slipway_cli.offline.profiles import LOADER

FOLDER = resources.files("slipway.models").joinpath("catalogue")


def families_with(uri: str) -> Catalogue:
    """The families whose files mention the model, so that the catalogue finds it there as it would in all of them."""
    wanted = {name.lower() for name in (uri, hub_name(uri)) if name}
    files = sorted((each for each in FOLDER.iterdir() if each.name.endswith(".yaml")), key=lambda each: each.name)
    texts = [each.read_text(encoding="utf-8") for each in files]
    chosen = [text for text in texts if any(name in text.lower() for name in wanted)]
    return Catalogue(entry for text in chosen for entry in yaml.load(text, LOADER)["models"])
