"""What `/info` reports as usage: what the pod has done so far, for the operator's accounts. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from slipway_runtime.control import Counts
from slipway_runtime.engines.engine import Work
from slipway_runtime.supervisor import exposition
from slipway_runtime.supervisor.phases import Moment
from slipway_runtime.supervisor.state import PodState

NO_LONGER_READY = {state.lower() for state in PodState} - {PodState.STARTING.lower(), PodState.READY.lower()}
FIELDS: Mapping[str, str] = {
    "busySeconds": "seconds with at least one request in flight",
    "readySeconds": "seconds in which the pod was ready",
    "requests": "requests that the engine was given and that are over, however they ended",
    "failedRequests": "those of them that failed through no fault of their client",
    "promptTokens": "tokens of prompts as the engine counts them, with those of the warm-up request",
    "outputTokens": "tokens of responses, likewise",
    "preemptions": "requests that lost their place in the KV cache; absent if the engine doesn't count them",
    "speculative": "`drafts`, `draftTokens` and `acceptedTokens` of speculative decoding; absent without drafts",
}
"""What each field means."""


def usage_of(counts: Counts, *, ready: float, scraped: str | None, work: Work) -> dict[str, object]:
    """`ready`: seconds; `scraped`: the engine's metrics, if there are any."""
    found: dict[str, object] = {
        "busySeconds": round(counts.busy, 3),
        "readySeconds": round(ready, 3),
        "requests": counts.ended,
        "failedRequests": counts.failed,
        "promptTokens": int(sum(exposition.totals(scraped, work.prompt_tokens))),
        "outputTokens": int(sum(exposition.totals(scraped, work.output_tokens))),
    }
    if preempted := exposition.totals(scraped, work.preempted):
        found["preemptions"] = int(sum(preempted))
    speculated = exposition.totals(scraped, work.speculated)
    if len(speculated) == 3 and speculated[0]:
        found["speculative"] = dict(zip(("drafts", "draftTokens", "acceptedTokens"), map(int, speculated), strict=True))
    return found


def ready_seconds(moments: Iterable[Moment], now: float) -> float:
    """Returns for how long the pod was ready; `now` is in seconds since the process started, as the moments are."""
    reached = {moment.name: moment.seconds for moment in moments}
    since = reached.get(PodState.READY.lower())
    if since is None:
        return 0.0
    return min((at for name, at in reached.items() if name in NO_LONGER_READY), default=now) - since
