"""Watches a site's own models: ConfigMaps with the label slipway.dev/models in Slipway's namespace.

They have a cache of their own, since that of the LLMDeployments has one watch for each kind, which for ConfigMaps is
that of the port tables.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

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
PATIENCE = 30.0  # seconds
SETTLES_IN = 0.2  # seconds: a list brings all ConfigMaps at once
LARGEST = 1 << 20  # characters of one ConfigMap: Kubernetes stores no larger ones


class SiteModels:
    """`concern`: queues all LLMDeployments, any of which may name a model that has changed."""

    def __init__(self, namespace: str, *, client: WatchingClient, concern: Callable[[], None]) -> None:
        self._concern = concern
        self._site = Site(EMPTY)
        self._changed, self._is_read = asyncio.Event(), asyncio.Event()
        self.watching = Watching(
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
            add=lambda _: self.changed(),
            metrics=WatchMetrics(MetricsRegistry()),  # not exported: the operator's are about the caches of models
        )

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.watching.run())
            group.create_task(self.follow())

    async def until_read(self) -> None:
        """The first plan of a new leader must not lack them: it may be another one."""
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await self.watching.until_filled()
                if any(self.watching.store.places(CONFIG_MAP)):
                    await self._is_read.wait()

    @property
    def catalogue(self) -> Catalogue:
        """Another object after each change."""
        return self._site.catalogue

    def changed(self) -> None:
        self._changed.set()

    async def follow(self) -> None:
        """Reads them after each change."""
        while True:
            await self._changed.wait()
            await asyncio.sleep(SETTLES_IN)
            self._changed.clear()
            try:
                await self._read()
            except Exception:  # the last one stays: no LLMDeployment waits for it
                logger.exception("The ConfigMaps of models can't be read; please report this bug")

    async def _read(self) -> None:
        """In a thread, as a large catalogue takes longer than the operator's lease may wait."""
        site = await asyncio.to_thread(site_of, self.watching.store.all(CONFIG_MAP))
        for problem in site.problems:
            if problem not in self._site.problems:
                logger.warning("%s", problem)
        self._site = site
        self._is_read.set()
        self._concern()
