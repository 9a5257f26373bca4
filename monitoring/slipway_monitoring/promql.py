"""Expressions of PromQL. What they have in common is here, so that no rule can forget it.

A series of a model has the labels `namespace` and `llmdeployment`; with several clusters under one Prometheus also
`cluster`, which is missing otherwise. A pod belongs to a tenant, who may expose any series under the pod's own labels.
So both sides of an operator are always aggregated: two series for one model, where one is expected, would make
Prometheus refuse the whole rule, for all models. Aggregated to the same labels, they need no `on`.
"""

from __future__ import annotations

MODEL = ("cluster", "namespace", "llmdeployment")
"""Labels that name an LLMDeployment."""

WHO = "{{ $labels.namespace }}/{{ $labels.llmdeployment }}"
"""The model, in annotations."""


def labels(*more: str) -> str:
    return ", ".join((*MODEL, *more))


def total(expression: str, *more: str) -> str:
    """The sum for each model."""
    return f"sum by ({labels(*more)}) ({expression})"


def largest(expression: str, *more: str) -> str:
    """The largest value for each model: of series that each operator may expose, or that must not be summed."""
    return f"max by ({labels(*more)}) ({expression})"


def mean(expression: str, *more: str) -> str:
    return f"avg by ({labels(*more)}) ({expression})"


def rate(series: str, window: str = "5m") -> str:
    """Per second. A counter that starts at zero again, as with each new pod, is not a negative rate."""
    return f"rate({series}[{window}])"


def increased(series: str, window: str) -> str:
    """How often each model's counter has counted in the window. Its first sample must be 0."""
    return f"round({total(f'increase({series}[{window}])')})"


def growth(series: str, window: str) -> str:
    """How much each series has grown, for counters that exist from the first event on, which an increase doesn't show.
    To be summed afterwards only: another pod that counts from now on starts at zero."""
    return f"({series} - {series} offset {window} >= 0 or {series})"


def first_values(series: str) -> str:
    """Per second: the values with which series have started in five minutes, which `rate` doesn't see.

    Only if their target was scraped without them before, in that time: what a new target has counted, or one that
    Prometheus couldn't scrape for a while, may be old.
    """
    scrapes = "min by (cluster, job, instance) (sum_over_time(up[5m]))"
    new = f"count_over_time({series}[5m]) < on (cluster, job, instance) group_left () {scrapes}"
    return f"(min_over_time({series}[5m]) unless {series} offset 5m and ({new})) / 300"


def first_of(*expressions: str) -> str:
    """For each model, the first expression that has any series of it, whatever further labels they have."""
    return f"\nor on ({labels()})\n".join(expressions)


def while_(expression: str, *conditions: str) -> str:
    """The expression of the models for which all conditions have a series."""
    return "\nand ".join((expression, *(f"({each})" for each in conditions)))


def replicas(kind: str) -> str:
    return largest(f'slipway:replicas{{kind="{kind}"}}')
