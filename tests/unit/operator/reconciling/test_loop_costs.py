"""Costs in the real loop: counted from pods, written rarely, kept over a restart; and what a budget does."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from slipway.objects.kinds import (
    ACCELERATOR_PROFILE,
    CLUSTER_SERVING_RUNTIME,
    EVENT,
    INFERENCE_SERVICE,
    LLM_DEPLOYMENT,
    NODE,
    POD,
    SCALED_OBJECT,
    Object,
)
from slipway.operator.reconciling.cost_metrics import samples_of
from support.builders.stored import activator, kube_object, llm, made_by_kserve, pod
from support.fakes.api_server import KEY
from support.programs.operator_loop import NOW, Loop, condition, state_and_reason, status

NAME = "llama-predictor-1"
PRICE = 6.0
KEDA: Object = {"minReplicas": 1, "maxReplicas": 2}
DAY_ENDS = datetime(2026, 11, 22, tzinfo=UTC)


def cpu(price: float | None, **more: Any) -> Object:
    prices = {} if price is None else {"costPerHour": price}
    spec = {"vendor": "CPU", "resource": {"name": "cpu", "count": 1}, "memory": "16Gi", **prices, **more}
    return kube_object(ACCELERATOR_PROFILE, "cpu", spec=spec)


def bound(name: str = NAME, since: datetime = NOW) -> Object:
    scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": f"{since:%Y-%m-%dT%H:%M:%SZ}"}
    found = pod(is_ready=True)
    metadata = {**found["metadata"], "name": name, "uid": name, "creationTimestamp": "2026-11-21T09:58:00Z"}
    conditions = [*found["status"]["conditions"], scheduled]
    return {
        **found,
        "metadata": metadata,
        "spec": {**found["spec"], "nodeName": "node"},
        "status": {"conditions": conditions},
    }


async def running(
    loop: Loop,
    *,
    price: float | None = PRICE,
    budget: Object | None = None,
    engine: Object | None = None,
    **scaling: Any,
) -> None:
    """A replica is bound just now."""
    loop.api.put(cpu(price))
    spec = {name: value for name, value in (("budget", budget), ("engine", engine)) if value}
    loop.api.put(llm(scaling=scaling or {"autoscaler": "None", "minReplicas": 1}, **spec))
    loop.api.change(
        LLM_DEPLOYMENT, {"metadata": {"creationTimestamp": f"{NOW - timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"}}
    )
    await loop.settle()
    service = loop.api.get(INFERENCE_SERVICE)
    loop.api.put(made_by_kserve(1, owner=service))
    loop.api.put(bound())
    await loop.settle()


async def after(loop: Loop, **elapsed: float) -> float | None:
    """Returns the seconds until the next reconcile."""
    loop.time += timedelta(**elapsed)
    wait = await loop.reconcile()
    loop.pass_time(100.0)
    return wait


def cost(loop: Loop) -> Object:
    found: Object = status(loop)["cost"]
    return found


def sums(loop: Loop) -> dict[str, float]:
    """The counters as they are exposed now."""
    costs = loop.memories.costs_of(KEY, loop.time)
    assert costs
    return {sample.metric.name: float(sample.value) for sample in samples_of(KEY, costs)}  # type: ignore[arg-type]


# --- counting and writing ---------------------------------------------------------------------------------------------


async def test_the_status_says_what_a_replica_costs_as_soon_as_it_has_a_node(loop: Loop) -> None:
    await running(loop)
    assert (cost(loop)["perHour"], cost(loop)["devices"], cost(loop)["today"]["spent"]) == (PRICE, 1, 0)
    assert [each["uid"] for each in cost(loop)["pods"]] == [NAME]


async def test_a_steady_state_writes_once_an_hour(loop: Loop) -> None:
    await running(loop)
    loop.api.requests.clear()
    for _ in range(11):
        assert await after(loop, minutes=5) is not None
    assert loop.api.requests == []
    await after(loop, minutes=5)
    assert cost(loop)["today"]["spent"] == PRICE
    assert len(loop.api.requests) == 1


async def test_metrics_are_exact_in_between(loop: Loop) -> None:
    await running(loop)
    loop.time += timedelta(minutes=30)
    found = sums(loop)
    assert (found["slipway_cost_total"], found["slipway_device_seconds_total"]) == (PRICE / 2, 1800)
    assert found["slipway_cost_per_hour"] == PRICE


async def test_a_model_that_sleeps_writes_nothing_and_saves_its_price(loop: Loop) -> None:
    await running(loop, minReplicas=0)
    await after(loop, hours=1)
    loop.delete(POD, name=NAME)
    loop.api.put(made_by_kserve(0, owner=loop.api.get(INFERENCE_SERVICE)))
    await loop.settle()
    assert (cost(loop)["perHour"], cost(loop)["devices"]) == (0, 0)
    loop.api.requests.clear()
    for _ in range(30):
        await after(loop, hours=1)
    assert loop.api.requests == []
    assert sums(loop)["slipway_cost_total"] == PRICE
    assert sums(loop)["slipway_saved_cost_total"] == 30 * PRICE
    assert sums(loop)["slipway_asleep_device_seconds_total"] == 30 * 3600


async def test_a_new_leader_goes_on_from_the_status(loop: Loop) -> None:
    await running(loop)
    await after(loop, minutes=90)
    loop.take_over()
    await after(loop, minutes=30)
    assert sums(loop)["slipway_cost_total"] == pytest.approx(2 * PRICE)


async def test_the_sum_is_right_although_the_status_was_never_written(loop: Loop) -> None:
    await running(loop)
    loop.api.change(LLM_DEPLOYMENT, {"status": {"cost": None}})
    loop.take_over()
    await after(loop, minutes=30)
    assert sums(loop)["slipway_cost_total"] == pytest.approx(PRICE / 2)


async def test_what_was_exposed_never_becomes_less(loop: Loop) -> None:
    """A smaller counter would be a reset for Prometheus, and all of it counted again."""
    await running(loop)
    loop.time += timedelta(minutes=30)
    before = sums(loop)
    ended = f"{NOW + timedelta(minutes=20):%Y-%m-%dT%H:%M:%SZ}"
    state = {"name": "kserve-container", "state": {"terminated": {"finishedAt": ended, "exitCode": 1}}}
    loop.api.change(POD, {"status": {"phase": "Failed", "containerStatuses": [state]}}, name=NAME)
    await after(loop, minutes=1)
    assert sums(loop)["slipway_cost_total"] >= before["slipway_cost_total"]


async def test_a_spot_node_has_its_own_price(loop: Loop) -> None:
    await running(loop)
    loop.api.put(kube_object(NODE, "node", metadata={"labels": {"karpenter.sh/capacity-type": "spot"}}))
    loop.api.put(cpu(PRICE, spot={"costPerHour": 2.0}))
    await after(loop, minutes=60)
    assert cost(loop)["perHour"] == 2.0
    await after(loop, minutes=60)
    assert cost(loop)["today"]["spent"] == PRICE + 2.0


async def test_a_profile_that_is_deleted_leaves_its_last_price(loop: Loop) -> None:
    await running(loop)
    loop.delete(ACCELERATOR_PROFILE, namespace="", name="cpu")
    await after(loop, minutes=60)
    assert sums(loop)["slipway_cost_total"] == PRICE
    assert sums(loop)["slipway_cost_per_hour"] == PRICE


async def test_without_a_price_the_cost_is_absent_and_the_status_says_why(loop: Loop) -> None:
    await running(loop, price=None, budget={"perDay": 1.0})
    await after(loop, minutes=60)
    assert "perHour" not in cost(loop)
    assert cost(loop)["today"]["unpricedDeviceHours"] == 1
    assert "AcceleratorProfile cpu has no price: set its costPerHour" in cost(loop)["message"]
    found = condition(loop, "WithinBudget")
    assert (found["status"], found["reason"]) == ("Unknown", "PriceUnknown")


async def read(loop: Loop, info: bytes) -> None:
    """The replica's runtime reports this."""
    started = {"name": "kserve-container", "ready": True, "state": {"running": {"startedAt": "2026-11-21T09:59:00Z"}}}
    loop.api.change(POD, {"status": {"podIP": "10.0.0.7", "containerStatuses": [started]}}, name=NAME)
    await loop.settle()
    loop.infos["10.0.0.7"] = info
    loop.time += timedelta(hours=1)
    loop.pass_time(60)
    loop.usage.read_due()
    await asyncio.gather(*(task for task in asyncio.all_tasks() if task.get_name().startswith("usage")))
    await loop.reconcile()


async def test_what_a_pod_has_done_divides_its_cost_into_used_and_idle(loop: Loop) -> None:
    await running(loop)
    await read(loop, b'{"usage": {"busySeconds": 900, "promptTokens": 10, "outputTokens": 500000}}')
    today = cost(loop)["today"]
    assert (today["spent"], today["used"], today["busyDeviceHours"]) == (PRICE, PRICE / 4, 0.25)
    assert (cost(loop)["perMillionTokens"], cost(loop)["perMillionTokensUsed"]) == (2 * PRICE, PRICE / 2)
    assert {"slipway_busy_device_seconds_total", "slipway_used_cost_total"} <= sums(loop).keys()


RUNTIME: Object = {
    "supportedModelFormats": [{"name": "huggingface"}],
    "containers": [{"name": "kserve-container"}],
}
OLDER = b'{"state": "Ready"}'


async def test_a_pod_that_reports_no_use_isnt_taken_for_idle_and_the_status_says_so(loop: Loop) -> None:
    await running(loop)
    await read(loop, OLDER)
    assert cost(loop)["message"] == (
        f"How much of this is used isn't counted, because pod {NAME} doesn't report it. The image in the chart's "
        "values, runtimes.NAME.image, isn't that of this version of Slipway: set the one that is."
    )
    assert not {"slipway_busy_device_seconds_total", "slipway_used_cost_total"} & sums(loop).keys()
    assert sums(loop)["slipway_cost_total"] == PRICE


async def test_a_new_leader_knows_it_before_it_has_read_the_pod(loop: Loop) -> None:
    await running(loop)
    await read(loop, OLDER)
    loop.take_over()
    await after(loop, minutes=1)
    assert "slipway_used_cost_total" not in sums(loop)


async def test_once_another_pod_reports_its_use_it_is_counted_again(loop: Loop) -> None:
    await running(loop)
    await read(loop, OLDER)
    loop.delete(POD, name=NAME)
    loop.api.put(bound("llama-predictor-2", loop.time))
    await loop.settle()
    assert "message" not in cost(loop)
    assert "slipway_used_cost_total" in sums(loop)


async def test_an_engine_of_other_makers_reports_no_use(loop: Loop) -> None:
    loop.api.put(kube_object(CLUSTER_SERVING_RUNTIME, "mine", spec=RUNTIME))
    await running(loop, engine={"name": "mine"})
    assert cost(loop)["message"].endswith(
        "How much of this is used isn't counted, because the runtime in engine.name doesn't report it."
    )
    assert "slipway_used_cost_total" not in sums(loop)


# --- budgets ----------------------------------------------------------------------------------------------------------


async def test_a_budget_is_reported_at_80_and_at_100_percent_when_it_happens(loop: Loop) -> None:
    await running(loop, budget={"perDay": 6.0})
    assert condition(loop, "WithinBudget")["status"] == "True"
    wait = await after(loop, minutes=0)
    assert wait == pytest.approx(0.8 * 3600 + 1, abs=0.01)
    await after(loop, seconds=wait or 0)
    assert condition(loop, "WithinBudget")["reason"] == "BudgetNearlySpent"
    wait = await after(loop, minutes=0)
    await after(loop, seconds=wait or 0)
    found = condition(loop, "WithinBudget")
    assert (found["status"], found["reason"]) == ("False", "BudgetSpent")
    assert "The budget of 6 per day is spent, until 2026-11-22 00:00 UTC." in found["message"]
    reasons = [each.body["reason"] for each in loop.api.requests if each.kind == EVENT and each.body]
    assert [each for each in reasons if each.startswith("Budget")] == ["BudgetNearlySpent", "BudgetSpent"]
    assert state_and_reason(loop) == ("Serving", "Serving")


async def test_a_new_day_resets_it(loop: Loop) -> None:
    await running(loop, budget={"perDay": 6.0})
    await after(loop, hours=2)
    assert status(loop)["budget"]["state"] == "Spent"
    wait = await after(loop, minutes=0)
    assert wait is not None
    assert loop.time + timedelta(seconds=wait) <= DAY_ENDS
    loop.time = DAY_ENDS
    await loop.reconcile()
    assert status(loop)["budget"] == {
        "state": "Within", "day": {"limit": 6.0, "spent": 0.0, "resetsAt": "2026-11-23T00:00:00Z"},
    }  # fmt: skip
    assert condition(loop, "WithinBudget")["status"] == "True"


async def test_without_a_budget_there_is_no_condition_and_removing_it_removes_all_of_it(loop: Loop) -> None:
    await running(loop, budget={"perDay": 6.0})
    await after(loop, hours=2)
    loop.api.change(LLM_DEPLOYMENT, {"spec": {"budget": None}})
    await after(loop, seconds=1)
    assert "budget" not in status(loop)
    assert "WithinBudget" not in {each["type"] for each in status(loop)["conditions"]}


def kept(loop: Loop) -> int:
    found: int = loop.api.get(SCALED_OBJECT)["spec"]["minReplicaCount"]
    return found


@pytest.fixture
def with_activator(loop: Loop) -> Loop:
    loop.api.put(activator("10.0.0.8"))
    return loop


@pytest.mark.parametrize(("then", "replicas"), [("Alert", 1), ("Sleep", 0), ("Refuse", 0)])
async def test_no_replica_is_kept_once_the_budget_is_spent_if_the_spec_says_so(
    with_activator: Loop, then: str, replicas: int
) -> None:
    loop = with_activator
    await running(loop, budget={"perDay": 6.0, "then": then}, **KEDA)
    assert kept(loop) == 1
    await after(loop, hours=2)
    await loop.settle()
    assert kept(loop) == replicas
    loop.api.change(LLM_DEPLOYMENT, {"spec": {"budget": {"perDay": 60.0}}})
    await after(loop, seconds=1)
    assert kept(loop) == 1
    assert status(loop)["budget"]["state"] == "Within"


async def test_at_zero_a_budget_that_refuses_is_said_in_the_state(with_activator: Loop) -> None:
    loop = with_activator
    await running(loop, budget={"perDay": 6.0, "then": "Refuse"}, **KEDA)
    await after(loop, hours=2)
    loop.delete(POD, name=NAME)
    loop.api.put(made_by_kserve(0, owner=loop.api.get(INFERENCE_SERVICE)))
    await loop.settle()
    assert state_and_reason(loop) == ("Idle", "BudgetSpent")
    assert status(loop)["message"] == (
        "The budget of 6 per day is spent, until 2026-11-22 00:00 UTC. "
        "Until then the model sleeps, and requests get 429."
    )
    loop.time = DAY_ENDS
    await loop.settle()
    assert state_and_reason(loop) == ("Idle", "ScaledToZero")
