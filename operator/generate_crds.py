"""Writes crds/*.yaml from the types in slipway/api; run it again after changing one of them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml
from slipway.api import crd

CRDS = Path(__file__).parent.parent / "crds"
HEADER = "# Written by `make generate` from operator/slipway/api: change the types there, not this file.\n"


class _Dumper(yaml.SafeDumper):
    """Writes everything out where it stands, instead of pointing back to where it stood before."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def text(definition: dict[str, Any]) -> str:
    return HEADER + yaml.dump(definition, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)


def file_name(definition: dict[str, Any]) -> str:
    return f"{definition['spec']['group']}_{definition['spec']['names']['plural']}.yaml"


def main() -> int:
    CRDS.mkdir(exist_ok=True)
    for definition in crd.all_definitions():
        (CRDS / file_name(definition)).write_text(text(definition))
    return 0


if __name__ == "__main__":
    sys.exit(main())
