"""Whether the activator may read the Secret of a deployment's API keys, as the API server says.

Nothing tells when rights change, so it is asked again when a deployment is looked at and the answer is old.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from slipway.api.names import ACTIVATOR_SERVICE
from slipway.kube.client import KubeClient
from slipway.kube.errors import KubeError
from slipway.kube.kinds import SUBJECT_ACCESS_REVIEW, Object

logger = logging.getLogger(__name__)

FRESH = 60.0  # seconds
FORGET_ABOVE = 10_000  # Secrets

Answers = dict[tuple[str, str], tuple[float, bool]]


class Rights:
    """`clock` is monotonic."""

    def __init__(self, client: KubeClient, *, slipway_namespace: str, clock: Callable[[], float]) -> None:
        self._client, self._clock = client, clock
        self._activator = f"system:serviceaccount:{slipway_namespace}:{ACTIVATOR_SERVICE}"
        self._answers: Answers = {}

    async def activator_reads_keys(self, deployment: Object) -> bool | None:
        """None: it has no keys, or it can't be told."""
        secret = (deployment["spec"].get("access") or {}).get("apiKeysSecret")
        if not isinstance(secret, str):
            return None
        place, now = (deployment["metadata"]["namespace"], secret), self._clock()
        asked_at, answer = self._answers.get(place, (-FRESH, None))
        if answer is not None and now - asked_at < FRESH:
            return answer
        if (told := await self._ask(*place)) is None:
            return answer
        if len(self._answers) >= FORGET_ABOVE:
            self._answers.clear()
        self._answers[place] = now, told
        return told

    async def _ask(self, namespace: str, secret: str) -> bool | None:
        wish = {"namespace": namespace, "verb": "get", "resource": "secrets", "version": "v1", "name": secret}
        try:
            review = await self._client.create(
                {
                    "apiVersion": SUBJECT_ACCESS_REVIEW.api_version,
                    "kind": SUBJECT_ACCESS_REVIEW.name,
                    "metadata": {"name": ""},
                    "spec": {"user": self._activator, "groups": _groups(self._activator), "resourceAttributes": wish},
                }
            )
        except KubeError as error:
            logger.warning("Whether the activator may read the Secret %s/%s isn't known: %s", namespace, secret, error)
            return None
        allowed = (review.get("status") or {}).get("allowed")
        return allowed if isinstance(allowed, bool) else None


def _groups(account: str) -> list[str]:
    """Those of every ServiceAccount: rights may have been given to them all."""
    namespace = account.split(":")[2]
    return ["system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"]
