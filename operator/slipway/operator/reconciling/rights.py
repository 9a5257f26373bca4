"""Whether the activator may read the Secret with an LLMDeployment's API keys, by the API server's access reviews.

No watch reports a change of rights, so a reconcile queries them again when the last result is old. Each activator has a
ServiceAccount with the name of its Service, as in the chart, and rights of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from slipway.kube.client import KubeClient, ServiceAccount
from slipway.kube.errors import KubeError
from slipway.objects.kinds import SECRET, Object

logger = logging.getLogger(__name__)

FRESH = 60.0  # seconds
FORGET_ABOVE = 10_000  # Secrets

Reviews = dict[tuple[str, str, str], tuple[float, bool]]


class Rights:
    """`clock` is monotonic."""

    def __init__(self, client: KubeClient, *, slipway_namespace: str, clock: Callable[[], float]) -> None:
        self._client, self._home, self._clock = client, slipway_namespace, clock
        self._reviews: Reviews = {}

    async def activator_reads_keys(self, deployment: Object, activator: str) -> bool | None:
        """None: it has no keys, or the rights are unknown. `activator`: the Service of the one that has its port."""
        secret = (deployment["spec"].get("access") or {}).get("apiKeysSecret")
        if not isinstance(secret, str):
            return None
        question, now = (activator, deployment["metadata"]["namespace"], secret), self._clock()
        reviewed_at, answer = self._reviews.get(question, (-FRESH, None))
        if answer is not None and now - reviewed_at < FRESH:
            return answer
        if (allowed := await self._review(*question)) is None:
            return answer
        if len(self._reviews) >= FORGET_ABOVE:
            self._reviews.clear()
        self._reviews[question] = now, allowed
        return allowed

    async def _review(self, activator: str, namespace: str, secret: str) -> bool | None:
        account = ServiceAccount(self._home, activator)
        try:
            return await self._client.may_get(SECRET, secret, namespace, account=account)
        except KubeError as error:
            logger.warning(
                "Could not find out whether %s may read the Secret %s/%s: %s", activator, namespace, secret, error
            )
            return None
