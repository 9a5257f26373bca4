"""Whether a request is admitted, before anything else is done for it: by its address, then by its API key.

It is the same while a model sleeps as when it runs. What isn't known is read from the API server, and a request that
can't be checked is refused.
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
from slipway.activator.shared.model_state import ModelState
from slipway.api.model_key import ModelKey
from slipway.kube.client import KubeClient
from slipway.objects.kinds import Object
from slipway.process.addresses import address_of


@dataclass(frozen=True)
class Authorization:
    """Of a request that is admitted."""

    owner: str | None = None  # of its key, if one was checked
    is_trusted: bool = True  # False: the model has keys, and none was verified, so errors don't say what pods report


class Authorizer:
    """Without `pods` and `keys`, a request that depends on them can't be checked here."""

    def __init__(self, pods: PodLookup | None = None, keys: ApiKeys | None = None) -> None:
        self._pods, self._keys = pods, keys

    @classmethod
    def of(cls, client: KubeClient, *, clock: Callable[[], float]) -> Authorizer:
        return cls(PodLookup(client, clock=clock), ApiKeys(client, clock=clock))

    async def authorize(self, model: ModelState, peer: str, head: RequestHead, *, client: Client) -> Authorization:
        """RefusedRequestError if it isn't admitted. `allowFrom` is about the peer; wrong keys count for the client."""
        if not model.rules.is_readable:
            raise RefusedRequestError(access_errors.UNREADABLE)
        if model.rules.allow_from is not None:
            await self._check_address(model.rules.allow_from, model.key, peer)
        return await self._check_key(model, client, head)

    async def close(self) -> None:
        for part in (self._pods, self._keys):
            if part:
                await part.close()

    # --- the address -------------------------------------------------------------------------------------------------

    async def _check_address(self, allowed: AllowFrom, key: ModelKey, peer: str) -> None:
        address = address_of(peer)
        if address_access.allows_address(allowed, address):
            return
        if address is None or not allowed.pods:
            raise RefusedRequestError(access_errors.NOT_FROM_HERE)
        pods = await self._pods_at(self._pods, str(address), key.namespace) if self._pods else None
        if pods is None:
            raise RefusedRequestError(access_errors.unknown_caller())
        if not address_access.allows_pods(allowed, pods, key.namespace):
            raise RefusedRequestError(access_errors.NOT_FROM_HERE)

    async def _pods_at(self, lookup: PodLookup, address: str, for_namespace: str) -> list[CallingPod] | None:
        """None: they can't be looked up now."""
        pods = await lookup.pods_at(address, for_namespace=for_namespace)
        if pods is None:
            return None
        found = await asyncio.gather(*(self._with_labels(lookup, pod) for pod in pods))
        return None if None in found else [each for each in found if each]

    async def _with_labels(self, lookup: PodLookup, pod: Object) -> CallingPod | None:
        metadata = pod["metadata"]
        if pod["spec"].get("hostNetwork"):  # its address is its node's, so it isn't admitted as a pod
            return CallingPod(metadata["namespace"], {}, {}, shares_address=True)
        labels = await lookup.labels_of(metadata["namespace"])
        return None if labels is None else CallingPod(metadata["namespace"], metadata.get("labels") or {}, labels)

    # --- the key -----------------------------------------------------------------------------------------------------

    async def _check_key(self, model: ModelState, client: Client, head: RequestHead) -> Authorization:
        rules = model.rules
        if rules.keys_secret is None:
            return Authorization()
        line = request_line.of(head)
        if not routes.needs_key(rules, line):
            return Authorization(is_trusted=False)
        key = api_key_format.key_of(head)
        if not key:
            raise RefusedRequestError(access_errors.NO_KEY)
        secret = SecretRef(model.key.namespace, rules.keys_secret)
        checked = await self._keys.check(secret, key, client=client.address) if self._keys else None
        if checked and checked.owner is not None:
            return Authorization(checked.owner)
        if checked and checked.is_wrong:
            error = access_errors.too_many_wrong_keys(checked.wait) if checked.wait else access_errors.WRONG_KEY
            raise RefusedRequestError(error)
        problem = checked.problem if checked else SecretProblem.UNREADABLE
        self._leave_to_guard(model, problem, wakes=routes.wakes(rules, line))
        return Authorization(is_trusted=False)

    def _leave_to_guard(self, model: ModelState, problem: SecretProblem | None, *, wakes: bool) -> None:
        """It isn't known here which keys are valid. The guard of a replica knows; without a replica, a wake is
        needed."""
        if model.replicas:
            return
        if problem is SecretProblem.MISSING:
            raise RefusedRequestError(access_errors.no_keys(model.rules.keys_secret or ""))
        if problem is SecretProblem.TOO_LARGE:
            raise RefusedRequestError(access_errors.keys_too_large(model.rules.keys_secret or ""))
        if problem is SecretProblem.LATER:
            raise RefusedRequestError(access_errors.keys_later())
        if not wakes:
            raise RefusedRequestError(access_errors.keys_unreadable())
