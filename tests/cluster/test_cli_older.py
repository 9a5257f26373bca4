"""`kubectl llm` where the status is of an older operator, or of none: no operator runs here."""

from __future__ import annotations

import json

from support.builders.llmdeployments import at_zero
from support.cluster import Kube
from support.cluster.command_line import llm, shell


async def test_a_status_of_an_older_operator_is_read_as_far_as_it_goes(kube: Kube, installed_cluster: Kube) -> None:
    """Only the first fields of the API, and none: no operator has seen the second."""
    for name, status in (("old", {"state": "Serving", "observedGeneration": 1}), ("new", None)):
        thing = at_zero(name)
        await kube.apply(thing)
        if status:
            patch = json.dumps({"status": status})
            done = await shell(
                kube, f"kubectl patch llm {name} -n {kube.namespace} --subresource=status --type=merge -p '{patch}'"
            )
            assert done.code == 0, done.err
        for verb in ("status", "why", "tree", "events", "timeline"):
            found = await llm(kube, f"{verb} {name}")
            assert "Traceback" not in found.err
            assert found.code in (0, 1, 3), found.err
    assert (await llm(kube, "status")).code == 1
    assert (await llm(kube, "support-bundle --dry-run")).code == 0
