"""Starts and failures are counted once each, however often they are observed, and by one leader alone."""

from __future__ import annotations

from slipway.api.reasons import Reason
from slipway.objects.kinds import LLM_DEPLOYMENT, POD, Object
from slipway.observing.failures import Failure
from slipway.observing.wakes import WakeResult
from slipway.operator.reconciling.model_counts import MOST_FAILURES, ModelCounts
from support.builders.stored import llm, made_by_kserve, pod
from support.fakes.api_server import KEY
from support.programs.operator_loop import NOW, Loop, status

POD_NAME = "llama-predictor-1"
OUT_OF_MEMORY = "torch.OutOfMemoryError: CUDA out of memory."


def ended(which: str, *, restarts: int = 0) -> Object:
    end = {"exitCode": 1, "containerID": which, "finishedAt": "2026-11-21T09:59:30Z", "message": OUT_OF_MEMORY}
    return {"name": "kserve-container", "restartCount": restarts, "ready": False, "state": {"terminated": end}}


async def with_pod(loop: Loop, *, is_ready: bool = False) -> None:
    loop.api.put(llm(scaling={"autoscaler": "None", "minReplicas": 1}))
    await loop.settle()
    loop.api.put(made_by_kserve(1))
    loop.api.put(pod(is_ready=is_ready))
    await loop.settle()


async def failed(loop: Loop, which: str = "c1") -> None:
    loop.api.change(POD, {"status": {"containerStatuses": [ended(which)]}}, name=POD_NAME)
    await loop.settle()


def counts(loop: Loop) -> ModelCounts:
    return loop.memories.counts_of(KEY)


async def test_a_failure_is_counted_once_though_it_is_seen_again_and_again(loop: Loop) -> None:
    await with_pod(loop)
    await failed(loop)
    for _ in range(100):
        await loop.reconcile()
    assert counts(loop).failures == {Reason.GPU_OUT_OF_MEMORY: 1}
    assert counts(loop).failed_at == {Reason.GPU_OUT_OF_MEMORY: NOW.timestamp() - 30}


async def test_the_next_failure_of_the_same_container_is_another_one(loop: Loop) -> None:
    await with_pod(loop)
    await failed(loop, "c1")
    await failed(loop, "c2")
    assert counts(loop).failures == {Reason.GPU_OUT_OF_MEMORY: 2}


async def test_a_new_leader_counts_no_failure_again_and_knows_when_the_last_one_was(loop: Loop) -> None:
    await with_pod(loop)
    await failed(loop)
    loop.take_over()
    await loop.settle()
    assert not counts(loop).failures
    assert counts(loop).failed_at == {Reason.GPU_OUT_OF_MEMORY: NOW.timestamp() - 30}
    await failed(loop, "c2")
    assert counts(loop).failures == {Reason.GPU_OUT_OF_MEMORY: 1}


async def test_a_start_is_counted_by_the_leader_that_writes_it_into_the_status(loop: Loop) -> None:
    await with_pod(loop, is_ready=True)
    assert counts(loop).wakes == {WakeResult.READY: 1}
    loop.take_over()
    await loop.settle()
    assert not counts(loop).wakes


async def test_a_start_that_fails_is_counted_once(loop: Loop) -> None:
    await with_pod(loop)
    await failed(loop)
    await failed(loop, "c2")
    assert status(loop)["state"] == "Failed"
    assert counts(loop).wakes == {WakeResult.FAILED: 1}
    assert counts(loop).woken_at == {WakeResult.FAILED: NOW.timestamp()}


async def test_a_start_is_counted_once_though_the_answer_to_its_status_was_lost(loop: Loop) -> None:
    loop.api.put(llm(scaling={"autoscaler": "None", "minReplicas": 1}))
    await loop.settle()
    loop.api.put(made_by_kserve(1))
    loop.api.put(pod(is_ready=True))
    loop.api.unanswered = {"apply-status LLMDeployment"}
    await loop.failing_reconcile()
    loop.api.unanswered.clear()
    await loop.settle()
    assert counts(loop).wakes == {WakeResult.READY: 1}


def test_starts_that_fail_in_a_row_are_counted_from_the_last_one_that_succeeded() -> None:
    counts, good, bad = ModelCounts(), WakeResult.READY, WakeResult.FAILED
    seen = []
    for each in (bad, good, bad, bad, good):
        counts.woken([each], NOW)
        seen.append(counts.failed_in_a_row)
    assert seen == [1, 0, 1, 2, 0]
    counts.woken([], NOW)
    assert counts.failed_in_a_row == 0


async def test_what_was_counted_ends_with_the_object(loop: Loop) -> None:
    await with_pod(loop)
    await failed(loop)
    loop.delete(LLM_DEPLOYMENT)
    await loop.reconcile()
    assert not counts(loop).failures
    assert loop.reader.figures(KEY) is None


def test_the_memory_of_failures_is_bounded_however_many_pods_a_tenant_labels() -> None:
    counts, pods = ModelCounts(), [str(each) for each in range(10 * MOST_FAILURES)]
    for these in (pods, pods, list(reversed(pods))):
        failures = (Failure(each, "", "end", Reason.EVICTED, None) for each in these)
        counts.see(failures, pods=set(pods), now=NOW)
        assert len(counts._ends or {}) == MOST_FAILURES
    assert not counts.failures
