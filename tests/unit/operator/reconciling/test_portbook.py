"""Writing the port table: once for many requests, never from outdated data, and repaired from the live deployments."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from slipway.api.model_key import ModelKey
from slipway.api.names import activator_slice_name
from slipway.kube.connection import ApiResponse
from slipway.kube.work_queue import RetryLaterError
from slipway.objects.kinds import CONFIG_MAP, ENDPOINT_SLICE, LLM_DEPLOYMENT, Object
from slipway.observing.porttable import ActivatorPort, Claim, claim_of, map_name
from slipway.operator.reconciling.port_allocation import ExhaustedError
from support.builders.stored import kube_object
from support.fakes.api_server import FakeApiServer
from support.programs.operator_loop import INSTALLATION, Loop

AT = INSTALLATION.activators[:1]
NAME = map_name(AT[0], 0)


class SlowApi(FakeApiServer):
    """Sends each request only after all other tasks have run."""

    async def send(
        self, method: str, path: str, *, headers: Mapping[str, str], timeout: float, **more: Any
    ) -> ApiResponse:
        for _ in range(3):
            await asyncio.sleep(0)
        return await super().send(method, path, headers=headers, timeout=timeout, **more)


def created(loop: Loop, name: str = "llama", *, namespace: str = "chat") -> Claim:
    return claim_of(loop.api.put(kube_object(LLM_DEPLOYMENT, name, namespace, spec={})))


def table(loop: Loop) -> Object:
    found: Object = loop.api.get(CONFIG_MAP, namespace=INSTALLATION.namespace, name=NAME)["data"]
    return found


def write_table(loop: Loop, data: Mapping[str, Any] | None) -> None:
    """Writes the table as an administrator could."""
    loop.api.remove(CONFIG_MAP, namespace=INSTALLATION.namespace, name=NAME)
    if data is not None:
        labels = {"slipway.dev/port-table": AT[0]}
        loop.api.put(
            kube_object(CONFIG_MAP, NAME, INSTALLATION.namespace, metadata={"labels": labels}, data=dict(data))
        )


async def given_port(loop: Loop, claim: Claim) -> ActivatorPort:
    loop.catch_up()
    return await loop.ports.give(claim, at=AT)


def concerned(loop: Loop) -> set[ModelKey]:
    """Returns the keys concerned by all changes of the table since the caches last saw it."""
    before = loop.store.get(CONFIG_MAP, NAME, INSTALLATION.namespace)
    loop._catch_up()
    there = loop.store.get(CONFIG_MAP, NAME, INSTALLATION.namespace) or before
    return set(loop.ports.concerns(there)) if there else set()


# --- writing ---------------------------------------------------------------------------------------------------------


async def test_a_port_is_in_the_table_before_it_is_returned() -> None:
    loop = Loop()
    claim = created(loop)
    assert loop.ports.port_of(claim) is None
    place = await given_port(loop, claim)
    assert table(loop) == {str(place.port): str(claim)}
    assert loop.ports.port_of(claim) == place


async def test_a_deployment_with_a_port_causes_no_write() -> None:
    loop = Loop()
    claim = created(loop)
    await given_port(loop, claim)
    loop.api.writes()
    await given_port(loop, claim)
    loop.take_over()
    await given_port(loop, claim)
    assert loop.api.writes() == []


async def test_simultaneous_requests_share_writes_and_none_returns_before_its_own() -> None:
    loop = Loop()
    loop.api = loop.ports._client._connection = SlowApi()  # type: ignore[assignment]
    claims = [created(loop, f"m{number}") for number in range(200)]
    loop.catch_up()

    async def give(claim: Claim) -> None:
        place = await loop.ports.give(claim, at=AT)
        assert table(loop)[str(place.port)] == str(claim)

    await asyncio.gather(*map(give, claims))
    assert len(loop.api.writes()) == 2  # the first, and one for all requests that arrived meanwhile


async def test_requests_in_quick_succession_share_writes_too() -> None:
    loop = Loop(pause=0.1)
    claims = [created(loop, f"m{number}") for number in range(20)]
    loop.catch_up()
    giving = []
    for claim in claims:
        giving.append(asyncio.create_task(loop.ports.give(claim, at=AT)))
        await asyncio.sleep(0.001)
    await asyncio.gather(*giving)
    assert len(loop.api.writes()) == 2


async def test_a_single_request_does_not_wait_for_others() -> None:
    loop = Loop(pause=3600.0)
    async with asyncio.timeout(5):
        await given_port(loop, created(loop))


async def test_an_event_that_arrives_before_the_response_of_its_write_causes_no_scan_of_the_slices() -> None:
    loop = Loop()

    class EventBeforeResponse(FakeApiServer):
        async def send(self, method: str, path: str, **more: Any) -> Any:
            answer = await super().send(method, path, **more)
            if method in ("POST", "PUT"):
                concerned(loop)
            return answer

    loop.api = loop.ports._client._connection = EventBeforeResponse()  # type: ignore[assignment]
    scans = 0
    scan = loop.ports._named_in_slices

    def counted() -> dict[int, frozenset[ModelKey]]:
        nonlocal scans
        scans += 1
        return scan()

    loop.ports._named_in_slices = counted  # type: ignore[method-assign]
    for number in range(5):
        await given_port(loop, created(loop, f"m{number}"))
    assert (len(table(loop)), scans) == (5, 1)


async def test_a_write_whose_response_was_lost_leads_to_the_same_port() -> None:
    loop = Loop()
    claim = created(loop)
    loop.api.unanswered = {"create ConfigMap"}
    with pytest.raises(Exception, match="connection reset"):
        await given_port(loop, claim)
    [port] = table(loop)
    loop.api.unanswered.clear()
    assert (await given_port(loop, claim)).port == int(port)


async def test_a_deletion_writes_nothing_and_its_line_serves_no_other_deployment() -> None:
    loop = Loop()
    claim = created(loop)
    place = await given_port(loop, claim)
    loop.delete(LLM_DEPLOYMENT)
    loop.api.writes()
    loop.ports.release(ModelKey("chat", "llama"))
    recreated = created(loop)
    assert loop.api.writes() == []
    assert loop.ports.port_of(recreated) is None
    assert await given_port(loop, recreated) != place


# --- two leaders -----------------------------------------------------------------------------------------------------


async def test_a_former_leader_cannot_write_an_outdated_table() -> None:
    one, other = Loop(), Loop()
    other.api = other.ports._client._connection = one.api  # type: ignore[assignment]
    await given_port(one, created(one, "a"))
    other.catch_up()
    one_more = created(one, "b")
    await given_port(one, one_more)
    late = created(one, "c")
    with pytest.raises(RetryLaterError, match="has changed meanwhile"):
        await other.ports.give(late, at=AT)  # its watch has not reported b
    assert len(table(one)) == 2
    await given_port(other, late)
    assert sorted(line.split()[0] for line in table(one).values()) == ["chat/a", "chat/b", "chat/c"]


async def test_two_leaders_that_write_the_first_line_do_not_overwrite_each_other() -> None:
    one, other = Loop(), Loop()
    other.api = other.ports._client._connection = one.api  # type: ignore[assignment]
    a, b = created(one, "a"), created(one, "b")
    other.catch_up()
    await given_port(one, a)
    with pytest.raises(RetryLaterError):
        await other.ports.give(b, at=AT)
    assert await given_port(other, b) != await given_port(one, a)
    assert set(table(one).values()) == {str(a), str(b)}


async def test_after_a_crash_the_written_table_counts() -> None:
    loop = Loop()
    claim = created(loop)
    place = await given_port(loop, claim)
    successor = Loop()
    successor.api = successor.ports._client._connection = loop.api  # type: ignore[assignment]
    successor.catch_up()
    assert successor.ports.port_of(claim) == place


# --- changes by administrators and backups ---------------------------------------------------------------------------


async def test_a_deleted_table_is_created_again_with_the_same_ports() -> None:
    loop = Loop()
    claims = [created(loop, name) for name in ("a", "b")]
    places = [await given_port(loop, claim) for claim in claims]
    write_table(loop, None)
    assert concerned(loop) == {ModelKey("chat", "a"), ModelKey("chat", "b")}
    assert [loop.ports.port_of(claim) for claim in claims] == [None, None]
    assert [await given_port(loop, claim) for claim in claims] == places
    assert len(table(loop)) == 2


async def test_a_table_that_was_lost_without_a_leader_is_restored_from_the_slices() -> None:
    loop = Loop()
    claim, other = created(loop), created(loop, "other")
    for owner_claim, port in ((claim, 20001), (other, 20000)):
        owner = {"kind": "LLMDeployment", "name": owner_claim.name, "uid": owner_claim.uid, "controller": True}
        labels = {"slipway.dev/llmdeployment": owner_claim.name, "slipway.dev/activator": "slipway-activator"}
        metadata = {"labels": labels, "ownerReferences": [owner]}
        name = activator_slice_name(owner_claim.name)
        loop.api.put(kube_object(ENDPOINT_SLICE, name, metadata=metadata, ports=[{"port": port}], endpoints=[]))
    assert [(await given_port(loop, each)).port for each in (claim, other)] == [20001, 20000]


async def test_a_changed_line_is_corrected() -> None:
    loop = Loop()
    claim, victim = created(loop), created(loop, "victim")
    own, theirs = await given_port(loop, claim), await given_port(loop, victim)
    write_table(loop, {str(own.port): str(claim), str(theirs.port): str(claim)})
    assert concerned(loop) == {ModelKey("chat", "llama"), ModelKey("chat", "victim")}
    assert loop.ports.port_of(claim) is None  # it has two lines: neither counts before they are corrected
    assert await given_port(loop, claim) == own
    places = {await given_port(loop, each) for each in (claim, victim)}
    assert len(places) == 2
    assert {int(port): line for port, line in table(loop).items()} == {
        place.port: str(each) for each in (claim, victim) for place in [loop.ports.port_of(each)] if place
    }


async def test_after_a_restore_with_other_uids_deployments_get_other_ports() -> None:
    loop = Loop()
    place = await given_port(loop, created(loop))
    loop.delete(LLM_DEPLOYMENT)
    loop.ports.start_over()
    assert await given_port(loop, created(loop)) != place


async def test_a_table_that_was_restored_to_an_older_version_counts() -> None:
    loop = Loop()
    a = created(loop, "a")
    place = await given_port(loop, a)
    older = loop.api.get(CONFIG_MAP, namespace=INSTALLATION.namespace, name=NAME)
    b = created(loop, "b")
    await given_port(loop, b)
    loop.catch_up()
    loop.api.objects[CONFIG_MAP, INSTALLATION.namespace, NAME] = older
    loop.store.take(CONFIG_MAP, None, older, now=0, epoch=9)  # the watches have restarted
    assert list(loop.ports.concerns(older)) == [ModelKey("chat", "b")]
    assert loop.ports.port_of(b) is None
    assert loop.ports.port_of(a) == place
    assert await loop.ports.give(b, at=AT) != place
    assert len(table(loop)) == 2


async def test_a_new_write_is_not_undone_by_an_older_event() -> None:
    loop = Loop()
    a = created(loop, "a")
    await given_port(loop, a)
    loop.catch_up()
    b = created(loop, "b")
    place = await loop.ports.give(b, at=AT)
    cached = loop.store.get(CONFIG_MAP, NAME, INSTALLATION.namespace)
    assert cached
    assert list(loop.ports.concerns(cached)) == []
    assert loop.ports.port_of(b) == place


async def test_a_table_in_another_namespace_is_ignored() -> None:
    loop = Loop()
    a = created(loop)
    await given_port(loop, a)
    forged = kube_object(CONFIG_MAP, NAME, "evil", data={"20009": str(a)}, metadata={"resourceVersion": "999"})
    assert list(loop.ports.concerns(forged)) == []


# --- deployments that wait -------------------------------------------------------------------------------------------


async def test_a_deployment_that_waits_for_a_port_of_its_namespace_is_queued_when_one_is_released() -> None:
    loop = Loop(per_namespace=1)
    await given_port(loop, created(loop, "a"))
    for name in ("b", "c"):
        with pytest.raises(ExhaustedError):
            await given_port(loop, created(loop, name))
    await given_port(loop, created(loop, "a", namespace="code"))
    loop.delete(LLM_DEPLOYMENT, namespace="code", name="a")
    loop.ports.release(ModelKey("code", "a"))
    assert loop.requeued == []
    loop.delete(LLM_DEPLOYMENT, name="a")
    loop.ports.release(ModelKey("chat", "a"))
    assert loop.requeued == [(ModelKey("chat", "b"), 0.0)]  # one port was released, so one deployment is queued
