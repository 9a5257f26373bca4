"""`slipway-runtime inspect PATH`: the facts of a model, or of an adapter, as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from slipway_runtime.models.facts import AdapterFacts, Facts
from slipway_runtime.models.locating import ADAPTER_CONFIG, find_adapter, find_model
from slipway_runtime.models.problem import ModelError
from slipway_runtime.models.reading import read_adapter, read_model


def inspect_command(path: Path) -> int:
    """Prints the facts, or why there are none; returns the exit code."""
    try:
        facts = _inspect(path)
    except ModelError as error:
        sys.stderr.write(f"slipway-runtime: {error.failure.message} {error.failure.remedy}\n")
        return error.failure.reason.exit_code
    sys.stdout.write(json.dumps(facts.as_json(), indent=2) + "\n")
    return 0


def _inspect(path: Path) -> Facts | AdapterFacts:
    if (path / ADAPTER_CONFIG).is_file():
        return read_adapter(find_adapter(path))
    return read_model(find_model(path))
