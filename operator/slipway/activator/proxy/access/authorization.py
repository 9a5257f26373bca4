"""Who is let in, before anything else is done for a request: by the address that asks, then by the key that it shows.

It is the same at zero as when warm. What isn't known is asked of the API server, and what can't be told is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from slipway.activator.http1.heads import RequestHead
from slipway.activator.proxy import access_errors, routes
from slipway.activator.proxy.access import address_access, api_key_format
from slipway.activator.proxy.access.address_access import CallingPod
from slipway.activator.proxy.access.api_key_cache import SecretProblem, SecretRef
from slipway.activator.proxy.access.api_keys import ApiKeys
from slipway.activator.proxy.access.pod_lookup import PodLookup
from slipway.activator.proxy.client_identity import Client
from slipway.activator.proxy.error_responses import RefusedRequestError
from slipway.activator.shared import request_line
from slipway.activator.shared.allow_from import AllowFrom
from slipway.activator.shared.model_key import ModelKey
from slipway.activator.shared.model_state import ModelState
from slipway.kube.client import KubeClient
from slipway.kube.kinds import Object
from slipway.process.addresses import address_of


@dataclass(frozen=True)
class Authorization:
    """A request that may be served."""

    owner: str | None = None  # of its key, where one was checked
    is_trusted: bool = True  # or it may be told less: the deployment has keys, and no valid one has been shown


class Authorizer:
    """Without a client of the API server, pods and keys can't be told."""

    def __init__(self, lookups: PodLookup | None = None, keys: ApiKeys | None = None) -> None:
        self._lookups, self._keys = lookups, keys

    @classmethod
    def of(cls, client: KubeClient, *, clock: Callable[[], float]) -> Authorizer:
        return cls(PodLookup(client, clock=clock), ApiKeys(client, clock=clock))

    async def admit(self, known: ModelState, peer: str, head: RequestHead, *, client: Client) -> Authorization:
        """RefusedError for those who are not let in. `allowFrom` is about the peer, wrong keys are the client's."""
        if not known.rules.is_readable:
            raise RefusedRequestError(access_errors.UNREADABLE)
        if known.rules.allow_from is not None:
            await self._by_address(known.rules.allow_from, known.deployment, peer)
        return await self._by_key(known, client, head)

    async def close(self) -> None:
        for part in (self._lookups, self._keys):
            if part:
                await part.close()

    # --- the address -------------------------------------------------------------------------------------------------

    async def _by_address(self, allowed: AllowFrom, deployment: ModelKey, text: str) -> None:
        address = address_of(text)
        if address_access.allows_address(allowed, address):
            return
        if address is None or not allowed.pods:
            raise RefusedRequestError(access_errors.NOT_FROM_HERE)
        pods = await self._pods_at(str(address), deployment.namespace)
        if pods is None:
            raise RefusedRequestError(access_errors.unknown_caller())
        if not address_access.allows_pods(allowed, pods, deployment.namespace):
            raise RefusedRequestError(access_errors.NOT_FROM_HERE)

    async def _pods_at(self, address: str, asked: str) -> list[CallingPod] | None:
        pods = await self._lookups.pods_at(address, asked=asked) if self._lookups else None
        if pods is None:
            return None
        seen = await asyncio.gather(*map(self._seen, pods))
        return None if None in seen else [each for each in seen if each]

    async def _seen(self, pod: Object) -> CallingPod | None:
        assert self._lookups
        metadata = pod["metadata"]
        if pod["spec"].get("hostNetwork"):  # whoever it is, it isn't let in as a pod
            return CallingPod(metadata["namespace"], {}, {}, shares_address=True)
        labels = await self._lookups.labels_of(metadata["namespace"])
        return None if labels is None else CallingPod(metadata["namespace"], metadata.get("labels") or {}, labels)

    # --- the key -----------------------------------------------------------------------------------------------------

    async def _by_key(self, known: ModelState, client: Client, head: RequestHead) -> Authorization:
        rules = known.rules
        if rules.keys_secret is None:
            return Authorization()
        asked = request_line.of(head)
        if not routes.needs_key(rules, asked):
            return Authorization(is_trusted=False)
        key = api_key_format.shown_key(head)
        if not key:
            raise RefusedRequestError(access_errors.NO_KEY)
        place = SecretRef(known.deployment.namespace, rules.keys_secret)
        checked = await self._keys.check(place, key, client=client.address) if self._keys else None
        if checked and checked.owner is not None:
            return Authorization(checked.owner)
        if checked and checked.is_wrong:
            raise RefusedRequestError(
                access_errors.too_many_wrong_keys(checked.wait) if checked.wait else access_errors.WRONG_KEY
            )
        self._by_guard(known, checked.problem if checked else SecretProblem.UNTOLD, wakes=routes.wakes(rules, asked))
        return Authorization(is_trusted=False)

    def _by_guard(self, known: ModelState, problem: SecretProblem | None, *, wakes: bool) -> None:
        """Which keys are valid isn't known here. The guard of a replica will know; without one, it takes a wake."""
        if known.replicas:
            return
        if problem is SecretProblem.MISSING:
            raise RefusedRequestError(access_errors.no_keys(known.rules.keys_secret or ""))
        if problem is SecretProblem.TOO_LARGE:
            raise RefusedRequestError(access_errors.keys_too_large(known.rules.keys_secret or ""))
        if problem is SecretProblem.LATER:
            raise RefusedRequestError(access_errors.keys_later())
        if not wakes:
            raise RefusedRequestError(access_errors.keys_untold())
