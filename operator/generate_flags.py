"""Writes what the runtime's images have to know of the engines' flags: the lists of `slipway.api.engine_flags`.

The operator and the runtime don't import each other, and the runtime has the last word: so it carries a copy.
"""

from __future__ import annotations

import json
from pathlib import Path

from slipway.api.engine_flags import FIELDS, HARMLESS, REASONS

FILE = Path(__file__).parent.parent / "runtime-image/slipway_runtime/engines/flags.json"


def lists() -> dict[str, object]:
    return {
        "harmless": {engine: sorted(flags) for engine, flags in HARMLESS.items()},
        "written": sorted(flag for flags in FIELDS.values() for flag in flags.split()),
        "refused": {flag: why for why, flags in sorted(REASONS.items()) for flag in sorted(flags)},
    }


def as_text() -> str:
    return json.dumps(lists(), indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(as_text())
