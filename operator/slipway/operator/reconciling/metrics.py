"""The metrics of the operator: those of its calls, watches, queue and election, and of its models."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from slipway.kube.metrics import LeaderMetrics, QueueMetrics, WatchMetrics
from slipway.operator.reconciling.model_metrics import MODEL_METRICS, Seen, samples_of
from slipway.process.exposition import ObjectMetrics
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

    def watch_model_caches(self, read: Callable[[], Readings]) -> None:
        """The same for models' files."""
        help_ = "LLMDeployments, by where their models' files are kept and why the claim was given up"
        self.registry.read_gauge("model_caches", help_, ("kind", "given_up"), read)

    def watch_prices(self, read: Callable[[], Readings]) -> None:
        """`read`: what a device of each AcceleratorProfile costs."""
        help_ = "Price of one device per hour, by AcceleratorProfile; on spot nodes, where the profile has such a price"
        self.registry.read_gauge("device_hourly_cost", help_, ("accelerator", "spot"), read)

    def watch_each_model(self, read: Callable[[], Iterable[Seen]]) -> None:
        """`read`: what the caches show of each LLMDeployment."""
        self.registry.add_of_objects(ObjectMetrics(MODEL_METRICS, read, samples_of))
