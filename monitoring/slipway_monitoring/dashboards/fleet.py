"""All models of the chosen namespaces: which need someone, and how much they serve."""

from __future__ import annotations

from functools import partial

from slipway_monitoring.dashboards.panels import (
    EACH_MODEL,
    Dashboard,
    Panel,
    Query,
    Row,
    Unit,
    by_model,
    in_namespaces,
    number_of_models,
    or_zero_of_each,
    stat,
)


def total(metric: str, **labels: str) -> str:
    return f"sum({in_namespaces(metric, **labels)})"


def or_zero(expr: str) -> str:
    """For sums of series that exist only while something happens. Without any model, there is nothing to show."""
    return f"{expr} or 0 * {number_of_models()}"


number = partial(stat, width=4)


OVERVIEW = Row(
    "Overview",
    (
        number(
            "Models",
            "LLMDeployments in these namespaces, asleep or not. Fewer than you know of: the operator doesn't see a "
            "namespace, or Prometheus doesn't scrape the operator: see docs/monitoring.md.",
            "short",
            number_of_models(),
        ),
        number(
            "Models that need someone",
            "LLMDeployments in the state Failed or Degraded. Above 0: the table below says which, and why.",
            "short",
            or_zero(
                f"count({by_model('max', in_namespaces('slipway_llmdeployment_state', state='~Failed|Degraded'))})"
            ),
            warning=1,
        ),
        number(
            "Alerts that fire",
            "Alerts of Slipway that fire in these namespaces, all severities. The table of alerts below has a line "
            "for each.",
            "short",
            or_zero(f"count({in_namespaces('ALERTS', alertname='~Slipway.+', alertstate='firing')})"),
            warning=1,
        ),
        number(
            "Requests held",
            "Requests that wait for a replica, of all models. Above 0 for longer than a cold start: open the "
            "dashboard of cold starts.",
            "short",
            or_zero(total("slipway:requests_held")),
        ),
        number(
            "Requests per second",
            "Answers per second of all models. 0 while clients send requests: see the dashboard of Slipway itself.",
            "reqps",
            or_zero(total("slipway:requests:rate5m")),
        ),
        number(
            "Cost per hour",
            "What all replicas cost per hour now, by the prices of the accelerator profiles. The dashboard of cost "
            "says for what.",
            "short",
            or_zero(total("slipway:cost:per_hour")),
        ),
    ),
)


def column(metric: str, title: str, unit: Unit, **labels: str) -> Query:
    return Query(by_model("sum", in_namespaces(metric, **labels)), title, unit)


MODELS = Row(
    "Models",
    (
        Panel(
            title="All models",
            description="One line for each model, with a link to its own dashboard. Look first at states other than "
            "Serving and Idle, then at failed requests, then at first tokens that are slower than those of similar "
            "models.",
            unit="short",
            kind="table",
            width=24,
            height=10,
            links_to_model=True,
            queries=(
                Query(
                    by_model("max", in_namespaces("slipway_llmdeployment_state"), "state", "reason"),
                    "current state",
                ),
                column("slipway:replicas", "ready", "short", kind="ready"),
                Query(or_zero_of_each(by_model("sum", in_namespaces("slipway:requests_held"))), "held", "short"),
                column("slipway:requests:rate5m", "requests/s", "reqps"),
                column("slipway:request_errors:ratio5m", "failed", "percentunit"),
                column("slipway:ttft_seconds:quantile", "first token p95", "s", quantile="0.95"),
                column("slipway:tpot_seconds:quantile", "per token p95", "s", quantile="0.95"),
                column("slipway:goodput:ratio5m", "within objectives", "percentunit"),
                column("slipway:cost:per_hour", "cost/h", "short"),
            ),
            hidden_columns=("current state",),
        ),
        Panel(
            title="What is not as it should be",
            description="Conditions of LLMDeployments that deserve attention. Each reason has a line in "
            "docs/reference/status.md with what to do; `kubectl describe llm` shows the whole message. An empty table "
            "is good.",
            unit="short",
            kind="table",
            queries=(
                Query(
                    by_model("max", in_namespaces("slipway_llmdeployment_condition"), "type", "reason"),
                    "condition",
                    healthy_empty="every condition is as it should be",
                ),
            ),
            hidden_columns=("condition",),
            links_to_model=True,
        ),
        Panel(
            title="Alerts",
            description="Alerts of Slipway that fire or are about to. Each has a runbook of its name. An empty table "
            "is good.",
            unit="short",
            kind="table",
            queries=(
                Query(
                    by_model(
                        "max", in_namespaces("ALERTS", alertname="~Slipway.+"), "alertname", "severity", "alertstate"
                    ),
                    "alert",
                    healthy_empty="no alert fires",
                ),
            ),
            hidden_columns=("alert",),
            links_to_model=True,
        ),
    ),
)

TRAFFIC = Row(
    "Traffic",
    (
        Panel(
            title="Requests per second, by model",
            description="Answers per second by model. A model that drops to 0 while others go on: look at its state.",
            unit="reqps",
            stacked=True,
            queries=(Query(by_model("sum", in_namespaces("slipway:requests:rate5m")), EACH_MODEL),),
        ),
        Panel(
            title="Within objectives, by model",
            description="Share of requests that met all objectives of spec.slo, by model. Below 95 %: open the "
            "model's dashboard.",
            unit="percentunit",
            maximum=1,
            queries=(Query(in_namespaces("slipway:goodput:ratio5m"), EACH_MODEL),),
        ),
        Panel(
            title="Output tokens per second, by model",
            description="Tokens written per second by model. Falling while requests wait: a replica is lost or slower.",
            unit="suffix: tokens/s",
            stacked=True,
            queries=(Query(in_namespaces("slipway:output_tokens:rate5m"), EACH_MODEL),),
        ),
        Panel(
            title="Replicas, by model",
            description="Ready replicas by model, and all that are wanted. Wanted above the sum of the others for "
            "minutes: replicas don't get ready, or there are no free devices.",
            unit="short",
            stacked=True,
            queries=(
                Query(in_namespaces("slipway:replicas", kind="ready"), EACH_MODEL),
                Query(total("slipway:replicas", kind="wanted"), "wanted"),
            ),
            target="wanted",
        ),
    ),
)

FLEET = Dashboard(
    uid="slipway-fleet",
    title="Slipway: fleet",
    description="All models of the chosen namespaces. Start here.",
    selects="namespaces",
    rows=(OVERVIEW, MODELS, TRAFFIC),
)
