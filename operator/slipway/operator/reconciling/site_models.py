"""Watches a site's own models: ConfigMaps with the label slipway.dev/models in Slipway's namespace.

They have a cache of their own, since that of the LLMDeployments has one watch for each kind, which for ConfigMaps is
that of the port tables.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from slipway.api.names import MODELS_LABEL
from slipway.kube.metrics import WatchMetrics
from slipway.kube.store import pruned
from slipway.kube.watch import Watch
from slipway.kube.watching import Watching, WatchingClient
from slipway.models.catalogue import Catalogue
from slipway.models.site import Site, site_of
from slipway.models.sources import EMPTY
from slipway.objects.kinds import CONFIG_MAP
from slipway.process.metrics import MetricsRegistry

logger = logging.getLogger(__name__)

CHANGED = "changed"
LARGEST = 1 << 20  # characters of one ConfigMap: Kubernetes stores no larger ones


class SiteModels:
    """`concern`: queues all LLMDeployments, any of which may name a model that has changed."""

    def __init__(self, namespace: str, *, client: WatchingClient, concern: Callable[[], None]) -> None:
        self._concern = concern
        self._site = Site(EMPTY)
        self._watching = Watching(
            [
                Watch(
                    CONFIG_MAP,
                    lambda _: [CHANGED],
                    f"{MODELS_LABEL}=true",
                    namespaces=(namespace,),
                    keep=pruned,
                    largest=LARGEST,
                )
            ],
            client=client,
            add=lambda _: self._read(),
            metrics=WatchMetrics(MetricsRegistry()),  # not exported: the operator's are about the caches of models
        )

    async def run(self) -> None:
        await self._watching.run()

    @property
    def catalogue(self) -> Catalogue:
        """Another object after each change."""
        return self._site.catalogue

    def _read(self) -> None:
        """If it fails, the last one stays: no LLMDeployment waits for it."""
        try:
            before, self._site = self._site, site_of(self._watching.store.all(CONFIG_MAP))
        except Exception:
            logger.exception("The ConfigMaps of models can't be read; please report this bug")
            return
        for problem in self._site.problems:
            if problem not in before.problems:
                logger.warning("%s", problem)
        self._concern()
