"""Models of a version that did not distinguish spot nodes: an upgrade refuses none where their pods were made."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from slipway.objects.kinds import (
    ACCELERATOR_PROFILE,
    CLUSTER_SERVING_RUNTIME,
    INFERENCE_SERVICE,
    LLM_DEPLOYMENT,
    Object,
)
from slipway.operator.planning import Supply
from slipway.operator.planning.supply import ProfileSupply
from support.builders.models import FACTS_OF_LLAMA_8B
from support.builders.stored import kube_object, llm, made_by_kserve, pod
from support.programs.operator_loop import INSTALLATION, Loop, state_and_reason, status

RUNTIME = {"supportedModelFormats": [{"name": "huggingface"}], "containers": [{"name": "kserve-container"}]}
FACTS = {**FACTS_OF_LLAMA_8B, "contextLength": 8192}
THERE = ProfileSupply(nodes=2, devices=16, most_on_a_node=8)
ONLY_SPOT = Supply({"h100": replace(THERE, spot_nodes=2)}, {"h100": ProfileSupply()}, {"h100": THERE})
ONLY_REGULAR = Supply({"h100": THERE}, {"h100": THERE}, {"h100": ProfileSupply()})
SOME_OF_BOTH = Supply({"h100": THERE}, {"h100": replace(THERE, most_on_a_node=0)}, {"h100": THERE})


def settled(loop: Loop, supply: Supply, *, version: str = "1") -> Loop:
    found = Loop(installation=replace(INSTALLATION, version=version), api=loop.api)
    found.reconciler = replace(found.reconciler, supply=lambda: supply)
    return found


def template(loop: Loop) -> Object:
    found: Object = loop.api.get(INFERENCE_SERVICE)["spec"]["predictor"]
    return found


def with_spec(loop: Loop, **spec: Any) -> None:
    there = loop.api.get(LLM_DEPLOYMENT)
    metadata = {**there["metadata"], "generation": there["metadata"]["generation"] + 1}
    loop.api.put({**there, "metadata": metadata, "spec": {**there["spec"], **spec}})


async def made_before(
    loop: Loop, spot: str, *, pods: int, monkeypatch: pytest.MonkeyPatch, facts: Object | None = FACTS
) -> Loop:
    """By a version that excluded and required no spot nodes."""
    spec = {"vendor": "NVIDIA", "resource": {"name": "nvidia.com/gpu"}, "memory": "80Gi", "nodeLabels": {"gpu": "h100"}}
    loop.api.put(kube_object(ACCELERATOR_PROFILE, "h100", spec=spec))
    loop.api.put(kube_object(CLUSTER_SERVING_RUNTIME, "slipway-vllm-cuda", spec=RUNTIME))
    loop.api.put(
        llm(
            model={"uri": "pvc://models/llama", **({"facts": facts} if facts else {})},
            engine={"name": "vllm", "contextLength": 4096},
            accelerator={"profiles": ["h100"], "spot": spot},
            scaling={"autoscaler": "None", "minReplicas": 1},
        )
    )
    older = settled(loop, Supply())
    with monkeypatch.context() as before:
        before.setattr("slipway.operator.planning.make.excluded_nodes", lambda *_: ())
        before.setattr("slipway.operator.planning.make.node_terms", lambda *_: ({"gpu": "h100"},))
        await older.settle()
        older.api.put(made_by_kserve(pods, owner=older.api.get(INFERENCE_SERVICE)))
        if pods:
            older.api.put(pod(is_ready=True))
        await older.settle()
    assert "affinity" not in template(older)
    return older


@pytest.mark.parametrize("facts", [FACTS, None], ids=["sized", "of unknown size"])
@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("pods", [0, 1])
@pytest.mark.parametrize(
    ("spot", "supply"), [("Never", ONLY_SPOT), ("Never", SOME_OF_BOTH), ("Required", ONLY_REGULAR)]
)
async def test_a_model_goes_on_where_its_pods_were_made_and_is_warned(
    loop: Loop,
    spot: str,
    supply: Supply,
    pods: int,
    version: str,
    facts: Object | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    older = await made_before(loop, spot, pods=pods, monkeypatch=monkeypatch, facts=facts)
    newer = settled(older, supply, version=version)
    for _ in range(2):
        await newer.settle()
        assert "affinity" not in template(newer)
        assert template(newer)["nodeSelector"] == {"gpu": "h100"}
        assert state_and_reason(newer)[1] != "NoAcceleratorFits"
        [warning] = [each for each in status(newer)["plan"]["warnings"] if each.startswith("accelerator.spot is ")]
        assert "set accelerator.spot to Allowed" in warning


@pytest.mark.parametrize(
    "changed",
    [{"engine": {"name": "vllm", "contextLength": 2048}}, {"accelerator": {"profiles": ["h100"], "spot": "Required"}}],
)
async def test_pods_that_are_to_be_made_anew_follow_the_spec(
    loop: Loop, changed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = await made_before(loop, "Never", pods=0, monkeypatch=monkeypatch)
    with_spec(older, **changed)
    supply = ONLY_REGULAR if "accelerator" in changed else ONLY_SPOT
    newer = settled(older, supply)
    await newer.settle()
    assert state_and_reason(newer)[1] == "NoAcceleratorFits"


async def test_a_model_that_was_allowed_on_spot_nodes_and_no_longer_is_does_not_stay(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = await made_before(loop, "Allowed", pods=0, monkeypatch=monkeypatch)
    with_spec(older, accelerator={"profiles": ["h100"], "spot": "Never"})
    newer = settled(older, ONLY_SPOT)
    await newer.settle()
    assert state_and_reason(newer)[1] == "NoAcceleratorFits"


async def test_pods_that_this_version_made_are_never_on_spot_nodes_that_the_spec_does_not_allow(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = await made_before(loop, "Never", pods=0, monkeypatch=monkeypatch)
    on_regular = settled(older, ONLY_REGULAR)
    await on_regular.settle()
    assert "affinity" in template(on_regular)
    newer = settled(on_regular, ONLY_SPOT)
    await newer.settle()
    assert state_and_reason(newer)[1] == "NoAcceleratorFits"
    assert "affinity" in template(newer)
