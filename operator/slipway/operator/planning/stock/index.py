"""Finds the nodes of a profile among thousands: by the labels that profiles use, instead of node by node. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from slipway.operator.planning.stock.nodes import NodeFacts

Labels = Mapping[str, str]


class NodeIndex:
    """Made for one set of nodes and profiles, and then only read."""

    def __init__(self, nodes: Sequence[NodeFacts], label_sets: Iterable[Labels]) -> None:
        self._nodes = nodes
        self._with: dict[tuple[str, str], set[int]] = {
            (key, value): set() for labels in label_sets for key, value in labels.items()
        }
        keys = {key for key, _ in self._with}
        for place, node in enumerate(nodes):
            for key in keys & node.labels.keys():
                if (places := self._with.get((key, node.labels[key]))) is not None:
                    places.add(place)

    def with_any(self, label_sets: Sequence[Labels]) -> Sequence[NodeFacts]:
        """The nodes that have all labels of any of the sets; without any set, all nodes."""
        if not label_sets:
            return self._nodes
        found: set[int] = set().union(*(self._places(labels) for labels in label_sets))
        return [self._nodes[place] for place in sorted(found)]

    def _places(self, labels: Labels) -> set[int]:
        each = sorted((self._with[pair] for pair in labels.items()), key=len)
        return set.intersection(*each) if each else set(range(len(self._nodes)))
