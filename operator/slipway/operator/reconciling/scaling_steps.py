"""Asks an activator which time was highest, compared with its target, when the number of a model's replicas changed:
one request for each change.

Without a response, the change is reported without a time; nothing waits for it, and nothing is tried again later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from slipway.api.model_key import ModelKey
from slipway.objects.kinds import Object
from slipway.observing.scaling_step import PAGE, Followed, Step, as_status, followed_in
from slipway.operator.reconciling.pod_info import get_page
from slipway.process.flags import MANAGEMENT_PORT

AT_ONCE = 8  # requests that wait for a response

Fetch = Callable[[str], Awaitable[bytes | None]]
get_followed = partial(get_page, port=MANAGEMENT_PORT, path=PAGE)


class ScalingSteps:
    """`changed` is called with the key of a model whose step is known; `fetch` gets the address of an activator."""

    def __init__(self, *, changed: Callable[[ModelKey], None], fetch: Fetch = get_followed) -> None:
        self._changed, self._fetch = changed, fetch
        self._found: dict[ModelKey, tuple[str, Object]] = {}  # with the uid of the LLMDeployment
        self._asking: dict[ModelKey, asyncio.Task[None]] = {}
        self._room = asyncio.Semaphore(AT_ONCE)

    def last(self, key: ModelKey, uid: str) -> Object | None:
        """`status.lastScaled`, of the last step that this replica has seen; None: it has seen none of this object."""
        of, found = self._found.get(key) or ("", None)
        return found if of == uid else None

    def ask(self, key: ModelKey, uid: str, step: Step, addresses: Sequence[str]) -> None:
        self._stop(key)
        self._asking[key] = asyncio.create_task(self._ask(key, uid, step, addresses), name=f"scaling step of {key}")

    def forget(self, key: ModelKey) -> None:
        self._found.pop(key, None)
        self._stop(key)

    def start_over(self) -> None:
        """Another leader may have seen later steps."""
        for key in {*self._found, *self._asking}:
            self.forget(key)

    async def run(self) -> None:
        """Until it is cancelled: then no one is asked any more."""
        try:
            await asyncio.Event().wait()
        finally:
            self.start_over()

    def _stop(self, key: ModelKey) -> None:
        if task := self._asking.pop(key, None):
            task.cancel()

    async def _ask(self, key: ModelKey, uid: str, step: Step, addresses: Sequence[str]) -> None:
        self._found[key] = uid, as_status(step, await self._followed(key, addresses))
        self._changed(key)

    async def _followed(self, key: ModelKey, addresses: Sequence[str]) -> Followed | None:
        """All activators measure the same, so the first that knows it is enough."""
        for address in addresses:
            async with self._room:
                page = await self._fetch(address)
            if page is not None and (followed := followed_in(page, key)):
                return followed
        return None
