"""The recorded schemas, which check the charts without a cluster, are those of the devcluster.

`RECORD_SCHEMAS=1` records them again instead of comparing.
"""

from __future__ import annotations

import asyncio
import json
import os

from support.charts.openapi_schemas import GroupVersionKind, schema_of
from support.charts.values import SCHEMAS, kinds
from support.cluster import AnyCluster, Kube


async def test_the_recorded_schemas_are_those_of_the_cluster(cluster: AnyCluster, installed_cluster: Kube) -> None:
    cluster.devcluster()  # its versions are pinned
    published = await schemas(installed_cluster)
    if os.environ.get("RECORD_SCHEMAS"):
        SCHEMAS.mkdir(exist_ok=True)
        for name, text in published.items():
            (SCHEMAS / name).write_text(text)
    recorded = {file.name: file.read_text() for file in SCHEMAS.glob("*.json")}
    assert recorded == published, "record them again: RECORD_SCHEMAS=1 sudo -E make cluster PYTEST_ARGS='-k schemas'"


async def schemas(kube: Kube) -> dict[str, str]:
    """The schemas by file name, each in one line, since only programs read them."""
    wanted = sorted(kinds())
    paths = {kind.document for kind in wanted}
    texts = await asyncio.gather(*(kube.run("get", f"--raw={path}") for path in sorted(paths)))
    documents = dict(zip(sorted(paths), map(json.loads, texts), strict=True))
    return {kind.file: _text(kind, documents[kind.document]) for kind in wanted}


def _text(kind: GroupVersionKind, document: dict[str, object]) -> str:
    return json.dumps(schema_of(kind, document), sort_keys=True, separators=(",", ":")) + "\n"
