"""The activator as a whole: whom it follows."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from kubernetes.aio.client import Configuration
from slipway.activator.activator import Activator
from slipway.activator.settings import parse
from slipway.activator.watches import Home
from slipway.kube.kinds import ENDPOINT_SLICE, Object

HOME = Home("slipway-system", "slipway-activator")


class Following:
    def __init__(self) -> None:
        self.replicas: Mapping[str, str] = {}

    def follow(self, replicas: Mapping[str, str]) -> None:
        self.replicas = replicas


class Seen:
    """What it follows, of what is in its cache."""

    def __init__(self) -> None:
        self.activator = Activator(parse([], {}), Configuration())
        self.following = Following()
        self.activator._following = self.following  # type: ignore[assignment]
        self.activator._is_open = True

    def follows(self, *slices: Object) -> Mapping[str, str]:
        for each in slices:
            self.activator._watching.store.take(ENDPOINT_SLICE, "ADDED", each, now=0)
            self.activator._changed(HOME)
        return self.following.replicas


@pytest.fixture
async def seen() -> Seen:
    return Seen()


def endpoint(address: str, pod: str = "", *, ready: bool = True, kind: str = "Pod") -> Object:
    target = {"targetRef": {"kind": kind, "name": pod}} if pod else {}
    return {"addresses": [address], "conditions": {"ready": ready}, **target}


def of_service(*endpoints: Object, name: str = "a", namespace: str = HOME.namespace, **labels: str) -> Object:
    metadata = {"name": name, "namespace": namespace, "uid": name + namespace, "resourceVersion": "1"}
    known = {
        "kubernetes.io/service-name": HOME.service,
        **{key.replace("_", "/"): each for key, each in labels.items()},
    }
    return {"metadata": {**metadata, "labels": known}, "endpoints": list(endpoints)}


async def test_it_follows_the_pods_of_its_own_service_that_are_ready(seen: Seen) -> None:
    one, other, late = endpoint("10.0.0.1", "one"), endpoint("10.0.0.2", "two"), endpoint("10.0.0.3", "c", ready=False)
    assert seen.follows(of_service(one, other, late)) == {"10.0.0.1": "one", "10.0.0.2": "two"}
    assert seen.activator._knowledge.scraping.activators == 2


@pytest.mark.parametrize(
    "stranger",
    [
        of_service(endpoint("10.6.6.6", "one"), namespace="evil"),
        of_service(endpoint("10.6.6.6", "one"), **{"slipway.dev_llmdeployment": "slipway-activator"}),
        of_service(endpoint("10.6.6.6")),
        of_service(endpoint("10.6.6.6", "one", kind="Node")),
    ],
    ids=["another namespace's Service", "the Service of a model", "no pod", "something else than a pod"],
)
async def test_it_follows_nobody_else(seen: Seen, stranger: Object) -> None:
    assert seen.follows(of_service(endpoint("10.0.0.1", "one"), name="own"), stranger) == {"10.0.0.1": "one"}


async def test_before_it_answers_it_follows_nobody(seen: Seen) -> None:
    seen.activator._is_open = False
    assert seen.follows(of_service(endpoint("10.0.0.1", "one"))) == {}


async def test_a_replica_with_two_addresses_is_one(seen: Seen) -> None:
    seen.follows(of_service(endpoint("10.0.0.1", "one"), name="v4"), of_service(endpoint("fd00::1", "one"), name="v6"))
    assert seen.activator._knowledge.scraping.activators == 1
