"""Hostile connections to the ports for probes, metrics, KEDA and other replicas."""

from __future__ import annotations

import asyncio
import itertools
import socket
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path

import aiohttp
import grpc
import pytest
from slipway.activator.keda import peers, scaler
from slipway.activator.keda._generated import externalscaler_pb2 as pb
from slipway.activator.keda._generated import externalscaler_pb2_grpc as rpc
from slipway.activator.keda._generated import peers_pb2, peers_pb2_grpc
from slipway.activator.keda.peers import DemandPublisher
from slipway.activator.shared.demand import Demand, ModelDemand
from slipway.api.model_key import ModelKey
from slipway.process import guarded_port, management
from slipway.process.guarded_port import MOST
from slipway.process.management import ManagementPort
from slipway.process.metrics import MetricsRegistry

KNOWN_ADDRESS = "127.0.0.1"  # KEDA, another replica, and the kubelet that probes
REF = pb.ScaledObjectRef(namespace="chat", name="llama")
BUSY = ModelDemand(active=True, waiting=3, target_per_replica=8)
MANY = 10 * MOST
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
PING = b"\0\0\x08\6\0\0\0\0\0" + b"slipway!"
A_KILOBYTE = b"X-Much: %b\r\n" % (b"x" * 1014)
GET = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Ports:
    """Both ports, and their legitimate clients."""

    def __init__(self, demand: Demand, metrics: MetricsRegistry) -> None:
        self.demand, self.metrics = demand, metrics
        self.scaler = self.management = 0

    @asynccontextmanager
    async def keda(self) -> AsyncIterator[rpc.ExternalScalerStub]:
        async with self._channel() as channel:
            yield rpc.ExternalScalerStub(channel)

    @asynccontextmanager
    async def replica(self) -> AsyncIterator[peers_pb2_grpc.PeersStub]:
        async with self._channel() as channel:
            yield peers_pb2_grpc.PeersStub(channel)

    def _channel(self) -> grpc.aio.Channel:
        own = (("grpc.use_local_subchannel_pool", 1),)  # a separate connection
        return grpc.aio.insecure_channel(f"{KNOWN_ADDRESS}:{self.scaler}", options=own)

    async def status(self, path: str) -> int:
        where = f"http://{KNOWN_ADDRESS}:{self.management}{path}"
        async with aiohttp.ClientSession() as session, session.get(where) as answer:
            await answer.read()
            return answer.status


async def is_known(address: str) -> bool | None:
    return address == KNOWN_ADDRESS


@pytest.fixture
async def ports() -> AsyncIterator[Ports]:
    demand, metrics = Demand(), MetricsRegistry()
    demand.report(ModelKey("chat", "llama"), BUSY)
    ports = Ports(demand, metrics)
    publisher = DemandPublisher(demand, "one_1")
    access_checks = {scaler.SERVICE: is_known, peers.SERVICE: is_known}
    async with (
        scaler.serve(
            demand, "127.0.0.1", 0, add_services=publisher.add_to, checks=access_checks, grace=1
        ) as ports.scaler,
        ManagementPort(metrics=metrics, live={}, ready={}, port=0, host="127.0.0.1").served() as ports.management,
    ):
        yield ports
        publisher.end_streams()


@pytest.fixture
def short_patience(monkeypatch: pytest.MonkeyPatch) -> float:
    monkeypatch.setattr(guarded_port, "PATIENCE", 0.5)
    return guarded_port.PATIENCE


@pytest.fixture
def known_slots(monkeypatch: pytest.MonkeyPatch) -> int:
    """Slots for known clients; a test requests this fixture before `ports`."""
    monkeypatch.setattr(guarded_port, "MOST_KNOWN", 8)
    return guarded_port.MOST_KNOWN


async def opened(port: int, number: int, *, says: bytes = b"", addresses: int = 1) -> list[Streams]:
    """Opens this many connections, from this many addresses alternately."""
    found = []
    for each in range(number):
        of_address = (f"127.9.{each % addresses // 250}.{1 + each % addresses % 250}", 0)
        found.append(await asyncio.open_connection(KNOWN_ADDRESS, port, local_addr=of_address))
        found[-1][1].write(says)
    return found


async def until_closed(connection: Streams) -> None:
    with suppress(ConnectionError):
        while await connection[0].read(1 << 16):
            pass


async def left_of(connections: list[Streams], *, after: float) -> int:
    """How many connections are still open after that time."""
    closing = [asyncio.create_task(until_closed(each)) for each in connections]
    _, still_open = await asyncio.wait(closing, timeout=after)
    for task in still_open:
        task.cancel()
    return len(still_open)


@contextmanager
def leaving(*connections: list[Streams]) -> Iterator[None]:
    try:
        yield
    finally:
        for each in connections:
            for _, writer in each:
                writer.transport.abort()


@asynccontextmanager
async def flooded(port: int, *, says: bytes, addresses: int = 1) -> AsyncIterator[None]:
    """Connections as fast as they can be opened, which their client keeps open."""
    started, ended = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def flood() -> None:
        sockets: deque[socket.socket] = deque()
        for number in itertools.count():
            if ended.is_set():
                break
            if number == 2 * MOST:
                loop.call_soon_threadsafe(started.set)
            sockets.append(
                socket.create_connection((KNOWN_ADDRESS, port), source_address=(f"127.9.0.{1 + number % addresses}", 0))
            )
            with suppress(OSError):
                sockets[-1].sendall(says)
            if len(sockets) > 4 * MOST:
                sockets.popleft().close()
        for each in sockets:
            each.close()

    flooding = asyncio.create_task(asyncio.to_thread(flood))
    try:
        await started.wait()
        yield
    finally:
        ended.set()
        await flooding


# --- number and duration of connections ------------------------------------------------------------------------------


@pytest.mark.parametrize("says", [b"", PREFACE], ids=["silent", "starts HTTP/2"])
async def test_of_very_many_connections_to_kedas_port_few_stay_open_and_only_briefly(ports: Ports, says: bytes) -> None:
    found = await opened(ports.scaler, MANY, says=says)
    with leaving(found):
        assert 0 < await left_of(found, after=1) <= MOST // 2


@pytest.mark.parametrize("says", [b"", GET[:-2]], ids=["silent", "in the middle of a head"])
async def test_of_very_many_connections_to_the_probe_port_few_stay_open(ports: Ports, says: bytes) -> None:
    found = await opened(ports.management, MANY, says=says)
    with leaving(found):
        assert 0 < await left_of(found, after=1) <= MOST // 2


async def test_a_client_with_many_addresses_gets_no_more_than_all_slots(ports: Ports) -> None:
    for port in (ports.scaler, ports.management):
        found = await opened(port, MANY, addresses=MANY // 2)
        with leaving(found):
            assert await left_of(found, after=1) <= MOST


@pytest.mark.parametrize("says", [b"", b"G", PREFACE, GET[:-2]], ids=["nothing", "a byte", "a preface", "half a head"])
async def test_a_connection_without_a_valid_request_is_closed_after_some_seconds(
    ports: Ports, says: bytes, short_patience: float
) -> None:
    for port in (ports.scaler, ports.management):
        found = await opened(port, 5, says=says)
        with leaving(found):
            assert await left_of(found, after=20 * short_patience) == 0


async def test_a_client_that_sends_too_much_to_kedas_port_is_disconnected_immediately(ports: Ports) -> None:
    found = await opened(ports.scaler, 1, says=PREFACE + PING * (scaler.UNKNOWN_MAY_SEND // len(PING) + 1))
    with leaving(found):
        assert await left_of(found, after=5) == 0


async def test_a_client_that_sends_too_much_to_the_probe_port_is_disconnected_immediately(ports: Ports) -> None:
    found = await opened(
        ports.management, 1, says=GET[:-2] + A_KILOBYTE * 8
    )  # a head whose rest aiohttp would wait for
    with leaving(found):
        assert await left_of(found, after=5) == 0


async def test_a_client_that_requests_metrics_and_does_not_read_them_is_disconnected(
    ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    large: dict[tuple[str, ...], float] = {
        (str(each), "x" * 20_000): 1.0 for each in range(1_000)
    }  # more than fits into the buffers
    ports.metrics.read_gauge("much", "", ("one", "another"), lambda: large)
    monkeypatch.setattr(management, "PAGE_HOLDS_FOR", 600.0)
    assert await ports.status("/metrics") == 200  # so that the response is cached
    monkeypatch.setattr(guarded_port, "PATIENCE", 0.5)
    [(reader, writer)] = found = await opened(ports.management, 1, says=GET)
    with leaving(found):
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(4 * guarded_port.PATIENCE)
        writer.transport.resume_reading()  # type: ignore[attr-defined]
        with suppress(ConnectionError):
            assert len(await reader.read()) < 10 << 20


# --- effects on other clients ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("addresses", [1, 20])
@pytest.mark.parametrize("says", [b"", PREFACE], ids=["silent", "starts HTTP/2"])
async def test_keda_and_replicas_get_responses_and_stay_connected_in_a_flood(
    ports: Ports, says: bytes, addresses: int, short_patience: float
) -> None:
    async with ports.keda() as before, asyncio.timeout(30):
        specs = aiter(before.StreamMetricSpec(REF))
        await anext(specs)
        async with flooded(ports.scaler, says=says, addresses=addresses):
            async with ports.keda() as another, ports.replica() as replica:
                assert (await another.IsActive(REF)).result is True
                counts = await anext(aiter(replica.Follow(peers_pb2.Follower())))
                assert counts.identity == "one_1"
            await asyncio.sleep(2 * short_patience)
            ports.demand.report(ModelKey("chat", "llama"), ModelDemand(active=True, waiting=1, target_per_replica=4))
            assert (await anext(specs)).metricSpecs[0].targetSizeFloat == 4


@pytest.mark.parametrize("addresses", [1, 20])
@pytest.mark.parametrize("says", [b"", GET[:-2], GET], ids=["silent", "half a head", "asks"])
async def test_probes_and_prometheus_get_responses_in_a_flood(ports: Ports, says: bytes, addresses: int) -> None:
    async with flooded(ports.management, says=says, addresses=addresses), asyncio.timeout(30):
        for _ in range(5):
            assert [await ports.status(path) for path in ("/livez", "/readyz", "/metrics")] == [200] * 3


async def test_a_client_that_half_closes_after_its_request_gets_the_response(ports: Ports) -> None:
    reader, writer = await asyncio.open_connection(KNOWN_ADDRESS, ports.management)
    writer.write(GET)
    writer.write_eof()
    async with asyncio.timeout(5):
        assert (await reader.read()).startswith(b"HTTP/1.1 200")
    writer.close()


# --- connections that a tenant makes KEDA open -----------------------------------------------------------------------
# KEDA has a connection for each spelling of the activator's address, and all of them come from KEDA's own address.


@asynccontextmanager
async def opened_by_keda(ports: Ports, number: int, namespace: str) -> AsyncIterator[None]:
    """KEDA's connections for this many ScaledObjects of the namespace, each with another spelling of the address."""
    ref = pb.ScaledObjectRef(namespace=namespace, name="llama")
    async with AsyncExitStack() as stack:
        for _ in range(number):
            keda = await stack.enter_async_context(ports.keda())
            with suppress(grpc.aio.AioRpcError):
                await keda.GetMetricSpec(ref, timeout=5)
                await keda.IsActive(ref, timeout=5)
        yield


@pytest.mark.parametrize("is_served", [True, False], ids=["of a model of its own", "of none"])
async def test_connections_that_a_tenant_makes_keda_open_leave_room_for_others(ports: Ports, is_served: bool) -> None:
    if is_served:
        ports.demand.report(ModelKey("evil", "llama"), BUSY)
    async with opened_by_keda(ports, 40, "evil"), ports.keda() as another:
        assert (await another.IsActive(REF, timeout=5)).result is True


@pytest.mark.parametrize("is_served", [True, False], ids=["of a model of its own", "of none"])
async def test_the_connection_that_serves_others_stays_open_however_many_a_tenant_opens(
    known_slots: int, ports: Ports, is_served: bool
) -> None:
    if is_served:
        ports.demand.report(ModelKey("evil", "llama"), BUSY)
    async with ports.keda() as before:
        specs = aiter(before.StreamMetricSpec(REF))
        await anext(specs)
        with suppress(grpc.aio.AioRpcError):  # the tenant has one with the correct spelling, too
            await before.IsActive(pb.ScaledObjectRef(namespace="evil", name="llama"))
        async with opened_by_keda(ports, 3 * known_slots, "evil"), asyncio.timeout(20):
            async with ports.keda() as another:
                assert (await another.IsActive(REF)).result is True
            ports.demand.report(ModelKey("chat", "llama"), ModelDemand(active=True, waiting=1, target_per_replica=4))
            assert (await anext(specs)).metricSpecs[0].targetSizeFloat == 4


async def test_evicted_connections_that_reconnect_immediately_are_slowed_down_and_keep_no_one_out(
    known_slots: int, ports: Ports
) -> None:
    responses = 0

    async def reconnect_again_and_again() -> None:
        nonlocal responses
        while True:
            reader, writer = await asyncio.open_connection(KNOWN_ADDRESS, ports.scaler)
            with leaving([(reader, writer)]), suppress(OSError):
                writer.write(PREFACE)
                responses += bool(await reader.read(1))
                await until_closed((reader, writer))

    tasks = [asyncio.create_task(reconnect_again_and_again()) for _ in range(3 * known_slots)]
    try:
        await asyncio.sleep(3)
        assert responses <= known_slots + 2 * 3 / guarded_port.MAKES_ROOM_EVERY
        async with ports.keda() as another, asyncio.timeout(20):
            assert (await another.IsActive(REF, wait_for_ready=True)).result is True
    finally:
        for each in tasks:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


# --- identity of the client ------------------------------------------------------------------------------------------


def servers_behind() -> set[str]:
    """The abstract sockets, as any process in the pod can see them."""
    sockets = Path("/proc/net/unix").read_text().splitlines()
    return {line.split("@")[1] for line in sockets if "@slipway-" in line}


async def test_a_client_that_finds_the_grpc_server_behind_the_port_is_not_accepted_as_keda(ports: Ports) -> None:
    codes = []
    for name in servers_behind():
        async with grpc.aio.insecure_channel(f"unix-abstract:{name}") as channel:
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await rpc.ExternalScalerStub(channel).IsActive(REF, timeout=5)
            codes.append(error.value.code())
    assert grpc.StatusCode.PERMISSION_DENIED in codes


async def test_an_address_that_is_no_longer_kedas_gets_no_data_on_its_old_connection(
    ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ports.keda() as keda:
        await keda.IsActive(REF)
        monkeypatch.setitem(globals(), "KNOWN_ADDRESS", "127.0.0.77")
        with pytest.raises(grpc.aio.AioRpcError, match="may call this"):
            await keda.IsActive(REF)
