"""What the class of a config takes for fields that a config.json doesn't have; from transformers, as data. Pure."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

from slipway.models.values import Config


def defaults_of(model_type: str) -> Config:
    return _table().get(model_type, {})


@cache
def _table() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads(
        resources.files(__package__).joinpath("defaults.json").read_text(encoding="utf-8")
    )["defaults"]
    return found
