"""Whose a pod is: the uid of its namespace, as the API server says it.

The kubelet names a pod's namespace, but not its uid, and what a pod's own spec says is a tenant's word. So the uid is
read from the API server; and afterwards the pod's token, which the kubelet sends along, is reviewed. If the pod still
exists then, the namespace that was read is the pod's, and not a later one of the same name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from slipway.api.names import NODE_CACHE_DRIVER
from slipway.nodecache.layout import UID
from slipway.objects.kinds import NAMESPACE, Kind, Object

POD_INFO = "csi.storage.k8s.io/"
_TOKENS = f"{POD_INFO}serviceAccount.tokens"
_POD_OF_TOKEN = "authentication.kubernetes.io/pod-uid"  # noqa: S105 - a claim's name


class UnknownPodError(Exception):
    """The pod isn't, or is no longer, what the kubelet says."""


class ApiServer(Protocol):
    async def find(self, kind: Kind, name: str) -> Object | None: ...

    async def review_token(self, token: str, audience: str) -> Object: ...


@dataclass(frozen=True)
class Owner:
    namespace: str
    uid: str  # of the namespace


class Owners:
    def __init__(self, api_server: ApiServer) -> None:
        self._api_server = api_server

    async def owner(self, context: Mapping[str, str]) -> Owner:
        """`context`: what the kubelet says of a volume's pod. KubeError if the API server doesn't answer."""
        namespace, pod = context.get(f"{POD_INFO}pod.namespace", ""), context.get(f"{POD_INFO}pod.uid", "")
        token = _token_in(context.get(_TOKENS, ""))
        if not namespace or not pod or not token:
            raise UnknownPodError(
                f"the kubelet sent no name, uid or token of the pod: CSIDriver {NODE_CACHE_DRIVER} needs "
                "podInfoOnMount and tokenRequests as the chart has them"
            )
        uid = await self.uid_of(namespace)
        status = await self._api_server.review_token(token, NODE_CACHE_DRIVER)
        user = status.get("user") or {}
        of_pod = (user.get("extra") or {}).get(_POD_OF_TOKEN) or []
        is_in_namespace = str(user.get("username", "")).startswith(f"system:serviceaccount:{namespace}:")
        if not uid or not status.get("authenticated") or not is_in_namespace or list(of_pod) != [pod]:
            raise UnknownPodError(f"the API server no longer knows pod {pod} of namespace {namespace}")
        return Owner(namespace, uid)

    async def uid_of(self, namespace: str) -> str | None:
        found = await self._api_server.find(NAMESPACE, namespace)
        uid = str(found["metadata"]["uid"]) if found else ""
        return uid if UID.fullmatch(uid) else None


def _token_in(tokens: str) -> str:
    try:
        return str(json.loads(tokens)[NODE_CACHE_DRIVER]["token"])
    except (ValueError, KeyError, TypeError):
        return ""
