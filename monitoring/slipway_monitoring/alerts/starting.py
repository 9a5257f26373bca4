"""Alerts about starts: requests that wait for one, starts that fail, starts that take too long."""

from __future__ import annotations

from slipway_monitoring.promql import WHO, growth, increased, largest, total, while_
from slipway_monitoring.rule import Alert, Condition, Parameter

START_FAILURES = (
    *("BadEngineArguments", "PodConfigError", "ModelNotFound", "ModelAccessDenied", "ModelDownloadFailed"),
    *("ModelCorrupt", "UnsupportedArchitecture", "QuantizationMismatch", "ContextTooLong", "HostOutOfMemory"),
    *("DriverMismatch", "GpuBusy", "GpuUnhealthy", "StartTimeout", "EngineCrashed", "CrashLoop"),
)
"""Reasons for which containers end before they have served; an image that can't be pulled ends none."""

_FAILING = 'reason=~"' + "|".join(START_FAILURES) + '"'
_FAILURES = growth(f"slipway_pod_failures_total{{{_FAILING}}}", "${window}")
_LAST_FAILURE = "slipway_last_pod_failure_timestamp_seconds"
_OLDEST = largest("slipway_activator_oldest_hold_seconds")
HELD_TOO_LONG = Alert(
    name="SlipwayRequestsHeldTooLong",
    meaning="A request has waited for a replica for longer than `seconds`, and for longer than `factor` times the "
    "model's expected cold start. A `hold.timeout` of its own that ends sooner refuses the request instead, which "
    "SlipwayAvailabilityBudgetBurning counts.",
    severity="critical",
    lasting="30s",
    parameters=(
        Parameter(name="seconds", default=60, meaning="the least wait that counts, in seconds."),
        Parameter(name="factor", default=1.5, meaning="how many expected cold starts are too long."),
    ),
    summary=f"Requests to {WHO} have waited for a replica for {{{{ $value | humanizeDuration }}}}",
    description=f"The oldest request that the activator holds for {WHO} has waited for "
    "{{ $value | humanizeDuration }}, longer than a start of this model is expected to take.",
    conditions=(
        Condition(
            expression=f"{_OLDEST} > ${{seconds}}\n"
            f"unless (${{factor}} * {largest('slipway_expected_cold_start_seconds')} >= {_OLDEST})"
        ),
    ),
)

_IS_WAKING = largest('slipway_llmdeployment_state{state="Waking"}') + " > 0"

_FAILED_WAKES, _FAILED_LATELY, _FAILED_BEFORE = (
    increased('slipway_wakes_total{result="failed"}', window) for window in ("${window}", "${recent}", "${history}")
)
_GOOD_WAKES, _GOOD_BEFORE = (
    increased('slipway_wakes_total{result="ready"}', window) for window in ("${window}", "${history}")
)
_LAST_FAILED, _LAST_GOOD = (
    largest(f'max_over_time(slipway_last_wake_timestamp_seconds{{result="{each}"}}[${{window}}])')
    for each in ("failed", "ready")
)
_FAILS_OFTEN = while_(
    f"{_FAILED_BEFORE} > 1",
    f"{_FAILED_BEFORE} / ({_FAILED_BEFORE} + {_GOOD_BEFORE}) >= ${{share}}",
    f"{_LAST_FAILED} > {_LAST_GOOD}\nor {_FAILED_LATELY} > 0",
)
_FAILS_NOW = f"{largest('slipway_wakes_failed_in_a_row')} > 1"  # however many starts have succeeded before
_OVERCOME = f"{_GOOD_WAKES} > 0\nunless ({_FAILS_OFTEN})\nunless ({_FAILS_NOW})"
_IS_RETRIED = while_(f"{_FAILED_BEFORE} < 2", _IS_WAKING, f"{_FAILED_LATELY} > 0")
WAKE_FAILING = Alert(
    name="SlipwayWakeFailing",
    meaning="At least `failures` starts from zero have failed within `window`, and none has succeeded; or some have, "
    "but the last two have failed; or at least two starts and `share` of all have failed within `history`, and the "
    "last one did, or another one less than `recent` ago. A first failure that is tried again isn't reported before "
    "that has ended, or has taken `recent`.",
    severity="critical",
    lasting="1m",
    parameters=(
        Parameter(name="failures", default=1, meaning="failed starts, at least."),
        Parameter(name="window", default="30m", meaning="the time in which they are counted."),
        Parameter(name="share", default=0.5, most=1, meaning="of all starts, if some have succeeded."),
        Parameter(name="history", default="6h", meaning="the time in which all starts are counted."),
        Parameter(
            name="recent",
            default="5m",
            meaning="how long after a failure, if another start is on its way or has succeeded.",
        ),
    ),
    summary=f"{WHO} doesn't wake",
    description=f"Starts of {WHO} from zero that have failed within ${{window}}: {{{{ $value }}}}. None has succeeded "
    "in that time, or the last two have failed, or at least {{ ${share} | humanizePercentage }} of those within "
    "${history} have.",
    conditions=(
        Condition(expression=f"{_FAILED_WAKES} >= ${{failures}}\nunless ({_OVERCOME})\nunless ({_IS_RETRIED})"),
    ),
)

_FAILED = 'slipway_llmdeployment_state{state="Failed"}'
_IS_FAILED = f"{largest(_FAILED)} > 0"
_LATELY = f"{largest(f'max_over_time({_FAILED}[${{window}}])')} > 0"
_BEFORE = f"{largest(f'max_over_time({_FAILED}[${{window}}] offset ${{window}})')} > 0"
_FAILS_AGAIN = while_(_IS_WAKING, _LATELY, _BEFORE)  # after one failure, its cause may have been fixed
_LED = 'max by (cluster) (slipway_leader{llmdeployment=""}) == 1'
_UNKNOWN = f"{_LATELY}\nunless on (cluster) ({_LED})"  # no model has a state until another operator leads
_NEITHER = largest('slipway_llmdeployment_state{state!~"Failed|Waking"}')
_WITH_REASON = (
    "max_over_time(slipway_llmdeployment_state{state='Failed',cluster=%q,namespace=%q,llmdeployment=%q}[${window}])"
)
_REASONS = (
    f'{{{{ range $i, $each := printf "max by (reason) ({_WITH_REASON})" $labels.cluster $labels.namespace '
    "$labels.llmdeployment | query | sortByLabel `reason` }}{{ if $i }}, {{ end }}{{ $each.Labels.reason }}{{ end }}"
)
"""No label, by which a model whose reason changes would be another alert, and pending again."""
FAILED = Alert(
    name="SlipwayModelFailed",
    meaning="A model is Failed: no request is answered, and none will be until the cause is fixed. One that clients "
    "wake again and again counts as well, if it has failed within `window` and within the `window` before.",
    severity="critical",
    lasting="2m",
    parameters=(
        Parameter(
            name="window",
            default="5m",
            meaning="how long a model that has failed may be Waking before it no longer counts as failed.",
        ),
    ),
    summary=f"{WHO} has failed: {_REASONS}",
    description=f"{WHO} is Failed for the reason {_REASONS}: no request is answered, and none will be until the cause "
    "is fixed. `kubectl describe llm` says what to do.",
    conditions=(Condition(expression=f"({_IS_FAILED}\nor {_FAILS_AGAIN}\nor {_UNKNOWN})\nunless ({_NEITHER} > 0)"),),
)

LOAD_FAILING = Alert(
    name="SlipwayModelLoadFailing",
    meaning="Starts of a model's engine have failed at least `failures` times within `window` for the same reason, the "
    "last time less than `seconds` ago.",
    severity="warning",
    lasting="0m",
    parameters=(
        Parameter(name="failures", default=2, meaning="failed starts, at least."),
        Parameter(name="window", default="1h", meaning="the time in which they are counted."),
        Parameter(name="seconds", default=1200, meaning="how long the last one is reported, in seconds."),
    ),
    summary=f"Replicas of {WHO} don't start: {{{{ $labels.reason }}}}",
    description=f"Replicas of {WHO} have failed {{{{ $value }}}} times within ${{window}} for the reason "
    "{{ $labels.reason }}. `kubectl describe llm` has the engine's sentence and the remedy.",
    conditions=(
        Condition(
            expression=while_(
                f"{total(_FAILURES, 'reason')} >= ${{failures}}",
                f"time() - {largest(_LAST_FAILURE, 'reason')} < ${{seconds}}",
            )
        ),
    ),
)

_OUT_OF_MEMORY = largest(_LAST_FAILURE + '{reason="GpuOutOfMemory"}')
OUT_OF_MEMORY = Alert(
    name="SlipwayGpuOutOfMemory",
    meaning="A replica has ended because the accelerator's memory was too small, less than `seconds` ago.",
    severity="critical",
    lasting="0m",
    parameters=(Parameter(name="seconds", default=900, meaning="how long it is reported, in seconds."),),
    summary=f"A replica of {WHO} ran out of GPU memory",
    description=f"A replica of {WHO} ended {{{{ $value | humanizeDuration }}}} ago because the accelerator's memory is "
    "too small for the model and its KV cache. It will happen again until one of them is made smaller.",
    conditions=(Condition(expression=f"time() - {_OUT_OF_MEMORY} < ${{seconds}}"),),
)

_COLD_START = 'slipway:cold_start_seconds{phase="total"}'
_LAST = largest(_COLD_START)
_USUAL = largest(f"avg_over_time({_COLD_START}[${{history}}] offset ${{recent}})")
COLD_START_SLOW = Alert(
    name="SlipwayColdStartSlow",
    meaning="The last cold start, within `recent`, took more than `factor` times the average of the `history` before, "
    "and at least `seconds` more than that.",
    severity="warning",
    lasting="0m",
    parameters=(
        Parameter(name="factor", default=2, meaning="how many times the average."),
        Parameter(name="seconds", default=30, meaning="seconds above the average, at least."),
        Parameter(name="recent", default="1h", meaning="how long a start is reported."),
        Parameter(name="history", default="7d", meaning="the time of the average."),
    ),
    summary=f"The last cold start of {WHO} took {{{{ $value | humanizeDuration }}}}",
    description=f"The last cold start of {WHO} took {{{{ $value | humanizeDuration }}}}, much longer than its starts "
    "before. `slipway:cold_start_seconds` says in which phase the time went.",
    conditions=(
        Condition(
            expression=while_(
                f"{_LAST} > ${{factor}} * {_USUAL}",
                f"{_LAST} - {_USUAL} >= ${{seconds}}",
                f"{largest(f'changes({_COLD_START}[${{recent}}])')} > 0",
            )
        ),
    ),
)
ALERTS = (HELD_TOO_LONG, WAKE_FAILING, FAILED, LOAD_FAILING, OUT_OF_MEMORY, COLD_START_SLOW)
