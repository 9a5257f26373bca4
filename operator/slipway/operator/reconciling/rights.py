"""Whether the activator may read the Secret of a deployment's API keys, as the API server says.

Nothing tells when rights change, so it is asked again when a deployment is looked at and the answer is old. Each
activator has a ServiceAccount with the name of its Service, as the chart has it, and rights of its own.
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

Answers = dict[tuple[str, str, str], tuple[float, bool]]


class Rights:
    """`clock` is monotonic."""

    def __init__(self, client: KubeClient, *, slipway_namespace: str, clock: Callable[[], float]) -> None:
        self._client, self._home, self._clock = client, slipway_namespace, clock
        self._answers: Answers = {}

    async def activator_reads_keys(self, deployment: Object, activator: str) -> bool | None:
        """None: it has no keys, or it can't be told. `activator`: the Service of the one that has its port."""
        secret = (deployment["spec"].get("access") or {}).get("apiKeysSecret")
        if not isinstance(secret, str):
            return None
        question, now = (activator, deployment["metadata"]["namespace"], secret), self._clock()
        asked_at, answer = self._answers.get(question, (-FRESH, None))
        if answer is not None and now - asked_at < FRESH:
            return answer
        if (told := await self._ask(*question)) is None:
            return answer
        if len(self._answers) >= FORGET_ABOVE:
            self._answers.clear()
        self._answers[question] = now, told
        return told

    async def _ask(self, activator: str, namespace: str, secret: str) -> bool | None:
        account = ServiceAccount(self._home, activator)
        try:
            return await self._client.may_get(SECRET, secret, namespace, account=account)
        except KubeError as error:
            logger.warning("Whether %s may read the Secret %s/%s isn't known: %s", activator, namespace, secret, error)
            return None
