"""What the node plugin reports to Prometheus: what is stored on its node for whom, and what it has done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from slipway.nodecache.eviction import Disk, Entry, Why
from slipway.process.metrics import MetricsRegistry, Readings


class NodeCacheMetrics:
    """`node`: a label of what is there now, because a pod of a DaemonSet has a name that says nothing."""

    def __init__(self, registry: MetricsRegistry, node: str) -> None:
        self._node = node
        self._bytes: Counter[str] = Counter()
        self._models: Counter[str] = Counter()
        self._free = self._size = 0
        self.publishes = registry.counter(
            "node_cache_publishes",
            "Volumes that the kubelet wanted for pods, by result: published, refused (no room), or failed",
            "result",
        )
        self.evictions = registry.counter(
            "node_cache_evictions",
            f"Models that were removed from the node, by reason: {', '.join(Why)}",
            "reason",
        )
        by_namespace = ("node", "cached_for")
        registry.read_gauge(
            "node_cache_bytes", "Bytes in the folder of a namespace", by_namespace, lambda: self._of(self._bytes)
        )
        registry.read_gauge(
            "node_cache_models", "Models in the folder of a namespace", by_namespace, lambda: self._of(self._models)
        )
        registry.read_gauge(
            "node_cache_disk_free_bytes", "What the node's disk has left", ("node",), lambda: {(node,): self._free}
        )
        registry.read_gauge(
            "node_cache_disk_size_bytes", "Size of the node's disk", ("node",), lambda: {(node,): self._size}
        )

    def show(self, entries: Iterable[Entry], names: Mapping[str, str], disk: Disk) -> None:
        """What was counted last. `names`: of the namespaces, by uid."""
        self._bytes, self._models = Counter(), Counter()
        for entry in entries:
            name = names.get(entry.namespace) or entry.namespace
            self._bytes[name] += entry.size
            self._models[name] += entry.is_model
        self._free, self._size = disk.free, disk.size

    def _of(self, counts: Mapping[str, int]) -> Readings:
        return {(self._node, name): count for name, count in counts.items()}
