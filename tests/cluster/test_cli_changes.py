"""`kubectl llm` changes models on a real cluster: what it says before is what happens."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.builders.llmdeployments import NAME, NEW_VERSION, OURS, at_zero, merged, on_own_engine, own_runtime
from support.cluster import Kube, Operator, settled, until_settled
from support.cluster.command_line import llm, shell

pytestmark = pytest.mark.usefixtures("slipway", "weights")


async def pods(kube: Kube) -> set[str]:
    found = await kube.select("pods", OURS)
    return {each["metadata"]["name"] for each in found if "deletionTimestamp" not in each["metadata"]}


async def test_restart_replaces_the_pods_once_and_waits_for_the_new_ones(slipway: Operator, kube: Kube) -> None:
    await kube.apply(own_runtime())
    before = await settled(kube, on_own_engine(), "Serving")
    [old] = await pods(kube)
    preview = await llm(kube, "restart", NAME, "--dry-run")
    assert preview.code == 0, preview.err
    assert f"  {old}  ready, " in preview.out
    assert await pods(kube) == {old}
    found = await llm(kube, "restart", NAME, "--yes", "--wait", "--timeout=90s")
    assert found.code == 0, found.err
    [new] = await pods(kube)
    assert new != old
    after = await until_settled(kube, state="Serving")
    assert after["status"]["made"] == before["status"]["made"]
    assert await pods(kube) == {new}


async def test_at_zero_replicas_a_restart_does_nothing(slipway: Operator, kube: Kube) -> None:
    await settled(kube, at_zero())
    found = await llm(kube, "restart", NAME, "--yes")
    assert found.code == 0
    assert "is at zero replicas" in found.out


async def test_diff_says_of_each_change_what_then_happens(slipway: Operator, kube: Kube, tmp_path: Path) -> None:
    await kube.apply(own_runtime())
    await settled(kube, on_own_engine(), "Serving")
    [old] = await pods(kube)
    file = tmp_path / "model.json"
    file.write_text(json.dumps(on_own_engine()))
    assert (await llm(kube, "diff", str(file))).code == 0
    file.write_text(json.dumps(on_own_engine(scaling={"maxReplicas": 2})))
    stays = await llm(kube, "diff", str(file))
    assert stays.code == 1, stays.err
    assert "Pods: They stay" in stays.out
    await shell(kube, f"kubectl apply -n {kube.namespace} -f {file}")
    await until_settled(kube, state="Serving")
    assert await pods(kube) == {old}
    file.write_text(json.dumps(merged(on_own_engine(scaling={"maxReplicas": 2}), NEW_VERSION)))
    replaced = await llm(kube, "diff", str(file), "-o", "json")
    assert replaced.document["items"][0]["replacesPods"] is True
    await shell(kube, f"kubectl apply -n {kube.namespace} -f {file}")
    await kube.wait_for_any("pods", OURS, lambda it: it["metadata"]["name"] != old)


async def test_diff_quotes_the_rules_of_the_api_server(slipway: Operator, kube: Kube, tmp_path: Path) -> None:
    file = tmp_path / "model.json"
    file.write_text(json.dumps(at_zero(scaling={"minReplicas": 3, "maxReplicas": 2})))
    refused = await llm(kube, "diff", str(file))
    assert (refused.code, refused.out) == (2, "")
    assert "The API server refuses LLMDeployment model: " in refused.err
    file.write_text(json.dumps(at_zero(nonsense=1)))
    unknown = await llm(kube, "diff", str(file))
    assert unknown.code == 2
    assert 'unknown field "spec.nonsense"' in unknown.err
    file.write_text(json.dumps(at_zero()))
    assert (await llm(kube, "diff", str(file))).code == 1
    assert (await llm(kube, "diff", str(file), "--as=nobody-in-particular")).code == 3
