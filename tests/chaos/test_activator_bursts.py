"""Many concurrent requests for a model at zero, fairness among clients, and agreement between two activators."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from slipway_devcluster.cluster import Cluster
from support.builders.llmdeployments import sleeping_model
from support.cluster import FromTheNode, Kube
from support.faults.slipway_pods import PodFaults, own_url
from support.load.sleeping_models import RequestGroup, sleeping_models
from support.waiting import until

pytestmark = pytest.mark.timeout(900, func_only=True)

UNSCHEDULABLE = {"nodeSelector": {"no": "such-node"}}
"""No replica ever appears, and there is no failure to report either."""


@pytest.mark.parametrize("requests", [100, 1000])
async def test_all_requests_of_a_burst_at_zero_get_a_response(
    operator_pods: Cluster, gemma: Kube, requests: int
) -> None:
    """One client may take up to three quarters of the slots, and either activator may get more than its half."""
    model = sleeping_model("gemma", scaling={"hold": {"maxRequests": 2 * requests}})
    async with sleeping_models(operator_pods, gemma, model) as [sleeper]:
        crowd = RequestGroup(sleeper, [sleeper.request(each, tokens=3) for each in range(requests)])
        await crowd.until_ended()
        assert not [*map(str, crowd.lost)]
        assert not [*map(str, await crowd.wrong())]


async def test_one_client_cannot_take_all_slots_and_a_refused_client_gets_retry_after(
    operator_pods: Cluster, gemma: Kube
) -> None:
    """A client is an address. The kernel uses the address by which a node reaches its pods, not the node's own."""
    model = sleeping_model("gemma", scaling={"hold": {"maxRequests": 40}}, pod=UNSCHEDULABLE)
    from_the_node = FromTheNode(gemma, operator_pods.entered)
    [node, *_] = await gemma.select("nodes")
    own_address = next(each["address"] for each in node["status"]["addresses"] if each["type"] == "InternalIP")
    async with (
        sleeping_models(operator_pods, gemma, model) as [sleeper],
        from_the_node.session(source=own_address) as another,
    ):
        [activator, *_] = await PodFaults(operator_pods, gemma).activators()
        url = await own_url(sleeper, activator)
        greedy = RequestGroup(sleeper, [sleeper.request(each, url=url) for each in range(100)])
        await until(lambda: greedy.has_ended(70))
        others = RequestGroup(sleeper, [sleeper.request(each, url=url) for each in range(5)], session=another)
        await until(lambda: sleeper.has_requests(35))
        assert Counter(each.status for each in greedy.requests) == {429: 70, 0: 30}
        assert all(each.retry_after >= 1 for each in greedy.lost)
        assert not others.lost
        await asyncio.gather(greedy.cancel(), others.cancel())


async def test_two_activators_report_one_number_to_keda_and_that_of_a_stopped_one_is_dropped(
    operator_pods: Cluster, gemma: Kube
) -> None:
    breaking = PodFaults(operator_pods, gemma)
    async with sleeping_models(operator_pods, gemma, sleeping_model("gemma", pod=UNSCHEDULABLE)) as [model]:
        killed, other = await breaking.activators()
        groups = [
            RequestGroup(model, [model.request(each, url=await own_url(model, pod)) for each in range(count)])
            for pod, count in ((killed, 7), (other, 5))
        ]
        await until(lambda: model.has_requests(12))
        assert {await model.requests() for _ in range(10)} == {12}, "whichever of them KEDA calls"
        await breaking.crash(killed)
        await until(lambda: model.has_requests(5))
        assert len(groups[0].lost) == 7
        assert not groups[1].lost
        assert (await model.kube.get("deployment", model.predictor))["spec"]["replicas"] == 1
        await asyncio.gather(*(each.cancel() for each in groups))
