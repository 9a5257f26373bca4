"""What an engine has measured reaches the status once for each load, compared with the plan that made the pod."""

from __future__ import annotations

import asyncio
import json

import pytest
from slipway.api.names import PLAN_ANNOTATION
from slipway.objects.kinds import (
    ACCELERATOR_PROFILE,
    CLUSTER_SERVING_RUNTIME,
    INFERENCE_SERVICE,
    LLM_DEPLOYMENT,
    POD,
    Object,
)
from support.builders.stored import kube_object, llm, made_by_kserve, pod
from support.fakes.api_server import KEY
from support.programs.operator_loop import Loop, status

ADDRESS, NAME = "10.0.0.7", "llama-predictor-1"
FIRST, SECOND = "2026-11-21T09:58:05Z", "2026-11-21T09:59:05Z"


def info(tokens: int) -> bytes:
    measured = {"kvTokens": tokens, "weights": 1 << 30, "devices": [{"total": 4 << 30, "used": 2 << 30}]}
    return json.dumps({"measured": measured}).encode()


def running(started: str = FIRST) -> Object:
    return {"name": "kserve-container", "ready": True, "state": {"running": {"startedAt": started}}}


async def served(loop: Loop, tokens: int | None = 16_384) -> None:
    """A replica of the present plan is ready, and has measured this many tokens."""
    loop.api.put(llm(scaling={"autoscaler": "None", "minReplicas": 1}))
    loop.api.put(made_by_kserve(1))
    await loop.settle()
    annotations = loop.api.get(INFERENCE_SERVICE)["spec"]["predictor"]["annotations"]
    ready = pod(is_ready=True)
    loop.api.put({**ready, "metadata": {**ready["metadata"], "annotations": annotations}})
    loop.api.change(POD, {"status": {"podIP": ADDRESS, "containerStatuses": [running()]}}, name=NAME)
    if tokens is not None:
        loop.infos[ADDRESS] = info(tokens)
    await reconciled(loop)


async def reconciled(loop: Loop) -> None:
    """With all that is being read."""
    await loop.reconcile()
    await asyncio.gather(*(task for task in asyncio.all_tasks() if task.get_name().startswith("measuring")))
    await loop.settle()


async def test_a_load_is_measured_once_and_asks_for_one_more_reconcile(loop: Loop) -> None:
    await served(loop)
    measured = status(loop)["measured"]
    assert (measured["kvTokens"], measured["weights"], measured["memoryInUse"]) == (16_384, "1.000Gi", "2.000Gi")
    assert (measured["pod"], measured["startedAt"]) == (NAME, FIRST)
    assert len(loop.requeued) == 1
    loop.infos[ADDRESS] = info(1)
    loop.api.requests.clear()
    await reconciled(loop)
    assert status(loop)["measured"] == measured
    assert loop.api.requests == []


async def test_a_new_leader_reads_nothing_that_the_status_has(loop: Loop) -> None:
    await served(loop)
    loop.take_over()
    loop.infos[ADDRESS] = info(1)
    await reconciled(loop)
    assert status(loop)["measured"]["kvTokens"] == 16_384


async def test_the_next_load_is_measured_again(loop: Loop) -> None:
    await served(loop)
    loop.infos[ADDRESS] = info(20_000)
    loop.api.change(POD, {"status": {"containerStatuses": [running(SECOND)]}}, name=NAME)
    await reconciled(loop)
    measured = status(loop)["measured"]
    assert (measured["kvTokens"], measured["startedAt"]) == (20_000, SECOND)


async def test_at_zero_the_last_measurement_stays_for_the_next_plan(loop: Loop) -> None:
    await served(loop)
    measured = status(loop)["measured"]
    loop.delete(POD, name=NAME)
    await reconciled(loop)
    assert status(loop)["measured"] == measured


async def test_a_pod_of_another_plan_is_measured_but_not_compared(loop: Loop) -> None:
    await served(loop, tokens=None)
    another = {"metadata": {"annotations": {PLAN_ANNOTATION: "0" * 16}}}
    loop.api.change(POD, another, name=NAME)
    loop.infos[ADDRESS] = info(5)
    loop.measuring.forget(next(iter(loop.memories._memories)))
    await reconciled(loop)
    measured = status(loop)["measured"]
    assert measured["kvTokens"] == 5
    assert "planErrorPercent" not in measured
    assert measured["key"].startswith("0" * 16)


async def test_a_pod_that_reports_nothing_leaves_the_status_without(loop: Loop) -> None:
    await served(loop, tokens=None)
    assert "measured" not in status(loop)
    assert status(loop)["state"] == "Serving"


def plan_error(loop: Loop) -> float | None:
    loop.catch_up()
    figures = loop.reader.figures(KEY)
    assert figures
    return figures.plan_error


async def test_a_plan_that_was_off_by_more_than_five_percent_is_in_the_metric_until_it_is_right(loop: Loop) -> None:
    await served(loop)
    assert plan_error(loop) is None
    loop.api.change(LLM_DEPLOYMENT, {"status": {"measured": {"planErrorPercent": -7.5, "planErrorOf": "weights"}}})
    await reconciled(loop)
    assert plan_error(loop) == -0.075
    loop.api.change(LLM_DEPLOYMENT, {"status": {"measured": {"planErrorPercent": -4.5}}})
    await reconciled(loop)
    assert plan_error(loop) is None


# --- the next plan ---------------------------------------------------------------------------------------------------


def on_a_gpu(loop: Loop) -> None:
    """A model that the catalogue knows, on an H100."""
    h100 = {"vendor": "NVIDIA", "resource": {"name": "nvidia.com/gpu"}, "memory": "81559Mi", "usableMemory": "81079Mi"}
    loop.api.put(kube_object(ACCELERATOR_PROFILE, "h100", spec=h100))
    runtime = {"supportedModelFormats": [{"name": "huggingface"}], "containers": [{"name": "kserve-container"}]}
    loop.api.put(kube_object(CLUSTER_SERVING_RUNTIME, "slipway-vllm-cuda", spec=runtime))
    model = {"uri": "hf://meta-llama/Llama-3.1-8B"}
    scaling = {"autoscaler": "None", "minReplicas": 1}
    loop.api.put(llm(model=model, engine={"name": "vllm"}, accelerator={"profiles": ["h100"]}, scaling=scaling))
    loop.api.put(made_by_kserve(1))


def planned_cache(loop: Loop) -> int:
    """The size of the KV cache that the next pod gets."""
    arguments = loop.api.get(INFERENCE_SERVICE)["spec"]["predictor"]["model"]["args"]
    [size] = [each.partition("=")[2] for each in arguments if each.startswith("--kv-cache-bytes=")]
    return int(size)


async def loaded(loop: Loop, *, weights: float) -> None:
    """A pod of the present plan has loaded the model, with so many GiB of weights."""
    await loop.settle()
    annotations = loop.api.get(INFERENCE_SERVICE)["spec"]["predictor"]["annotations"]
    ready = pod(is_ready=True)
    placed = {**ready["spec"], "nodeName": "node-1"}
    loop.api.put({**ready, "metadata": {**ready["metadata"], "annotations": annotations}, "spec": placed})
    loop.api.change(POD, {"status": {"podIP": ADDRESS, "containerStatuses": [running()]}}, name=NAME)
    measured = {"kvTokens": status(loop)["plan"]["kvTokens"], "weights": int(weights * 2**30), "devices": []}
    loop.infos[ADDRESS] = json.dumps({"measured": measured}).encode()
    await reconciled(loop)


async def test_a_plan_that_was_missed_is_reported_once_and_its_pods_stay(
    loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    on_a_gpu(loop)
    await loop.settle()
    before = planned_cache(loop)
    await loaded(loop, weights=16.5)
    measured = status(loop)["measured"]
    assert (measured["planErrorOf"], measured["weights"]) == ("weights", "16.500Gi")
    assert measured["planErrorPercent"] < -5
    [reported] = [each.getMessage() for each in caplog.records if getattr(each, "reason", "") == "PlanMissed"]
    assert "of weights, and pod llama-predictor-1 measured 16.500Gi" in reported
    assert planned_cache(loop) == before
    loop.api.requests.clear()
    await reconciled(loop)
    assert loop.api.requests == []


async def test_the_next_pods_are_planned_by_what_was_measured(loop: Loop) -> None:
    on_a_gpu(loop)
    await loop.settle()
    before = planned_cache(loop)
    await loaded(loop, weights=16.5)
    loop.delete(POD, name=NAME)
    await reconciled(loop)
    assert status(loop)["plan"]["memory"]["weights"] == "16.50Gi"
    assert status(loop)["plan"]["memory"]["evidence"]["weights"] == "measured"
    assert 1.4 * 2**30 < before - planned_cache(loop) < 1.6 * 2**30


async def test_the_error_goes_with_the_pod_that_has_measured_it(loop: Loop) -> None:
    """The status keeps the measurement, for the next plan."""
    await served(loop)
    loop.api.change(LLM_DEPLOYMENT, {"status": {"measured": {"planErrorPercent": -7.5, "planErrorOf": "weights"}}})
    await reconciled(loop)
    loop.delete(POD, name=NAME)
    assert plan_error(loop) is None
    assert status(loop)["measured"]["planErrorPercent"] == -7.5
