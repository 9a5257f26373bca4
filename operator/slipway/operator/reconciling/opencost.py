"""The accelerators of models under the names that OpenCost gives them, for what reads those. Pure.

Only on demand (`--opencost-metrics`): a real OpenCost exposes the same, and both would be summed. The labels are
OpenCost's, of which `instance` is the node as well: https://opencost.io/docs/integrations/metrics
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from slipway.api.acceleratorprofile import AcceleratorProfile
from slipway.observing.ledger import Held
from slipway.observing.measured import CONTAINER
from slipway.operator.planning.engines import CPU
from slipway.process.exposition import Description, ObjectMetrics, Sample

ALLOCATION = Description(
    "container_gpu_allocation",
    "gauge",
    ("namespace", "pod", "container", "instance", "node"),
    "Accelerators that a pod of a model holds, as OpenCost calls them",
)
PRICE = Description(
    "node_gpu_hourly_cost",
    "gauge",
    ("instance", "node"),
    "Price per hour of one accelerator of a node on which a model runs, as OpenCost calls it",
)


class HeldIn(NamedTuple):
    namespace: str
    held: Held


def opencost_metrics(
    held: Callable[[], Iterable[HeldIn]], profiles: Callable[[], Iterable[AcceleratorProfile]]
) -> ObjectMetrics[Sequence[Sample]]:
    """`held`: what all pods of models hold now."""

    def read() -> Iterator[Sequence[Sample]]:
        return samples_of(held(), {each.metadata.name: each for each in profiles()})

    return ObjectMetrics((ALLOCATION, PRICE), read, lambda samples: samples)


def samples_of(them: Iterable[HeldIn], profiles: Mapping[str, AcceleratorProfile]) -> Iterator[Sequence[Sample]]:
    """Of each pod; none of many, which count in a step of the page nevertheless. A node has one price, however many
    pods are on it; CPUs are no accelerators."""
    priced: set[str] = set()
    for namespace, held in them:
        profile = profiles.get(held.accelerator)
        if profile is None or profile.spec.vendor == CPU or held.until is not None:
            yield ()
            continue
        samples = [Sample(ALLOCATION, (namespace, held.pod, CONTAINER, held.node, held.node), held.devices)]
        if held.per_hour is not None and held.node not in priced:
            priced.add(held.node)
            samples.append(Sample(PRICE, (held.node, held.node), held.per_hour / held.devices))
        yield samples
