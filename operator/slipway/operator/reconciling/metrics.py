"""The metrics of the operator: those of its calls, watches, queue and election, and of its models."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from slipway.api.model_key import ModelKey
from slipway.kube.metrics import LeaderMetrics, QueueMetrics, WatchMetrics
from slipway.observing.objectives import SHARES, Objectives, label
from slipway.process.metrics import MetricsRegistry, Readings


class OperatorMetrics:
    """Lives as long as the process."""

    def __init__(self, registry: MetricsRegistry) -> None:
        self.registry = registry
        self.watches = WatchMetrics(registry)
        self.queue = QueueMetrics(registry)
        self.election = LeaderMetrics(registry)

    def watch_models(self, read: Callable[[], Readings]) -> None:
        """`read`: how many LLMDeployments there are, by state and reason; called when Prometheus reads the page."""
        help_ = "LLMDeployments, by their state and its reason"
        self.registry.read_gauge("llmdeployments", help_, ("state", "reason"), read)

    def watch_compile_caches(self, read: Callable[[], Readings]) -> None:
        """`read`: how many LLMDeployments keep compiled code where, and why claims were given up."""
        help_ = "LLMDeployments, by where their compiled code is kept and why its claim was given up"
        self.registry.read_gauge("compile_caches", help_, ("kind", "given_up"), read)

    def watch_plans(self, read: Callable[[], Readings]) -> None:
        """`read`: the errors of plans that are worth attention."""
        help_ = "Error of a model's plan relative to what its engine measured, of those that are off by more than 5 %"
        self.registry.read_gauge("plan_error_ratio", help_, ("namespace", "name"), read)

    def watch_objectives(self, read: Callable[[], Iterable[tuple[ModelKey, Objectives]]]) -> None:
        """`read`: what is counted of each `spec.slo`. Those of times have the boundary of the engine's histogram, so
        that queries can join on it."""
        model = ("namespace", "llmdeployment")
        self.registry.read_gauge(
            "slo_objective",
            "Share of requests that have to be within the boundary le of the engine's histogram, by spec.slo",
            (*model, "slo", "le"),
            lambda: {
                (*key, name, label(boundary)): SHARES[name]
                for key, each in read()
                for name, boundary in each.boundaries.items()
            },
        )
        self.registry.read_gauge(
            "slo_availability_objective",
            "Share of requests that must not fail, by spec.slo",
            model,
            lambda: {tuple(key): each.availability for key, each in read() if each.availability},
        )
        self.registry.read_gauge(
            "slo_window_seconds",
            "Time over which the objectives of spec.slo hold",
            model,
            lambda: {tuple(key): each.window for key, each in read()},
        )
