"""Which callers get a response on the port for KEDA and for the other replicas."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from slipway.activator.keda import peers, scaler
from slipway.activator.keda._generated import externalscaler_pb2 as pb
from slipway.activator.keda._generated import externalscaler_pb2_grpc as rpc
from slipway.activator.keda._generated import peers_pb2, peers_pb2_grpc
from slipway.activator.keda.caller_check import HOLDS_FOR, AddressCheck, CallerCheck
from slipway.activator.keda.peers import DemandPublisher
from slipway.activator.proxy.access.pod_lookup import UNKNOWN_POD
from slipway.activator.shared.demand import Demand, ModelDemand
from slipway.api.model_key import ModelKey
from slipway.objects.kinds import Object

KEDA, US, STRANGER = "10.0.0.7", "10.0.0.8", "10.0.0.9"
REF = pb.ScaledObjectRef(namespace="chat", name="llama")


def pod(namespace: str, name: str) -> Object:
    return {"metadata": {"namespace": namespace, "name": name, "labels": {"app": "keda-operator"}}}


@dataclass
class Cluster:
    """The API server's view of pods, and whether it responds."""

    pods: dict[str, tuple[Object, ...]] = field(
        default_factory=lambda: {
            KEDA: (pod("keda", "keda-operator-1"),),
            US: (pod("slipway-system", "activator-1"),),
            STRANGER: (pod("evil", "keda-operator-1"),),
        }
    )
    answers: bool = True
    now: float = 0.0
    questions: int = 0
    slices: dict[str, str] = field(default_factory=lambda: {US: "activator-1"})

    async def pods_at(self, address: str) -> tuple[Object, ...] | None:
        self.questions += 1
        return self.pods.get(address, ()) if self.answers else None

    @property
    def callers(self) -> CallerCheck:
        return CallerCheck(
            self,
            namespace="slipway-system",
            keda_namespace="keda",
            replicas=lambda: self.slices,
            clock=lambda: self.now,
        )


# --- identification --------------------------------------------------------------------------------------------------


async def test_keda_is_any_pod_in_its_namespace_whatever_others_call_themselves() -> None:
    callers = Cluster().callers
    assert await callers.is_keda(KEDA) is True
    assert await callers.is_keda(STRANGER) is False
    assert await callers.is_keda(US) is False
    assert await callers.is_keda("10.0.0.99") is False
    assert await callers.is_keda("") is False


async def test_keda_stays_identified_while_the_api_server_is_away_and_no_other_caller_passes_as_keda() -> None:
    cluster = Cluster()
    callers = cluster.callers
    await callers.is_keda(KEDA)
    cluster.answers, cluster.now = False, 10 * HOLDS_FOR
    assert await callers.is_keda(KEDA) is True
    assert await callers.is_keda(STRANGER) is None


async def test_an_address_that_another_pod_has_now_is_not_kedas() -> None:
    cluster = Cluster()
    callers = cluster.callers
    await callers.is_keda(KEDA)
    cluster.pods[KEDA], cluster.now = cluster.pods[STRANGER], HOLDS_FOR
    assert await callers.is_keda(KEDA) is False
    cluster.answers = False
    assert await callers.is_keda(KEDA) is None


async def test_an_address_whose_pod_is_too_large_to_be_read_identifies_no_caller() -> None:
    cluster = Cluster()
    callers = cluster.callers
    assert await callers.is_keda(KEDA) is True
    cluster.pods[KEDA] = cluster.pods[US] = (UNKNOWN_POD,)
    cluster.now = HOLDS_FOR
    assert await callers.is_keda(KEDA) is False
    assert await callers.is_replica(US) is False


async def test_many_calls_of_keda_cause_few_requests_to_the_api_server() -> None:
    cluster = Cluster()
    callers = cluster.callers
    for _ in range(100):
        await callers.is_keda(KEDA)
    assert cluster.questions == 1


async def test_a_replica_is_the_pod_that_our_own_service_lists_at_that_address() -> None:
    cluster = Cluster()
    callers = cluster.callers
    assert await callers.is_replica(US) is True
    assert await callers.is_replica(STRANGER) is False
    assert await callers.is_replica(KEDA) is False
    for other in (cluster.pods[STRANGER], (pod("slipway-system", "activator-2"),), (pod("evil", "activator-1"),), ()):
        cluster.pods[US] = other  # the slice is updated late
        assert await callers.is_replica(US) is False


async def test_while_the_api_server_is_away_the_slices_are_trusted() -> None:
    cluster = Cluster(answers=False)
    assert await cluster.callers.is_replica(US) is True
    assert await cluster.callers.is_replica(STRANGER) is False


# --- responses -------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def server_with(keda: bool | None = False, replica: bool | None = False) -> AsyncIterator[grpc.aio.Channel]:
    """The caller is taken to be this one."""
    demand = Demand()
    demand.report(ModelKey("chat", "llama"), ModelDemand(active=False, waiting=0, target_per_replica=8))
    address_checks = {scaler.SERVICE: always(keda), peers.SERVICE: always(replica)}
    publisher = DemandPublisher(demand, "one_1")
    async with (
        scaler.serve(demand, "127.0.0.1", 0, add_services=publisher.add_to, checks=address_checks) as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        yield channel
        publisher.end_streams()


def always(answer: bool | None) -> AddressCheck:
    async def check(address: str) -> bool | None:
        assert address == "127.0.0.1"
        return answer

    return check


async def outcome(channel: grpc.aio.Channel, method: str) -> object:
    """The response of a method, or the error's code."""
    try:
        return await answer(channel, method)
    except grpc.aio.AioRpcError as error:
        return error.code()


async def answer(channel: grpc.aio.Channel, method: str) -> object:
    keda, replicas = rpc.ExternalScalerStub(channel), peers_pb2_grpc.PeersStub(channel)
    answers: dict[str, Callable[[], Awaitable[Any]]] = {
        "IsActive": lambda: keda.IsActive(REF),
        "GetMetrics": lambda: keda.GetMetrics(pb.GetMetricsRequest(scaledObjectRef=REF)),
        "GetMetricSpec": lambda: keda.GetMetricSpec(REF),
        "StreamIsActive": lambda: anext(aiter(keda.StreamIsActive(REF))),
        "StreamMetricSpec": lambda: anext(aiter(keda.StreamMetricSpec(REF))),
        "Follow": lambda: anext(aiter(replicas.Follow(peers_pb2.Follower()))),
    }
    return type(await answers[method]())


OF_KEDA = {
    "IsActive": pb.IsActiveResponse,
    "GetMetrics": pb.GetMetricsResponse,
    "GetMetricSpec": pb.GetMetricSpecResponse,
    "StreamIsActive": pb.IsActiveResponse,
    "StreamMetricSpec": pb.GetMetricSpecResponse,
}
DENIED, UNAVAILABLE = grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAVAILABLE


async def test_a_stranger_gets_an_error_and_never_that_nothing_is_wanted() -> None:
    async with server_with() as channel:
        assert [await outcome(channel, method) for method in (*OF_KEDA, "Follow")] == [DENIED] * 6


async def test_a_caller_that_cannot_be_identified_has_to_retry() -> None:
    async with server_with(None, None) as channel:
        assert [await outcome(channel, method) for method in (*OF_KEDA, "Follow")] == [UNAVAILABLE] * 6


async def test_keda_gets_a_response_but_not_the_counts_of_the_replicas() -> None:
    async with server_with(keda=True) as channel:
        assert {method: await outcome(channel, method) for method in OF_KEDA} == OF_KEDA
        assert await outcome(channel, "Follow") == DENIED


async def test_a_replica_gets_the_response_for_replicas() -> None:
    async with server_with(replica=True) as channel:
        assert await outcome(channel, "Follow") == peers_pb2.Counts
        assert await outcome(channel, "IsActive") == DENIED


async def test_an_unknown_deployment_is_refused_to_every_caller() -> None:
    async with server_with(True, True) as channel:
        method: Any = channel.unary_unary("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await method(b"")
        assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED


async def test_strangers_that_open_many_streams_leave_nothing_open() -> None:
    async with server_with() as channel:
        keda = rpc.ExternalScalerStub(channel)
        streams = [keda.StreamIsActive(pb.ScaledObjectRef(namespace="x", name=str(number))) for number in range(200)]
        codes = await asyncio.gather(*(stream.code() for stream in streams))
        assert set(codes) <= {DENIED, UNAVAILABLE}  # the last ones are cut off without a response
