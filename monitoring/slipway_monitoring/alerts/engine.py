"""Alerts about what an engine does with its requests.

A backlog delays work, and a preemption destroys it: so preemptions are the more severe of the two.
"""

from __future__ import annotations

from slipway_monitoring.promql import WHO, largest, mean, replicas, total, while_
from slipway_monitoring.rule import Alert, Condition, Parameter

_CAPACITY = f"{largest('slipway_planned_max_concurrency')} * {replicas('ready')}"


def _at_capacity(window: str) -> str:
    """All replicas have as many requests as they are planned for."""
    running = total(f"avg_over_time(slipway:requests_running[{window}])")
    return f"{running} >= ${{full}} * {_CAPACITY} > 0"


_WAITING = total("min_over_time(slipway:requests_waiting[${window}])")
_QUEUE = total("avg_over_time(slipway:requests_waiting[${window}])")
_EARLIER = total("avg_over_time(slipway:requests_waiting[${window}] offset ${window})")
BATCH_SATURATED = Alert(
    name="SlipwayBatchSaturated",
    meaning="The engines compute as many requests at a time as planned, and requests wait throughout `window`, on "
    "average not less than `shrunk` times as many as in the `window` before.",
    severity="warning",
    lasting="10m",
    parameters=(
        Parameter(name="waiting", default=1, meaning="requests that wait all the time, at least."),
        Parameter(name="full", default=0.9, meaning="the share of the planned concurrency that counts as all of it."),
        Parameter(name="shrunk", default=0.5, meaning="the share of the earlier queue that counts as a way out of it."),
        Parameter(name="window", default="5m", meaning="the time that is looked at."),
    ),
    summary=f"{WHO} has more requests than its batches hold",
    description=f"The replicas of {WHO} compute as many requests at a time as planned, and at least "
    "{{ $value }} more wait for their turn.",
    conditions=(
        Condition(
            expression=while_(f"{_WAITING} >= ${{waiting}}", _at_capacity("${window}"))
            + f"\nunless ({_QUEUE} < ${{shrunk}} * {_EARLIER})"
        ),
    ),
)

PREEMPTING = Alert(
    name="SlipwayPreempting",
    meaning="Engines take the KV cache from running requests, which are then computed again from the start.",
    severity="critical",
    lasting="5m",
    parameters=(Parameter(name="perSecond", default=0.05, meaning="preemptions per second, more than."),),
    summary=f"{WHO} computes requests twice, for want of KV cache",
    description=f"The KV cache of {WHO} is full: its engines interrupt "
    '{{ $value | printf "%.2f" }} requests per second and compute them again from the start.',
    conditions=(Condition(expression=total("slipway:preemptions:rate5m") + " > ${perSecond}"),),
)

_HITS = mean("slipway:prefix_cache_hits:ratio5m")
_USUAL_HITS = mean("avg_over_time(slipway:prefix_cache_hits:ratio5m[${history}] offset ${recent})")
PREFIX_HITS_COLLAPSED = Alert(
    name="SlipwayPrefixHitsCollapsed",
    meaning="The share of prompts that is found in the KV cache is less than `factor` of the average of the `history` "
    "before, which was at least `usual`.",
    severity="warning",
    lasting="15m",
    parameters=(
        Parameter(name="factor", default=0.5, meaning="the share of the average that is too little."),
        Parameter(name="usual", default=0.2, meaning="an average below this doesn't count."),
        Parameter(name="recent", default="1h", meaning="the latest time, which isn't part of the average."),
        Parameter(name="history", default="1d", meaning="the time of the average."),
    ),
    summary=f"Prompts of {WHO} are no longer found in its KV cache",
    description=f"Only {{{{ $value | humanizePercentage }}}} of the tokens of prompts to {WHO} are found in the KV "
    "cache, much less than usual. All others are computed again, which delays first tokens.",
    conditions=(
        Condition(expression=while_(f"{_HITS} < ${{factor}} * {_USUAL_HITS}", f"{_USUAL_HITS} >= ${{usual}}")),
    ),
)

_ACCEPTED = mean("avg_over_time(slipway:speculative_acceptance:ratio5m[${window}])")
SPECULATION_INEFFECTIVE = Alert(
    name="SlipwaySpeculationIneffective",
    meaning="Too few speculated tokens are accepted, so that speculation costs more than it saves.",
    severity="info",
    lasting="30m",
    parameters=(
        Parameter(name="acceptance", default=0.4, meaning="the share of accepted tokens, less than."),
        Parameter(name="window", default="15m", meaning="the time of the average."),
    ),
    summary=f"Speculative decoding doesn't pay off for {WHO}",
    description=f"Of the tokens that {WHO} speculates, only {{{{ $value | humanizePercentage }}}} are accepted.",
    conditions=(Condition(expression=f"{_ACCEPTED} < ${{acceptance}}"),),
)

_TOKENS = total("avg_over_time(slipway:output_tokens:rate5m[${window}])")
_PLANNED = f"{largest('slipway_planned_decode_tokens_per_second')} * {replicas('ready')}"
THROUGHPUT_BELOW_PLAN = Alert(
    name="SlipwayThroughputBelowPlan",
    meaning="Under full load, the engines compute less than `factor` of the output tokens per second of the plan.",
    severity="warning",
    lasting="15m",
    parameters=(
        Parameter(name="factor", default=0.5, meaning="the share of the plan that is too little."),
        Parameter(name="full", default=0.9, meaning="the share of the planned concurrency that is a full load."),
        Parameter(name="window", default="10m", meaning="the time of the averages."),
    ),
    summary=f"{WHO} is much slower than planned",
    description=f"With as many requests as planned, {WHO} computes {{{{ $value | humanize }}}} output tokens per "
    "second, much fewer than planned.",
    conditions=(Condition(expression=while_(f"{_TOKENS} < ${{factor}} * {_PLANNED}", _at_capacity("${window}"))),),
)
ALERTS = (PREEMPTING, BATCH_SATURATED, PREFIX_HITS_COLLAPSED, THROUGHPUT_BELOW_PLAN, SPECULATION_INEFFECTIVE)
