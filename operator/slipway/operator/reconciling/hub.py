"""Asks the Hugging Face Hub about models, where the installation allows it, and remembers what it answers.

A reconcile never waits for it: it notes which file it lacks, and is queued again when the file, or the reason why there
is none, is here. A failure is tried again after a pause that doubles each time. Since failures are in memory only, a
restart asks about all of them again: `hub_queue` bounds how many wait, and how fast they follow each other.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import aiohttp

from slipway.api.model_key import ModelKey
from slipway.models.catalogue import hub_name
from slipway.operator.reconciling.asking import MAIN, Answer, is_commit, is_on_hub
from slipway.operator.reconciling.hub_files import HubFiles
from slipway.operator.reconciling.hub_queue import MOST, MOST_OF_A_NAMESPACE, HubQueue, Pace, Wanted

logger = logging.getLogger(__name__)

AT_ONCE = 4
MOST_KEPT = 2_000  # answers
AGAIN_AFTER = 3_600.0  # seconds: a branch may have moved
AFTER_A_FAILURE, LONGEST_PAUSE = 300.0, 3_600.0  # seconds
JITTER = 0.2  # of a pause, at most


class _Kept(NamedTuple):
    answer: Answer
    until: float  # on the clock; afterwards it is fetched again, and this one stays meanwhile
    failures: int  # one after another
    namespace: str  # of the first LLMDeployment that wanted it


class Hub:
    """`endpoint`: https://HOST; `redirects_to`: further hosts that it may send us to; `changed`: queues a model."""

    def __init__(
        self,
        endpoint: str,
        *,
        changed: Callable[[ModelKey], object],
        redirects_to: Iterable[str] = (),
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._changed, self._tls, self._clock, self._jitter = changed, tls, clock, jitter
        self._files = HubFiles(endpoint, redirects_to, self._is_busy)
        self._kept: dict[Wanted, _Kept] = {}  # the oldest is first
        self._queue, self._pace = HubQueue(), Pace()
        self._has_more = asyncio.Event()
        self._answers: Mapping[Wanted, Answer] = {}

    @property
    def answers(self) -> Mapping[Wanted, Answer]:
        """All; another object after each change."""
        return self._answers

    def want(self, key: ModelKey, uri: str, revision: str | None) -> str:
        """Notes that this LLMDeployment lacks what the Hub may know of its model. Returns why the Hub isn't asked yet;
        empty: it is, or has answered."""
        wanted = hub_name(uri), revision or MAIN
        kept = self._kept.get(wanted)
        if not is_on_hub(uri) or (kept and self._clock() < kept.until):
            return ""
        if self._queue.add(key, wanted):
            self._has_more.set()
            return ""
        return (
            f"The Hub is asked about {wanted[0]} later, because too many models wait for its answers: at most "
            f"{MOST_OF_A_NAMESPACE} of a namespace may, and {MOST} in all."
        )

    def forget(self, key: ModelKey) -> None:
        """The LLMDeployment is gone."""
        self._queue.forget(key)

    async def run(self) -> None:
        connector = aiohttp.TCPConnector(ssl=self._tls or True, limit=AT_ONCE)
        async with (
            aiohttp.ClientSession(connector=connector, trust_env=True) as session,
            asyncio.TaskGroup() as group,
        ):
            for _ in range(AT_ONCE):
                group.create_task(self._work(session))

    async def _work(self, session: aiohttp.ClientSession) -> None:
        while True:
            wanted = await self._next()
            try:
                answer = await self._files.answer(session, *wanted)
            except Exception:
                logger.exception("The config of %s could not be fetched; please report this bug", wanted[0])
                answer = Answer(None, f"The config.json of {wanted[0]} could not be read; please report this bug.")
            self._keep(wanted, answer)

    async def _next(self) -> Wanted:
        while (wanted := self._queue.take()) is None:
            self._has_more.clear()
            await self._has_more.wait()
        await asyncio.sleep(self._pace.pause(self._clock(), self._jitter()))
        return wanted

    def _is_busy(self, seconds: float) -> None:
        logger.info("The Hub is busy: it is asked about nothing for %.0f seconds", seconds)
        self._pace.wait_until(self._clock() + seconds)

    # --- what it has answered ---------------------------------------------------------------------------------------

    def _keep(self, wanted: Wanted, answer: Answer) -> None:
        before = self._kept.pop(wanted, None)
        concerned, have_a_place = self._queue.done(wanted)
        namespace = before.namespace if before else next((key.namespace for key in concerned), "")
        failures = 0 if answer.facts else (before.failures if before else 0) + 1
        self._kept[wanted] = _Kept(answer, self._clock() + self._lasts(wanted, failures), failures, namespace)
        if answer.problem and not (before and before.answer == answer):
            logger.info("%s", answer.problem)
        self._forget_some()
        self._answers = {each: kept.answer for each, kept in self._kept.items()}
        for key in (*concerned, *have_a_place):
            self._changed(key)

    def _lasts(self, wanted: Wanted, failures: int) -> float:
        """In seconds."""
        if not failures:
            return float("inf") if is_commit(wanted[1]) else AGAIN_AFTER
        pause = min(LONGEST_PAUSE, AFTER_A_FAILURE * 2.0 ** min(failures - 1, 10))
        return pause * (1 + JITTER * self._jitter())

    def _forget_some(self) -> None:
        """The oldest of the namespace that has the most: it can't push out what others have."""
        while len(self._kept) > MOST_KEPT:
            [(most, _)] = Counter(kept.namespace for kept in self._kept.values()).most_common(1)
            del self._kept[next(each for each, kept in self._kept.items() if kept.namespace == most)]
