"""A tenant may write any status, and label any pod as a model's: neither makes series or label values at will."""

from __future__ import annotations

import random
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from slipway.activator.proxy.counters import CloseReason
from slipway.api.model_key import ModelKey
from slipway.api.reasons import ConditionType, Reason, State
from slipway.kube.store import Store
from slipway.objects.kinds import LLM_DEPLOYMENT, Object
from slipway.observing.figures import LONGEST_LABEL, PHASES, figures_of
from slipway.operator.reconciling.model_counts import ModelCounts
from slipway.operator.reconciling.model_metrics import MODEL_METRICS, Seen, samples_of
from slipway.process.exposition import ObjectMetrics
from support.builders.stored import kube_object, llm, made_by_kserve, pod
from support.fakes.api_server import KEY
from support.programs.operator_loop import Loop

WORDS = {
    "state": set(map(str, State)),
    "reason": set(map(str, Reason)),
    "type": set(map(str, ConditionType)),
    "phase": {*PHASES, "total"},
    "kind": {"wanted", "ready", "warming", "min", "max"},
    "result": {"ready", "failed"},
}
FREE = ("engine", "accelerator", "model")  # of one series, which is always there
MOST_SERIES = 4 + len(ConditionType) + 5 + 5 + len(PHASES) + 2
ANYTHING: list[Any] = [
    "x" * 100_000,
    'x"} 1\nslipway_leader{y="',
    "é\u0000\\",
    "",
    -1,
    2**63 - 1,
    1e308,
    True,
    "Ready",
    "True",
    "False",
    "9999999h",
    "1s",
]


def hostile_status(seed: int) -> Object:
    """What the schema of the CRD would accept, and more."""
    some = random.Random(seed)

    def value() -> Any:
        return some.choice(ANYTHING)

    kinds = [*ConditionType, *(f"Evil{each}" for each in range(100))]
    names = [*PHASES, "pod", "compiled", *(f"evil{each}" for each in range(100))]
    return {
        "state": value(),
        "conditions": [{"type": each, "status": some.choice(["True", "False"]), "reason": value()} for each in kinds],
        "replicas": {"desired": value(), "ready": value(), "warmingUp": value()},
        "plan": {
            "accelerator": value(),
            "gpusPerReplica": value(),
            "maxConcurrency": value(),
            "expected": {"tokensPerSecond": value()},
        },
        "measured": {"planErrorPercent": value()},
        "lastColdStart": {each: value() for each in names if some.random() < 0.3},
    }


def exposed(deployment: Object, counts: ModelCounts | None = None) -> list[Sample]:
    store = Store([LLM_DEPLOYMENT])
    store.keep_briefs(LLM_DEPLOYMENT, figures_of)
    store.take(LLM_DEPLOYMENT, "ADDED", deployment, now=0)
    figures = store.brief(LLM_DEPLOYMENT, KEY[1], KEY[0])  # None if it could not be read: it has no series then
    seen = [Seen(ModelKey(*KEY), figures, counts or ModelCounts())] if figures else []
    page = b"".join(ObjectMetrics(MODEL_METRICS, lambda: seen, samples_of).in_steps()).decode()
    return [each for family in text_string_to_metric_families(page) for each in family.samples]


@pytest.mark.parametrize("seed", range(200))
def test_no_status_makes_more_series_or_other_words_than_there_are(seed: int) -> None:
    stored = {**llm(), "status": hostile_status(seed)}
    samples = exposed({**stored, "metadata": {**stored["metadata"], "uid": "1", "resourceVersion": "1"}})
    assert 0 < len(samples) <= MOST_SERIES
    for sample in samples:
        assert (sample.labels["namespace"], sample.labels["llmdeployment"]) == KEY
        for name, value in sample.labels.items():
            assert value in WORDS.get(name, {value})
            assert len(value) <= LONGEST_LABEL
        assert set(sample.labels) <= {"namespace", "llmdeployment", *WORDS, *FREE}


async def test_forged_pods_are_counted_by_known_causes_alone() -> None:
    loop, pods = Loop(), 100
    loop.api.put(llm())
    await loop.settle()
    loop.api.put(made_by_kserve(1))
    for number in range(pods):
        end = {"exitCode": 1, "reason": f"Evil{number}", "containerID": str(number), "message": f"Evil{number}: " * 100}
        forged = pod(is_ready=False)
        forged["metadata"] |= {"name": f"forged-{number}", "uid": f"forged-{number}"}
        statuses = [{"name": "kserve-container", "restartCount": 10**9, "state": {"terminated": end}}]
        status = {**forged["status"], "reason": f"Evil{number}", "containerStatuses": statuses}
        loop.api.put({**forged, "status": status})
    await loop.settle()
    counts = loop.memories.counts_of(ModelKey(*KEY))
    reasons = {each.labels["reason"] for each in exposed(stored_llm(loop), counts) if "pod_failure" in each.name}
    assert reasons
    assert reasons <= WORDS["reason"]
    assert counts.failures.total() == pods


def stored_llm(loop: Loop) -> Object:
    return loop.api.get(LLM_DEPLOYMENT)


def test_a_namespace_full_of_deleted_llm_deployments_leaves_no_series() -> None:
    store = Store([LLM_DEPLOYMENT])
    store.keep_briefs(LLM_DEPLOYMENT, figures_of)
    for number in range(1000):
        made = kube_object(LLM_DEPLOYMENT, f"churn-{number}", spec={"model": {"uri": "pvc://m/"}})
        there = {**made, "metadata": {**made["metadata"], "uid": str(number), "resourceVersion": str(number + 1)}}
        store.take(LLM_DEPLOYMENT, "ADDED", there, now=0)
        store.take(LLM_DEPLOYMENT, "DELETED", there, now=0)
    assert list(store.places(LLM_DEPLOYMENT)) == []


def test_reasons_of_closed_connections_are_none_of_the_reasons_of_requests() -> None:
    assert not {str(each) for each in CloseReason} & WORDS["reason"]
