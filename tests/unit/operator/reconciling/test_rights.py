"""Whether the activator may read a Secret is a rare query to the API server, and never guessed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from slipway.kube.call_retries import Patience
from slipway.kube.client import KubeClient
from slipway.kube.connection import ApiResponse
from slipway.kube.metrics import WatchMetrics
from slipway.objects.kinds import Object
from slipway.operator.reconciling.rights import FRESH, Rights
from slipway.process.metrics import MetricsRegistry
from support.builders.stored import llm
from support.fakes.virtual_time import Clock

KEYED = llm(access={"apiKeysSecret": "keys"})
ACTIVATOR = "slipway-activator"
IMPATIENT = Patience(deadline=0.001, first_pause=0.001)


@dataclass
class Reviewer:
    """The part of the API server that answers SubjectAccessReviews. None: it fails."""

    allowed: bool | None = True
    reviews: list[Object] = field(default_factory=list)
    clock: Clock = field(default_factory=Clock)

    async def send(
        self, method: str, path: str, *, headers: Mapping[str, str], body: Any = None, timeout: float
    ) -> ApiResponse:
        assert (method, path) == ("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews")
        self.reviews.append(body["spec"])
        if self.allowed is None:
            return ApiResponse(500, {}, b"{}")
        return ApiResponse(201, {}, json.dumps({**body, "status": {"allowed": self.allowed}}).encode())

    @property
    def rights(self) -> Rights:
        client = KubeClient(self, WatchMetrics(MetricsRegistry()), patience=IMPATIENT)  # type: ignore[arg-type]
        return Rights(client, slipway_namespace="slipway-system", clock=self.clock)


@pytest.mark.parametrize("allowed", [True, False])
async def test_the_review_is_for_the_account_of_the_activator_and_that_secret(allowed: bool) -> None:
    reviewer = Reviewer(allowed)
    assert await reviewer.rights.activator_reads_keys(KEYED, ACTIVATOR) is allowed
    [review] = reviewer.reviews
    assert review["user"] == "system:serviceaccount:slipway-system:slipway-activator"
    assert "system:serviceaccounts:slipway-system" in review["groups"]
    secret = {"group": "", "resource": "secrets", "name": "keys", "namespace": "chat"}
    assert review["resourceAttributes"] == {"verb": "get", **secret}


async def test_the_review_is_for_the_account_with_the_name_of_the_activator() -> None:
    reviewer = Reviewer()
    rights = reviewer.rights
    for name in (ACTIVATOR, "slipway-activator-2", ACTIVATOR, "slipway-activator-2"):
        await rights.activator_reads_keys(KEYED, name)
    accounts = [each["user"].rpartition(":")[2] for each in reviewer.reviews]
    assert accounts == ["slipway-activator", "slipway-activator-2"]


async def test_without_keys_there_is_no_review() -> None:
    reviewer = Reviewer()
    assert await reviewer.rights.activator_reads_keys(llm(), ACTIVATOR) is None
    assert reviewer.reviews == []


async def test_an_answer_holds_for_a_while() -> None:
    reviewer = Reviewer(False)
    rights = reviewer.rights
    for _ in range(3):
        await rights.activator_reads_keys(KEYED, ACTIVATOR)
    assert len(reviewer.reviews) == 1
    reviewer.allowed = True
    reviewer.clock.now += FRESH
    assert await rights.activator_reads_keys(KEYED, ACTIVATOR) is True


async def test_if_a_review_fails_the_last_answer_holds_or_none() -> None:
    reviewer = Reviewer(None)
    rights = reviewer.rights
    assert await rights.activator_reads_keys(KEYED, ACTIVATOR) is None
    reviewer.allowed = False
    assert await rights.activator_reads_keys(KEYED, ACTIVATOR) is False
    reviewer.allowed = None
    reviewer.clock.now += FRESH
    assert await rights.activator_reads_keys(KEYED, ACTIVATOR) is False
