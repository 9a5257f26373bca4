"""Writes the bill of materials of the image in which it runs, as CycloneDX: all Python and all Debian packages."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from shutil import which
from urllib.parse import quote

DPKG = ["dpkg-query", "--show", "--showformat=${db:Status-Abbrev}\t${Package}\t${Version}\t${Architecture}\n"]


def python_packages() -> list[dict[str, str]]:
    found = {dist.metadata["Name"].lower().replace("_", "-"): dist.version for dist in metadata.distributions()}
    return [component(name, version, f"pkg:pypi/{name}@{quote(version)}") for name, version in sorted(found.items())]


def debian_packages() -> list[dict[str, str]]:
    if which(DPKG[0]) is None:
        return []
    lines = subprocess.run(DPKG, check=True, capture_output=True, text=True).stdout.splitlines()
    rows = [line.split("\t") for line in lines if line.startswith("ii")]
    return [
        component(name, version, f"pkg:deb/debian/{name}@{quote(version)}?arch={architecture}")
        for _, name, version, architecture in rows
    ]


def component(name: str, version: str, purl: str) -> dict[str, str]:
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def bill() -> dict[str, object]:
    components = [*python_packages(), *debian_packages()]
    return {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "components": components}


if __name__ == "__main__":
    json.dump(bill(), sys.stdout, indent=1)
