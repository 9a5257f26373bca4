"""Alerts about Slipway's own programs. A tenant's pods expose nothing without a label `llmdeployment`, so what they
claim to be isn't taken for one of these programs.

A program that is gone has no series, and `absent` can't say in which cluster: so a cluster counts in which there was
one before.
"""

from __future__ import annotations

from slipway_monitoring.promql import WHO, largest, replicas, while_
from slipway_monitoring.rule import Alert, Condition, Parameter

_HISTORY = Parameter(name="history", default="1d", meaning="how long it is remembered that there was one.")


def _own(name: str) -> str:
    return f'{name}{{llmdeployment=""}}'


def _gone(series: str, condition: str = "") -> str:
    """The clusters that had this series and have none now, or the absence of it anywhere."""
    return (
        f"max by (cluster) (max_over_time({series}[${{history}}]))\n"
        f"unless (max by (cluster) ({series}){condition})\nor absent({series})"
    )


_IN_CLUSTER = "{{ with $labels.cluster }} in cluster {{ . }}{{ end }}"
WITHOUT_LEADER = Alert(
    name="SlipwayOperatorWithoutLeader",
    meaning="No replica of the operator leads: specs aren't carried out, and no status is written.",
    severity="critical",
    lasting="3m",
    parameters=(_HISTORY,),
    summary=f"No operator of Slipway leads{_IN_CLUSTER}",
    description=f"No replica of the operator is the leader{_IN_CLUSTER}, or none is scraped: new and changed "
    "LLMDeployments are not carried out, and their status is old. Models that run go on serving.",
    conditions=(Condition(expression=_gone(_own("slipway_leader"), " == 1")),),
)


def _behind(what: str, series: str) -> Condition:
    """One alert for each pod: when the API server doesn't answer, the caches of all kinds are old."""
    oldest = f"max by (cluster, namespace, pod) ({_own(series)})"
    return Condition(expression=f'label_replace({oldest} > ${{seconds}}, "behind", "{what}", "", "")')


STALE = Alert(
    name="SlipwayOperatorStale",
    meaning="A program of Slipway hasn't seen changes of the cluster, or an LLMDeployment has waited for its "
    "reconcile, for longer than `seconds`.",
    severity="warning",
    lasting="5m",
    parameters=(Parameter(name="seconds", default=300, meaning="how old is too old, in seconds."),),
    summary="{{ $labels.pod }} is behind by {{ $value | humanizeDuration }}",
    description='{{ if eq $labels.behind "cache" }}A cache in {{ $labels.pod }} was last seen to be up to date '
    "{{ $value | humanizeDuration }} ago; `slipway_watch_age_seconds` says of which kind.{{ else }}An LLMDeployment "
    "has waited {{ $value | humanizeDuration }} for its reconcile in {{ $labels.pod }}.{{ end }}",
    conditions=(_behind("cache", "slipway_watch_age_seconds"), _behind("queue", "slipway_queue_oldest_seconds")),
)
NEAR_LIMIT = Alert(
    name="SlipwayActivatorNearLimit",
    meaning="An activator has used more than `ratio` of one of its limits; at the limit it refuses requests.",
    severity="warning",
    lasting="5m",
    parameters=(Parameter(name="ratio", default=0.8, meaning="the share of the limit, more than."),),
    summary="{{ $labels.pod }} is near its limit of {{ $labels.limit }}",
    description="{{ $labels.pod }} has used {{ $value | humanizePercentage }} of its limit of {{ $labels.limit }}. At "
    "the limit it refuses requests to models that sleep or start.",
    conditions=(
        Condition(
            expression=f"max by (cluster, namespace, pod, limit) ({_own('slipway_activator_used_ratio')}) > ${{ratio}}"
        ),
    ),
)
PLAN_ERROR = Alert(
    name="SlipwayPlanErrorLarge",
    meaning="What an engine has measured differs from its plan by more than `ratio`.",
    severity="info",
    lasting="15m",
    parameters=(Parameter(name="ratio", default=0.2, meaning="the relative error, more than."),),
    summary=f"The plan of {WHO} is off by {{{{ $value | humanizePercentage }}}}",
    description=f"What the engine of {WHO} has measured differs from its plan by "
    "{{ $value | humanizePercentage }}: its accelerator may be larger than needed, or its KV cache smaller than "
    "planned.",
    conditions=(Condition(expression=largest("abs(slipway_plan_error_ratio)") + " > ${ratio}"),),
)
_UP = 'up{llmdeployment!=""}'
_ONCE = f"max_over_time({_UP}[${{history}}])"
TARGET_MISSING = Alert(
    name="SlipwayTargetMissing",
    meaning="Prometheus can't scrape any ready replica of a model, or no activator: what isn't measured sets off no "
    "alert. A model of which there was no target within `history` counts as one that isn't to be scraped.",
    severity="warning",
    lasting="10m",
    parameters=(_HISTORY,),
    summary=f"Prometheus can't scrape {{{{ if $labels.llmdeployment }}}}{WHO}{{{{ else }}}}the activators{{{{ end }}}}",
    description="Prometheus gets no metrics of "
    f"{{{{ if $labels.llmdeployment }}}}{WHO}, although replicas of it are ready{{{{ else }}}}any activator"
    f"{_IN_CLUSTER}{{{{ end }}}}. Alerts about what it doesn't measure can't fire.",
    conditions=(
        Condition(expression=while_(f"{replicas('ready')} > 0", largest(_ONCE)) + f"\nunless {largest(_UP)} == 1"),
        Condition(expression=_gone(_own("slipway_activator_held_bytes")), labels={"program": "activator"}),
    ),
)
ALERTS = (WITHOUT_LEADER, STALE, NEAR_LIMIT, PLAN_ERROR, TARGET_MISSING)
