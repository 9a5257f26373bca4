"""Costs, from the ledger that the operator keeps of each model: in total, per token, of a namespace, of a key.

The ledger's counters go on after the object's operator has restarted or another one leads, and may then be a little
behind. To Prometheus, a counter that goes down starts again from zero; so these are differences, and one that is
negative, as of an object that was created again, is no data.
"""

from __future__ import annotations

from slipway_monitoring.promql import MODEL, labels, largest, total
from slipway_monitoring.rule import INTERVAL, Group, Recording

COUNTERS = {
    "cost": ("slipway_cost_total", "Cost of the devices while replicas held them", "price"),
    "used_cost": ("slipway_used_cost_total", "The part of it while requests were in flight", "price"),
    "saved_cost": ("slipway_saved_cost_total", "What one replica would have cost while the model slept", "price"),
    "device_seconds": ("slipway_device_seconds_total", "Seconds for which replicas held devices", "seconds"),
    "busy_device_seconds": (
        "slipway_busy_device_seconds_total",
        "The part of them while requests were in flight",
        "seconds",
    ),
    "asleep_device_seconds": (
        "slipway_asleep_device_seconds_total",
        "Seconds for which the devices of one replica were not held while the model slept",
        "seconds",
    ),
}
ALL_OF = {"used_cost": "cost", "busy_device_seconds": "device_seconds"}
PRICE = "price"
NAMESPACE = ", ".join(MODEL[:2])
MILLION = 1_000_000
TOKENS = total("sum_over_time(slipway:output_tokens:rate5m[1h])") + f" * {INTERVAL}"
KEYS = 'sum_over_time(slipway:key_tokens:rate5m{kind="completion"}[1h])'


def _sum(name: str) -> Recording:
    series, meaning, unit = COUNTERS[name]
    return Recording(
        name=f"slipway:{name}:total",
        meaning=f"{meaning}, since the object was created",
        unit=unit,
        expression=largest(series, "accelerator"),
    )


def last_hour(name: str) -> str:
    return total(_growth(name))


def _growth(name: str) -> str:
    return f"delta(slipway:{name}:total[1h]) >= 0"


def _known_growth(used: str) -> str:
    """Of what is used, where that was reported all the time. Pods of an older version of Slipway don't report it, and
    an hour of which a part is unknown isn't idle for the rest."""
    samples = (f"count_over_time(slipway:{name}:total[1h])" for name in (used, ALL_OF[used]))
    return f"({_growth(used)})\nand {' >= '.join(samples)}"


def _idle(used: str) -> str:
    """By accelerator, so that what is unknown of one doesn't count for another."""
    return total(f"({_growth(ALL_OF[used])})\n- ({_known_growth(used)}) >= 0")


def _hour(name: str, meaning: str, unit: str, expression: str) -> Recording:
    return Recording(name=f"slipway:{name}", meaning=meaning, unit=unit, expression=expression)


GROUP = Group(
    name="slipway.cost",
    interval=60,
    recordings=(
        *map(_sum, COUNTERS),
        _hour(
            "cost:per_hour",
            "Cost per hour of the devices that replicas hold now",
            PRICE,
            largest("slipway_cost_per_hour"),
        ),
        _hour("cost:increase1h", "Cost of the last hour", PRICE, last_hour("cost")),
        _hour("saved_cost:increase1h", "What sleeping has saved in the last hour", PRICE, last_hour("saved_cost")),
        _hour("idle_cost:increase1h", "Cost of the last hour without requests in flight", PRICE, _idle("used_cost")),
        _hour(
            "idle_device_hours:increase1h",
            "Hours of devices in the last hour that were held without requests in flight",
            "hours",
            f"{_idle('busy_device_seconds')} / 3600",
        ),
        _hour(
            "asleep_device_hours:increase1h",
            "Hours of devices in the last hour that were not held because the model slept",
            "hours",
            f"{last_hour('asleep_device_seconds')} / 3600",
        ),
        _hour(
            "cost_per_million_tokens:allocated1h",
            "Cost of the devices per million output tokens, in the last hour",
            PRICE,
            f"{last_hour('cost')}\n/ ({TOKENS} > 0) * {MILLION}",
        ),
        _hour(
            "cost_per_million_tokens:used1h",
            "The same, of the time with requests in flight only",
            PRICE,
            f"{total(_known_growth('used_cost'))}\n/ ({TOKENS} > 0) * {MILLION}",
        ),
        _hour(
            "namespace_cost:per_hour",
            "Cost per hour of the devices that all models of a namespace hold now",
            PRICE,
            f"sum by ({NAMESPACE}) ({largest('slipway_cost_per_hour')})",
        ),
        _hour(
            "namespace_cost:increase1h",
            "Cost of all models of a namespace in the last hour",
            PRICE,
            f"sum by ({NAMESPACE}) ({last_hour('cost')})",
        ),
        _hour(
            "key_cost:increase1h",
            "Cost of the last hour by `key`, in proportion to the output tokens of each API key",
            PRICE,
            f"{total(KEYS, 'key')}\n/ on ({labels()}) group_left () ({total(KEYS)} > 0)\n"
            f"* on ({labels()}) group_left () {last_hour('cost')}",
        ),
    ),
)
