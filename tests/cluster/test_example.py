"""An example of a cluster test: CONTRIBUTING.md shows and explains it."""

from __future__ import annotations

from support.builders.llmdeployments import NAME, at_zero
from support.cluster import Kube, Operator, settled


async def test_a_deleted_service_is_created_again(slipway: Operator, kube: Kube) -> None:
    await settled(kube, at_zero())
    before = await kube.get("service", NAME)
    await kube.delete("service", NAME)
    after = await kube.wait_for("service", NAME, lambda it: it["metadata"]["uid"] != before["metadata"]["uid"])
    assert after["spec"]["ports"] == before["spec"]["ports"]
