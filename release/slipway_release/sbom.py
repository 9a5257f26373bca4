"""The bill of materials (SBOM) of an image: the one inside the image, completed with the image's name and digest."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from urllib.parse import quote

from slipway_devcluster.errors import Refusal
from slipway_devcluster.oci_archive import find_file, read_image

from slipway_release.source import Source

PLACE = "opt/slipway/sbom.cdx.json"
"""Its path in the image, which is also in the label dev.slipway.sbom. The image's build writes it."""


def of_archive(archive: Path, repository: str, source: Source) -> str:
    """The SBOM of the image in `archive`, in the format CycloneDX."""
    content = find_file(archive, PLACE)
    if content is None:
        raise Refusal(f"{archive.name} has no /{PLACE}; restore the step in the image's Containerfile that writes it.")
    digest = read_image(archive).digest
    bill = json.loads(content)
    purl = f"pkg:oci/{repository}@{quote(digest, safe='')}"
    component = {"type": "container", "bom-ref": purl, "name": repository, "version": source.version, "purl": purl}
    bill["serialNumber"] = uuid.uuid5(uuid.NAMESPACE_URL, purl).urn
    bill["metadata"] = {"timestamp": source.created, "component": component}
    return json.dumps(bill, indent=1) + "\n"
