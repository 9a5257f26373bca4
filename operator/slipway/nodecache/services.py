"""Answers the kubelet: CSI's Identity and Node services, and the registration by which it finds them.

The kubelet repeats a call until it succeeds, so each may come again at any time, also after a restart of either side.
The text of an error is shown in the pod's events.
"""
# ruff: noqa: N802 - the methods have CSI's names

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import grpc
from google.protobuf.wrappers_pb2 import BoolValue

from slipway.api.names import NODE_CACHE_DRIVER, NODE_CACHE_KEYS, NODE_CACHE_MOST_KEYS
from slipway.kube.errors import KubeError
from slipway.nodecache._generated import csi_pb2 as csi
from slipway.nodecache._generated import csi_pb2_grpc as csi_rpc
from slipway.nodecache._generated import pluginregistration_pb2 as registration
from slipway.nodecache._generated import pluginregistration_pb2_grpc as registration_rpc
from slipway.nodecache.metrics import NodeCacheMetrics
from slipway.nodecache.owners import POD_INFO, Owners, UnknownPodError
from slipway.nodecache.state import keys_in
from slipway.nodecache.store import NodeStore, RefusedError

logger = logging.getLogger(__name__)

CSI_VERSION = "1.11.0"
EPHEMERAL = f"{POD_INFO}ephemeral"


class Identity(csi_rpc.IdentityServicer):
    def __init__(self, version: str) -> None:
        self._version = version

    async def GetPluginInfo(self, request: csi.GetPluginInfoRequest, context: object) -> csi.GetPluginInfoResponse:
        return csi.GetPluginInfoResponse(name=NODE_CACHE_DRIVER, vendor_version=self._version)

    async def GetPluginCapabilities(
        self, request: csi.GetPluginCapabilitiesRequest, context: object
    ) -> csi.GetPluginCapabilitiesResponse:
        return csi.GetPluginCapabilitiesResponse()

    async def Probe(self, request: csi.ProbeRequest, context: object) -> csi.ProbeResponse:
        return csi.ProbeResponse(ready=BoolValue(value=True))


class Node(csi_rpc.NodeServicer):
    def __init__(self, name: str, store: NodeStore, owners: Owners, metrics: NodeCacheMetrics) -> None:
        self._name, self._store, self._owners, self._metrics = name, store, owners, metrics

    async def NodeGetInfo(self, request: csi.NodeGetInfoRequest, context: object) -> csi.NodeGetInfoResponse:
        return csi.NodeGetInfoResponse(node_id=self._name)

    async def NodeGetCapabilities(
        self, request: csi.NodeGetCapabilitiesRequest, context: object
    ) -> csi.NodeGetCapabilitiesResponse:
        return csi.NodeGetCapabilitiesResponse()

    async def NodePublishVolume(
        self, request: csi.NodePublishVolumeRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> csi.NodePublishVolumeResponse:
        try:
            keys = wanted_keys(request.volume_context)
            owner = await self._owners.owner(request.volume_context)
            await self._store.publish(request.volume_id, Path(request.target_path), owner, keys)
        except RefusedError as error:
            self._metrics.publishes.labels("refused").inc()
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
        except (ValueError, UnknownPodError, KubeError, OSError) as error:
            self._metrics.publishes.labels("failed").inc()
            await _fail(context, "published", error)
        self._metrics.publishes.labels("published").inc()
        return csi.NodePublishVolumeResponse()

    async def NodeUnpublishVolume(
        self, request: csi.NodeUnpublishVolumeRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> csi.NodeUnpublishVolumeResponse:
        try:
            await self._store.unpublish(request.volume_id, Path(request.target_path))
        except (RefusedError, OSError) as error:
            await _fail(context, "unpublished", error)
        return csi.NodeUnpublishVolumeResponse()


def wanted_keys(context: Mapping[str, str]) -> frozenset[str]:
    """ValueError, in a sentence, for a volume that this driver doesn't have."""
    if context.get(EPHEMERAL) != "true":
        raise ValueError(f"{NODE_CACHE_DRIVER} has inline volumes of pods only: remove the PersistentVolume")
    unknown = sorted(name for name in context if name != NODE_CACHE_KEYS and not name.startswith(POD_INFO))
    if unknown:
        raise ValueError(f"volumeAttributes has {unknown[0][:40]!r}: the only attribute is `{NODE_CACHE_KEYS}`")
    return keys_in(context.get(NODE_CACHE_KEYS, ""), NODE_CACHE_MOST_KEYS)


async def _fail(context: grpc.aio.ServicerContext[Any, Any], what: str, error: Exception) -> NoReturn:
    match error:
        case ValueError():
            code = grpc.StatusCode.INVALID_ARGUMENT
        case UnknownPodError():
            code = grpc.StatusCode.FAILED_PRECONDITION
        case KubeError():
            code = grpc.StatusCode.UNAVAILABLE
        case _:
            code = grpc.StatusCode.INTERNAL
    logger.warning("A volume can't be %s: %s", what, error)
    await context.abort(code, str(error))


class Registration(registration_rpc.RegistrationServicer):
    """On a socket of its own, in a folder that the kubelet watches."""

    def __init__(self, endpoint: Path) -> None:
        self._endpoint = endpoint
        self.is_registered = False

    async def GetInfo(self, request: registration.InfoRequest, context: object) -> registration.PluginInfo:
        return registration.PluginInfo(
            type="CSIPlugin", name=NODE_CACHE_DRIVER, endpoint=str(self._endpoint), supported_versions=[CSI_VERSION]
        )

    async def NotifyRegistrationStatus(
        self, request: registration.RegistrationStatus, context: object
    ) -> registration.RegistrationStatusResponse:
        self.is_registered = request.plugin_registered
        if request.plugin_registered:
            logger.info("The kubelet has registered %s", NODE_CACHE_DRIVER)
        else:
            logger.error("The kubelet refuses %s: %s", NODE_CACHE_DRIVER, request.error)
        return registration.RegistrationStatusResponse()
