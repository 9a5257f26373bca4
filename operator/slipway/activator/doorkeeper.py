"""Who is let in, before anything else is done for a request: by the address that asks, then by the key that it shows.

It is the same at zero as when warm. What isn't known is asked of the API server, and what can't be told is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from slipway.activator import access, denials, first_line, paths
from slipway.activator.access import AllowFrom, SeenPod
from slipway.activator.clients import Client
from slipway.activator.demand import Deployment
from slipway.activator.deployments import Known
from slipway.activator.errors import RefusedError
from slipway.activator.http1.heads import RequestHead
from slipway.activator.keyring import Place, Problem
from slipway.activator.keys import Keys
from slipway.activator.lookups import Lookups
from slipway.kube.client import KubeClient
from slipway.objects.kinds import Object
from slipway.process.addresses import address_of


@dataclass(frozen=True)
class Admitted:
    """A request that may be served."""

    owner: str | None = None  # of its key, where one was checked
    is_trusted: bool = True  # or it may be told less: the deployment has keys, and no valid one has been shown


class Doorkeeper:
    """Without a client of the API server, pods and keys can't be told."""

    def __init__(self, lookups: Lookups | None = None, keys: Keys | None = None) -> None:
        self._lookups, self._keys = lookups, keys

    @classmethod
    def of(cls, client: KubeClient, *, clock: Callable[[], float]) -> Doorkeeper:
        return cls(Lookups(client, clock=clock), Keys(client, clock=clock))

    async def admit(self, known: Known, peer: str, head: RequestHead, *, client: Client) -> Admitted:
        """RefusedError for those who are not let in. `allowFrom` is about the peer, wrong keys are the client's."""
        if not known.rules.is_readable:
            raise RefusedError(denials.UNREADABLE)
        if known.rules.allow_from is not None:
            await self._by_address(known.rules.allow_from, known.deployment, peer)
        return await self._by_key(known, client, head)

    async def close(self) -> None:
        for part in (self._lookups, self._keys):
            if part:
                await part.close()

    # --- the address -------------------------------------------------------------------------------------------------

    async def _by_address(self, allowed: AllowFrom, deployment: Deployment, text: str) -> None:
        address = address_of(text)
        if access.allows_address(allowed, address):
            return
        if address is None or not allowed.pods:
            raise RefusedError(denials.NOT_FROM_HERE)
        pods = await self._pods_at(str(address), deployment.namespace)
        if pods is None:
            raise RefusedError(denials.unknown_caller())
        if not access.allows_pods(allowed, pods, deployment.namespace):
            raise RefusedError(denials.NOT_FROM_HERE)

    async def _pods_at(self, address: str, asked: str) -> list[SeenPod] | None:
        pods = await self._lookups.pods_at(address, asked=asked) if self._lookups else None
        if pods is None:
            return None
        seen = await asyncio.gather(*map(self._seen, pods))
        return None if None in seen else [each for each in seen if each]

    async def _seen(self, pod: Object) -> SeenPod | None:
        assert self._lookups
        metadata = pod["metadata"]
        if pod["spec"].get("hostNetwork"):  # whoever it is, it isn't let in as a pod
            return SeenPod(metadata["namespace"], {}, {}, shares_address=True)
        labels = await self._lookups.labels_of(metadata["namespace"])
        return None if labels is None else SeenPod(metadata["namespace"], metadata.get("labels") or {}, labels)

    # --- the key -----------------------------------------------------------------------------------------------------

    async def _by_key(self, known: Known, client: Client, head: RequestHead) -> Admitted:
        rules = known.rules
        if rules.keys_secret is None:
            return Admitted()
        asked = first_line.of(head)
        if not paths.needs_key(rules, asked):
            return Admitted(is_trusted=False)
        key = access.shown_key(head)
        if not key:
            raise RefusedError(denials.NO_KEY)
        place = Place(known.deployment.namespace, rules.keys_secret)
        checked = await self._keys.check(place, key, client=client.address) if self._keys else None
        if checked and checked.owner is not None:
            return Admitted(checked.owner)
        if checked and checked.is_wrong:
            raise RefusedError(denials.too_many_wrong_keys(checked.wait) if checked.wait else denials.WRONG_KEY)
        self._by_guard(known, checked.problem if checked else Problem.UNTOLD, wakes=paths.wakes(rules, asked))
        return Admitted(is_trusted=False)

    def _by_guard(self, known: Known, problem: Problem | None, *, wakes: bool) -> None:
        """Which keys are valid isn't known here. The guard of a replica will know; without one, it takes a wake."""
        if known.replicas:
            return
        if problem is Problem.MISSING:
            raise RefusedError(denials.no_keys(known.rules.keys_secret or ""))
        if problem is Problem.TOO_LARGE:
            raise RefusedError(denials.keys_too_large(known.rules.keys_secret or ""))
        if problem is Problem.LATER:
            raise RefusedError(denials.keys_later())
        if not wakes:
            raise RefusedError(denials.keys_untold())
