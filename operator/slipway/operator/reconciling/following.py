"""Which models the activator lets follow times, as far as the operator has to say it in their status."""

from __future__ import annotations

from datetime import datetime, timedelta

from slipway.api.model_key import ModelKey
from slipway.kube.store import Store
from slipway.objects.kinds import LLM_DEPLOYMENT
from slipway.objects.times import is_near
from slipway.observing.figures import Figures
from slipway.observing.following import those_that_follow

KNOWN_FOR = timedelta(seconds=10)  # since it is computed from all LLMDeployments


class Following:
    """Lives as long as the store, which has figures of each LLMDeployment."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: frozenset[ModelKey] = frozenset()
        self._known_at: datetime | None = None

    def may(self, key: ModelKey, now: datetime) -> bool:
        """False for a model that doesn't want to, too."""
        if not self._wants(key):
            return False
        if self._known_at is None or not is_near(self._known_at, now, KNOWN_FOR):
            keys = (ModelKey(*place) for place in self._store.places(LLM_DEPLOYMENT))
            self._known = those_that_follow({each: since for each in keys if (since := self._wants(each))})
            self._known_at = now
        return key in self._known

    def _wants(self, key: ModelKey) -> str:
        figures: Figures | None = self._store.brief(LLM_DEPLOYMENT, key.name, key.namespace)
        return figures.wants_times if figures else ""
