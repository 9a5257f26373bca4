"""What a recording rule and an alert are, before they become YAML.

An alert's expression, labels and annotations may have placeholders, `${threshold}`, for its own values in the chart:
helm puts in what a user has set, and `rendering` the defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

SEVERITIES = ("critical", "warning", "info")
"""A person is needed now; within the day; it is worth knowing."""

INTERVAL = 30
"""Seconds between two evaluations of a group. Sums over recorded series become numbers of requests by it."""


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One recording rule. Several may have the same name: their labels differ. `sources`: the series that it is made
    of by the folder of the engine, where engines have different ones."""

    name: str
    meaning: str
    unit: str
    expression: str
    labels: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Group:
    """Recording rules that are evaluated in order, each seeing what the ones above it have recorded."""

    name: str
    recordings: tuple[Recording, ...]
    interval: int = INTERVAL


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A value of an alert in the chart: a number, up to `most` if that isn't None, a duration of Prometheus such as
    `5m`, or a severity."""

    name: str
    default: float | str
    meaning: str
    most: float | None = None


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One rule of an alert. `severity` and `lasting` are names of the alert's values."""

    expression: str
    severity: str = "severity"
    lasting: str = "for"
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Alert:
    """`meaning`: when it fires, for the reference and the chart's values. `summary` and `description` are Prometheus
    templates."""

    name: str
    meaning: str
    severity: str
    lasting: str
    summary: str
    description: str
    conditions: tuple[Condition, ...]
    parameters: tuple[Parameter, ...] = ()

    @property
    def values(self) -> tuple[Parameter, ...]:
        """All of its values in the chart, but `enabled`."""
        return (
            Parameter(name="severity", default=self.severity, meaning="Its label `severity`."),
            Parameter(name="for", default=self.lasting, meaning="How long the condition must hold before it fires."),
            *self.parameters,
        )
