"""What models cost, of that how much was used, and what sleeping has saved."""

from __future__ import annotations

from slipway_monitoring.dashboards.panels import (
    EACH_MODEL,
    Dashboard,
    Panel,
    Query,
    Row,
    by_model,
    in_namespaces,
    of_programs,
    stat,
)


def over_range(total: str) -> str:
    """Computes how much an account grew in the range that the dashboard shows. It continues with the next leader."""
    return f"sum(delta({in_namespaces(total)}[$__range]) >= 0)"


SUMS = Row(
    "In the range shown, in the currency of the profiles",
    (
        stat(
            "Cost per hour now",
            "By the prices of the accelerator profiles; models on devices without a price count as 0. Higher than you "
            "expect: the panels below say which model.",
            "short",
            f"sum({in_namespaces('slipway:cost:per_hour')})",
        ),
        stat(
            "Cost",
            "Of all replicas in this range: the price of their devices for the time in which they had them, idle or "
            "not.",
            "short",
            over_range("slipway:cost:total"),
        ),
        stat(
            "Saved by sleeping",
            "What one replica of each sleeping model would have cost in this range. 0 with models that could sleep: "
            "look at idleAfter, and at what keeps them awake.",
            "short",
            over_range("slipway:saved_cost:total"),
        ),
        stat(
            "Device hours",
            "Hours of devices in this range, of all models. Multiply by a price to check a bill.",
            "h",
            f"{over_range('slipway:device_seconds:total')} / 3600",
        ),
    ),
)

MODELS = Row(
    "By model",
    (
        Panel(
            title="Cost per hour",
            description="By model. One that costs at night without requests: set minReplicas: 0, or a shorter "
            "idleAfter.",
            unit="short",
            stacked=True,
            queries=(Query(in_namespaces("slipway:cost:per_hour"), EACH_MODEL),),
        ),
        Panel(
            title="Cost per hour, by namespace",
            description="The same, by namespace, for those who pay for teams. A namespace that you don't expect here: "
            "its models have the dashboards of one model.",
            unit="short",
            stacked=True,
            queries=(Query(in_namespaces("slipway:namespace_cost:per_hour"), "{{namespace}}"),),
        ),
        Panel(
            title="Cost per million output tokens",
            description="Allocated: the whole price of the devices, idle time included. Used: only the time in which "
            "a request was in flight. Allocated far above used: the model is paid for and idle. Both high: slow for "
            "its price.",
            unit="short",
            queries=(
                Query(in_namespaces("slipway:cost_per_million_tokens:allocated1h"), f"allocated {EACH_MODEL}"),
                Query(in_namespaces("slipway:cost_per_million_tokens:used1h"), f"used {EACH_MODEL}"),
            ),
        ),
        Panel(
            title="Device hours of the last hour: idle and asleep",
            description="Idle: devices that were allocated without a request in flight. Asleep: devices that a "
            "replica would have had. Much idle and little asleep: shorten idleAfter.",
            unit="h",
            queries=(
                Query(in_namespaces("slipway:idle_device_hours:increase1h"), f"idle {EACH_MODEL}"),
                Query(in_namespaces("slipway:asleep_device_hours:increase1h"), f"asleep {EACH_MODEL}"),
            ),
        ),
        Panel(
            title="Budgets: share spent",
            description="Share of spec.budget that is spent in its period. At 100 %, what spec.budget asks for "
            "happens: an alert, sleep, or 429 until the reset. Only models with a budget have this.",
            unit="percentunit",
            warning=0.8,
            critical=1,
            queries=(
                Query(
                    by_model("max", in_namespaces("slipway_budget_spent"), "period")
                    + " / "
                    + by_model("max", in_namespaces("slipway_budget_limit"), "period"),
                    f"{EACH_MODEL} per {{{{period}}}}",
                ),
            ),
        ),
        Panel(
            title="Cost of the last hour, by key",
            description="The cost of each model, divided among the owners of API keys by the tokens that were written "
            "for them. One key that takes nearly all: talk to its owner, or set access.rateLimit.",
            unit="short",
            stacked=True,
            queries=(Query(f"sum by (key) ({in_namespaces('slipway:key_cost:increase1h')})", "{{key}}"),),
        ),
        Panel(
            title="Prices of devices",
            description="What one device costs per hour, by its AcceleratorProfile. A price that is missing or old "
            "makes every other number here wrong.",
            unit="short",
            kind="table",
            width=24,
            queries=(
                Query(f"max by (accelerator, spot) ({of_programs('slipway_device_hourly_cost')})", "price per hour"),
            ),
        ),
    ),
)

COST = Dashboard(
    uid="slipway-cost",
    title="Slipway: cost",
    description="What models cost, how much of that was used, and what sleeping has saved.",
    selects="namespaces",
    rows=(SUMS, MODELS),
)
