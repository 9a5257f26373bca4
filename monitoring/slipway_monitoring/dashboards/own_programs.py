"""Slipway itself: the operator and the activators."""

from __future__ import annotations

from slipway_monitoring.dashboards.panels import Dashboard, Panel, Query, Row, anywhere, of_programs, stat

NOW = Row(
    "Now",
    (
        stat(
            "Leaders",
            "Replicas of the operator that lead. It must be 1: with 0, nothing that changes is acted upon, while "
            "models go on serving. See the runbook of SlipwayOperatorWithoutLeader.",
            "short",
            f"sum({of_programs('slipway_leader')})",
        ),
        stat(
            "Oldest cache",
            "Seconds since the slowest watch of the leader was last seen to be up to date. Above a minute, Slipway "
            "acts on old facts: see the runbook of SlipwayOperatorStale.",
            "s",
            f"max({of_programs('slipway_watch_age_seconds')})",
            warning=60,
        ),
        stat(
            "Oldest waiting reconcile",
            "How long the first object in the operator's queue has waited. Above a minute: too much work, or a slow "
            "API server, see below.",
            "s",
            f"max({of_programs('slipway_queue_oldest_seconds')})",
            warning=60,
        ),
        stat(
            "Fullest limit of an activator",
            "The highest share of any limit of an activator. At 100 %, requests are refused: see the runbook of "
            "SlipwayActivatorNearLimit.",
            "percentunit",
            f"max({of_programs('slipway_activator_used_ratio')})",
            warning=0.8,
            critical=0.95,
        ),
    ),
)

OPERATOR = Row(
    "Operator",
    (
        Panel(
            title="Reconciles per second",
            description="By result. Failures that don't stop: the operator's log names the objects and the reason.",
            unit="ops",
            stacked=True,
            queries=(Query(f"sum by (result) (rate({of_programs('slipway_reconciles_total')}[5m]))", "{{result}}"),),
        ),
        Panel(
            title="How long a reconcile takes",
            description="p95 by result. Above a second: mostly a slow API server, see the panel of its calls.",
            unit="s",
            queries=(
                Query(
                    "histogram_quantile(0.95, sum by (le, result) "
                    f"(rate({of_programs('slipway_reconcile_seconds_bucket')}[5m])))",
                    "{{result}}",
                ),
            ),
        ),
        Panel(
            title="Calls to the API server",
            description="Per second, by verb and status, of operator and activators. 5xx and 429: the API server is "
            "overloaded; 403: a right is missing.",
            unit="ops",
            stacked=True,
            queries=(
                Query(f"sum by (verb, code) (rate({of_programs('slipway_api_calls_total')}[5m]))", "{{verb}} {{code}}"),
            ),
        ),
        Panel(
            title="How long the API server takes",
            description="p95 by verb. Seconds: everything that Slipway does is as slow; look at the API server and "
            "etcd.",
            unit="s",
            queries=(
                Query(
                    "histogram_quantile(0.95, sum by (le, verb) "
                    f"(rate({of_programs('slipway_api_call_seconds_bucket')}[5m])))",
                    "{{verb}}",
                ),
            ),
        ),
    ),
)

ACTIVATOR = Row(
    "Activators",
    (
        Panel(
            title="Use of limits",
            description="Share in use of each limit of each activator. One that nears 100 % refuses requests: add "
            "replicas of the activator, or raise the limit.",
            unit="percentunit",
            maximum=1,
            queries=(Query(f"max by (limit) ({of_programs('slipway_activator_used_ratio')})", "{{limit}}"),),
        ),
        Panel(
            title="Refused requests",
            description="Per second, by reason. Reasons that name a limit: see use of limits. Reasons that name a "
            "model's failure: see that model. 0 is normal.",
            unit="reqps",
            stacked=True,
            queries=(
                Query(
                    f"sum by (reason) (rate({anywhere('slipway_activator_refused_total')}[5m]))",
                    "{{reason}}",
                    healthy_empty="nothing was refused",
                ),
            ),
        ),
        Panel(
            title="KEDA's calls",
            description="Calls of KEDA per second, by gRPC code. None: nothing scales, see the runbook of "
            "SlipwayScalerUnreachable. Codes other than OK: KEDA's or the activator's log has the reason.",
            unit="ops",
            stacked=True,
            queries=(
                Query(f"sum by (code) (rate({of_programs('slipway_activator_keda_calls_total')}[5m]))", "{{code}}"),
            ),
        ),
        Panel(
            title="Requests forwarded, and sent again",
            description="Requests per second that activators forwarded to replicas, and tries after a failed one. Many "
            "repeated tries: replicas refuse connections or end too early.",
            unit="reqps",
            queries=(
                Query(f"sum(rate({of_programs('slipway_activator_forwarded_total')}[5m]))", "forwarded"),
                Query(f"sum(rate({of_programs('slipway_activator_retries_total')}[5m]))", "sent again"),
            ),
        ),
    ),
)

OWN_PROGRAMS = Dashboard(
    uid="slipway-itself",
    title="Slipway: operator and activators",
    description="Whether Slipway itself works: leader, caches, queue, API server, limits, KEDA.",
    selects="nothing",
    rows=(NOW, OPERATOR, ACTIVATOR),
)
