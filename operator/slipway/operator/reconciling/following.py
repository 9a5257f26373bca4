"""Which models the activator lets follow times, as far as the operator has to say it in their status."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from slipway.api.model_key import ModelKey
from slipway.kube.store import Store
from slipway.objects.kinds import LLM_DEPLOYMENT
from slipway.objects.times import is_near
from slipway.observing.figures import Figures
from slipway.observing.following import OF_NAMESPACE, share_of, those_that_follow

KNOWN_FOR = timedelta(seconds=10)  # since it is computed from all LLMDeployments


class Following:
    """Lives as long as the store, which has figures of each LLMDeployment. `changed`: queues a model for which another
    one's coming or going has changed what its status says."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.changed: Callable[[ModelKey], object] = lambda _key: None
        self._wanting: Mapping[ModelKey, str] = {}
        self._known: frozenset[ModelKey] = frozenset()
        self._known_at: datetime | None = None
        self.share = OF_NAMESPACE  # how many of a namespace may

    def may(self, key: ModelKey, now: datetime) -> bool:
        """False for a model that doesn't want to, too, or that is gone."""
        is_old = self._known_at is not None and not is_near(self._known_at, now, KNOWN_FOR)
        if self._wants(key) != self._wanting.get(key, "") or (is_old and key in self._wanting):
            self._compute()
            self._known_at = now
        return key in self._known

    def _compute(self) -> None:
        keys = (ModelKey(*place) for place in self._store.places(LLM_DEPLOYMENT))
        before, known, share = self._wanting, self._known, self.share
        self._wanting = {each: since for each in keys if (since := self._wants(each))}
        self._known, self.share = those_that_follow(self._wanting), share_of(self._wanting)
        for each in self._wanting.keys() & before.keys():
            has_changed = (each in known) != (each in self._known)
            if has_changed or (each not in self._known and share != self.share):
                self.changed(each)

    def _wants(self, key: ModelKey) -> str:
        figures: Figures | None = self._store.brief(LLM_DEPLOYMENT, key.name, key.namespace)
        return figures.wants_times if figures else ""
