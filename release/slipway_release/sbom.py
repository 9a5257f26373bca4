"""The bill of materials of an image, as it lies in the image, with the image's own name and digest in it."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from urllib.parse import quote

from slipway_devcluster.errors import Refusal
from slipway_devcluster.oci_archive import find_file, read_image

from .source import Source

PLACE = "opt/slipway/sbom.cdx.json"
"""As the label dev.slipway.sbom says. The build of the image writes it, from what is installed there."""


def of_archive(archive: Path, repository: str, source: Source) -> str:
    """As CycloneDX."""
    content = find_file(archive, PLACE)
    if content is None:
        raise Refusal(f"{archive.name} has no /{PLACE}; restore what writes it in the image's Containerfile.")
    digest = read_image(archive).digest
    bill = json.loads(content)
    purl = f"pkg:oci/{repository}@{quote(digest, safe='')}"
    component = {"type": "container", "bom-ref": purl, "name": repository, "version": source.version, "purl": purl}
    bill["serialNumber"] = uuid.uuid5(uuid.NAMESPACE_URL, purl).urn
    bill["metadata"] = {"timestamp": source.created, "component": component}
    return json.dumps(bill, indent=1) + "\n"
