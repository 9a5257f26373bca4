"""What the kubelet may ask for, and what it is answered."""

from __future__ import annotations

import asyncio
import fcntl
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import grpc
import pytest
from slipway.kube.errors import Call, UnavailableError
from slipway.nodecache._generated import csi_pb2 as csi
from slipway.nodecache._generated import csi_pb2_grpc as csi_rpc
from slipway.nodecache._generated import pluginregistration_pb2 as registration
from slipway.nodecache._generated import pluginregistration_pb2_grpc as registration_rpc
from slipway.nodecache.metrics import NodeCacheMetrics
from slipway.nodecache.owners import Owner, Owners, UnknownPodError
from slipway.nodecache.plugin import NodePlugin, alone, serving
from slipway.nodecache.services import Identity, Node, Registration, wanted_keys
from slipway.nodecache.store import NodeStore, RefusedError
from slipway.process.metrics import MetricsRegistry

KEY = "0123456789abcdef"
CONTEXT = {"csi.storage.k8s.io/ephemeral": "true", "csi.storage.k8s.io/pod.name": "model-0", "keys": KEY}


class Store:
    def __init__(self) -> None:
        self.published: list[Any] = []
        self.error: Exception | None = None

    async def publish(self, *what: Any) -> None:
        if self.error:
            raise self.error
        self.published.append(what)

    async def unpublish(self, *what: Any) -> None:
        self.published.remove(next(each for each in self.published if each[:2] == what))


class AnyOwner:
    error: Exception | None = None

    async def owner(self, _: object) -> Owner:
        if self.error:
            raise self.error
        return Owner("team-a", "uid-a")


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def owners() -> AnyOwner:
    return AnyOwner()


@pytest.fixture
async def socket(store: Store, owners: AnyOwner, tmp_path: Path) -> AsyncIterator[str]:
    server = grpc.aio.server()
    metrics = NodeCacheMetrics(MetricsRegistry(), "node-1")
    node = Node("node-1", cast(NodeStore, store), cast(Owners, owners), metrics)
    csi_rpc.add_NodeServicer_to_server(node, server)
    csi_rpc.add_IdentityServicer_to_server(Identity("1.2.3"), server)
    registration_rpc.add_RegistrationServicer_to_server(Registration(tmp_path / "csi.sock"), server)
    async with serving(server, tmp_path / "folder" / "csi.sock"):
        yield f"unix://{tmp_path}/folder/csi.sock"


@pytest.fixture
async def kubelet(socket: str) -> AsyncIterator[Any]:
    async with grpc.aio.insecure_channel(socket) as channel:
        yield SimpleNamespace(
            node=csi_rpc.NodeStub(channel),
            identity=csi_rpc.IdentityStub(channel),
            registration=registration_rpc.RegistrationStub(channel),
        )


def publish(**context: str) -> csi.NodePublishVolumeRequest:
    return csi.NodePublishVolumeRequest(
        volume_id="csi-1", target_path="/pods/1/mount", volume_context={**CONTEXT, **context}
    )


async def test_the_kubelet_finds_the_driver_and_its_socket(kubelet: Any, tmp_path: Path) -> None:
    found = await kubelet.registration.GetInfo(registration.InfoRequest())
    assert (found.type, found.name, found.endpoint) == ("CSIPlugin", "models.slipway.dev", f"{tmp_path}/csi.sock")
    assert (await kubelet.identity.GetPluginInfo(csi.GetPluginInfoRequest())).name == found.name
    assert (await kubelet.identity.Probe(csi.ProbeRequest())).ready.value
    assert (await kubelet.node.NodeGetInfo(csi.NodeGetInfoRequest())).node_id == "node-1"


async def test_a_volume_is_published_with_the_models_that_it_names(kubelet: Any, store: Store) -> None:
    await kubelet.node.NodePublishVolume(publish())
    assert store.published == [("csi-1", Path("/pods/1/mount"), Owner("team-a", "uid-a"), frozenset({KEY}))]
    await kubelet.node.NodeUnpublishVolume(
        csi.NodeUnpublishVolumeRequest(volume_id="csi-1", target_path="/pods/1/mount")
    )
    assert store.published == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RefusedError("no room: free some"), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (OSError(13, "Permission denied"), grpc.StatusCode.INTERNAL),
    ],
)
async def test_what_the_store_says_reaches_the_pod_s_events(
    kubelet: Any, store: Store, error: Exception, code: grpc.StatusCode
) -> None:
    store.error = error
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await kubelet.node.NodePublishVolume(publish())
    assert (refused.value.code(), refused.value.details()) == (code, str(error))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UnknownPodError("gone"), grpc.StatusCode.FAILED_PRECONDITION),
        (UnavailableError(Call("get", "Namespace", "a"), "no answer"), grpc.StatusCode.UNAVAILABLE),
    ],
)
async def test_a_pod_that_cant_be_identified_gets_nothing(
    kubelet: Any, store: Store, owners: AnyOwner, error: Exception, code: grpc.StatusCode
) -> None:
    owners.error = error
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await kubelet.node.NodePublishVolume(publish())
    assert refused.value.code() is code
    assert not store.published


@pytest.mark.parametrize(
    ("context", "words"),
    [
        ({"csi.storage.k8s.io/ephemeral": "false"}, "remove the PersistentVolume"),
        ({"keys": ".."}, "write names such as"),
        ({"path": "/etc"}, "the only attribute is `keys`"),
    ],
)
async def test_a_volume_that_the_driver_doesnt_have_is_refused(
    kubelet: Any, store: Store, context: dict[str, str], words: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError, match=words) as refused:
        await kubelet.node.NodePublishVolume(publish(**context))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert not store.published


def test_what_the_kubelet_adds_is_not_taken_for_a_tenant_s_attribute() -> None:
    assert wanted_keys(CONTEXT) == {KEY}


async def test_the_socket_of_a_process_that_was_killed_is_replaced_and_removed_at_the_end(tmp_path: Path) -> None:
    left = tmp_path / "csi.sock"
    left.touch()
    async with serving(grpc.aio.server(), left):
        assert left.is_socket()
    assert not left.exists()


async def test_what_stops_one_sweep_doesnt_end_the_plugin() -> None:
    swept = asyncio.Queue[None]()

    async def sweep(_: object) -> None:
        swept.put_nowait(None)
        raise IndexError("list index out of range")

    plugin = SimpleNamespace(
        _store=SimpleNamespace(sweep=sweep, namespaces={}), _settings=SimpleNamespace(sweep_every=0)
    )
    plugin._gone = lambda owners: NodePlugin._gone(cast(Any, plugin), owners)
    sweeping = asyncio.create_task(NodePlugin._sweep(cast(Any, plugin), cast(Owners, AnyOwner())))
    await swept.get()
    await swept.get()
    sweeping.cancel()


def test_a_second_process_would_wait(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    with alone(lock), lock.open() as again, pytest.raises(BlockingIOError):
        fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
