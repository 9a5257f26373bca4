"""Whose a pod is: a later namespace of the same name, or a pod that is gone, gets no folder."""

from __future__ import annotations

import json

import pytest
from slipway.nodecache.owners import Owner, Owners, UnknownPodError
from slipway.objects.kinds import NAMESPACE, Kind, Object

UID, POD = "0000000a-0000-0000-0000-000000000000", "0000000f-0000-0000-0000-000000000000"
CONTEXT = {
    "csi.storage.k8s.io/pod.namespace": "team-a",
    "csi.storage.k8s.io/pod.uid": POD,
    "csi.storage.k8s.io/serviceAccount.tokens": json.dumps({"models.slipway.dev": {"token": "t"}}),
}


def reviewed(*, pod: str = POD, namespace: str = "team-a", authenticated: bool = True) -> Object:
    user = {
        "username": f"system:serviceaccount:{namespace}:default",
        "extra": {"authentication.kubernetes.io/pod-uid": [pod]},
    }
    return {"authenticated": authenticated, "user": user}


class ApiServer:
    """Remembers in which order it was asked."""

    def __init__(self, review: Object, uid: str | None = UID) -> None:
        self.calls: list[str] = []
        self._review, self._uid = review, uid

    async def find(self, kind: Kind, name: str) -> Object | None:
        assert (kind, name) == (NAMESPACE, "team-a")
        self.calls.append("namespace")
        return {"metadata": {"uid": self._uid}} if self._uid else None

    async def review_token(self, token: str, audience: str) -> Object:
        assert (token, audience) == ("t", "models.slipway.dev")
        self.calls.append("review")
        return self._review


async def test_a_pod_belongs_to_its_namespace_s_uid() -> None:
    assert await Owners(ApiServer(reviewed())).owner(CONTEXT) == Owner("team-a", UID)


async def test_the_pod_is_reviewed_after_the_namespace_was_read() -> None:
    """In the other order, the namespace could be deleted and created again in between."""
    api_server = ApiServer(reviewed())
    await Owners(api_server).owner(CONTEXT)
    assert api_server.calls == ["namespace", "review"]


@pytest.mark.parametrize(
    "review",
    [
        reviewed(authenticated=False),
        reviewed(pod="0000000e-0000-0000-0000-000000000000"),
        reviewed(namespace="team-b"),
        {},
        {"authenticated": True, "user": {"username": "system:serviceaccount:team-a:default"}},
    ],
)
async def test_a_pod_that_the_api_server_doesnt_know_gets_nothing(review: Object) -> None:
    with pytest.raises(UnknownPodError, match="no longer knows"):
        await Owners(ApiServer(review)).owner(CONTEXT)


@pytest.mark.parametrize("uid", [None, "../elsewhere"])
async def test_a_namespace_without_a_uid_gets_nothing(uid: str | None) -> None:
    with pytest.raises(UnknownPodError, match="no longer knows"):
        await Owners(ApiServer(reviewed(), uid)).owner(CONTEXT)


TOKENS = "csi.storage.k8s.io/serviceAccount.tokens"


@pytest.mark.parametrize(
    ("name", "instead"),
    [*((name, "") for name in CONTEXT), (TOKENS, "{}"), (TOKENS, "[]"), (TOKENS, '{"models.slipway.dev": {}}')],
)
async def test_without_what_the_kubelet_says_the_driver_is_set_up_wrongly(name: str, instead: str) -> None:
    with pytest.raises(UnknownPodError, match="podInfoOnMount and tokenRequests"):
        await Owners(ApiServer(reviewed())).owner({**CONTEXT, name: instead})
