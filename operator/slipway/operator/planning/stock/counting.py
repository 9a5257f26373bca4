"""The Supply: for each profile the nodes that have it, what is free on them, and what could bring more. Pure.

A node belongs to a profile if it has all labels of one of the profile's sets and offers its resource. Nodes that are
cordoned or not ready belong to it as well, because they come back; nothing is free on them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from slipway.api.acceleratorprofile import AcceleratorProfile, AcceleratorProfileSpec
from slipway.api.kubernetes import Toleration
from slipway.api.units import amount
from slipway.operator.planning import spot
from slipway.operator.planning.divided import NVIDIA_GPU, admits_divided, is_divided
from slipway.operator.planning.engines import CPU
from slipway.operator.planning.stock.cluster import Cluster
from slipway.operator.planning.stock.index import NodeIndex
from slipway.operator.planning.stock.node_pools import growth_of
from slipway.operator.planning.stock.nodes import NodeFacts, Taint, in_order, numbers, quantities, tolerates
from slipway.operator.planning.supply import OnDriver, ProfileSupply, Room, Supply

MIB, GIB = 2**20, 2**30
MIG = "nvidia.com/mig-"  # begins the resources of MIG instances, with the strategy `mixed`
MOST_TAINTS = 4  # that are named
CPU_STEP, MEMORY_STEP = 100, 256 * MIB
"""Of a room: smaller changes of what pods use are no other supply."""
INEXACT = "The selectors of DeviceClass {} are more than Slipway evaluates, so fewer of these devices may match."


def supply_of(profiles: Iterable[AcceleratorProfile], cluster: Cluster) -> Supply:
    """What `cluster` has of each profile."""
    profiles = tuple(profiles)
    index = NodeIndex(cluster.nodes, (labels for each in profiles for labels in each.spec.label_sets))
    found = {each.metadata.name: _Terms.of(each.spec, index, cluster) for each in profiles}
    regular = {name: terms.only(on_spot=False) for name, terms in found.items()}
    on_spot = {name: terms.only(on_spot=True) for name, terms in found.items()}
    return Supply(
        profiles={name: _together(regular[name], on_spot[name]) for name in found},
        regular=regular,
        spot=on_spot,
    )


@dataclass(frozen=True)
class _Terms:
    """The nodes with the labels of one profile: regular ones, and those on spot terms."""

    spec: AcceleratorProfileSpec
    cluster: Cluster
    regular: Sequence[NodeFacts]
    spot: Sequence[NodeFacts]

    @classmethod
    def of(cls, spec: AcceleratorProfileSpec, index: NodeIndex, cluster: Cluster) -> _Terms:
        nodes = _nodes_of(spec, index)
        own = spec.spot.node_labels.items() if spec.spot else ()
        on_spot = [node.is_spot or bool(own and own <= node.labels.items()) for node in nodes]
        return cls(
            spec,
            cluster,
            [node for node, is_spot in zip(nodes, on_spot, strict=True) if not is_spot],
            [node for node, is_spot in zip(nodes, on_spot, strict=True) if is_spot],
        )

    def only(self, *, on_spot: bool) -> ProfileSupply:
        tolerations = [*self.spec.tolerations, *(spot.tolerations(self.spec) if on_spot else ())]
        counted = _counted(self.spec, self.spot if on_spot else self.regular, tolerations, self.cluster)
        can_grow, growth, why_not = growth_of(self.spec, tolerations, self.cluster.pools, on_spot=on_spot)
        return replace(
            counted,
            spot_nodes=counted.nodes if on_spot else 0,
            can_grow=can_grow,
            growth=growth,
            remarks=(*counted.remarks, *why_not, *self.cluster.remarks),
        )


def _nodes_of(spec: AcceleratorProfileSpec, index: NodeIndex) -> Sequence[NodeFacts]:
    """With all labels of any of its sets; as placement.py renders it, several sets exclude nodes with divided GPUs."""
    sets = spec.label_sets
    if len(sets) < 2 or not spec.resource or spec.resource.name != NVIDIA_GPU:
        return index.with_any(sets)
    exact = [each for each in sets if admits_divided(each)]
    others = [each for each in sets if not admits_divided(each)]
    there = {node.name: node for node in (index.with_any(exact) if exact else ())}
    there |= {node.name: node for node in (index.with_any(others) if others else ()) if not is_divided(node.labels)}
    return list(there.values())


# --- the nodes -------------------------------------------------------------------------------------------------------


@dataclass
class _Count:
    """Grows node by node, with little work for each: there may be thousands, for each of dozens of profiles."""

    nodes: int = 0
    devices: int = 0
    most: int = 0
    free: int = 0
    most_free: int = 0
    is_free_known: bool = True
    out_of_use: int = 0
    tainted: int = 0
    without: int = 0
    drivers: dict[str, _OnDriver] = field(default_factory=dict)
    cuda: set[str] = field(default_factory=set)
    memory: set[str] = field(default_factory=set)  # as labels say it
    memory_of_node: int | None = None
    taints: set[str] = field(default_factory=set)
    rooms: list[Room | None] = field(default_factory=list)  # on the nodes that are in use

    def add(self, node: NodeFacts, offered: int) -> None:
        self.nodes += 1
        self.devices += offered
        self.most = max(self.most, offered)
        self.cuda.add(node.cuda)
        memory = node.offered.get("memory")
        if memory and (self.memory_of_node is None or memory < self.memory_of_node):
            self.memory_of_node = memory

    def add_free(self, free: int | None) -> None:
        if free is None:
            self.is_free_known = False
        else:
            self.free += free
            self.most_free = max(self.most_free, free)


@dataclass
class _OnDriver:
    """The same of the nodes with one version of the driver."""

    nodes: int = 0
    most: int = 0
    most_free: int | None = 0  # None: unknown

    def add(self, offered: int, free: int | None) -> None:
        self.nodes += 1
        self.most = max(self.most, offered)
        self.most_free = None if free is None or self.most_free is None else max(self.most_free, free)


def _counted(
    spec: AcceleratorProfileSpec, nodes: Iterable[NodeFacts], tolerations: Sequence[Toleration], cluster: Cluster
) -> ProfileSupply:
    devices, label = _counter(spec, cluster), _memory_label(spec)
    count, barred = _Count(), _Barring(tolerations)
    for node in nodes:
        offered = devices.offered(node)
        if not offered:
            count.without += not _is_in_instances(node)
        elif taint := barred.by(node.taints):
            count.tainted += 1
            count.taints.add(taint)
        else:
            count.add(node, offered)
            count.memory.add(node.labels.get(label, ""))
            free = devices.free(node) if node.usable else 0
            count.add_free(free)
            count.out_of_use += not node.usable
            if devices.room and node.usable:
                count.rooms.append(devices.room(node))
            count.drivers.setdefault(node.driver, _OnDriver()).add(offered, free)
    return _as_supply(spec, count, devices.remarks)


def _as_supply(spec: AcceleratorProfileSpec, count: _Count, remarks: tuple[str, ...]) -> ProfileSupply:
    return ProfileSupply(
        nodes=count.nodes,
        devices=count.devices,
        most_on_a_node=count.most,
        free=count.free if count.is_free_known else None,
        most_free_on_a_node=count.most_free if count.is_free_known else None,
        rooms=_rooms(spec, count),
        on_drivers=_in_order(
            OnDriver(
                driver=driver,
                nodes=each.nodes,
                most_on_a_node=each.most,
                most_free_on_a_node=each.most_free if count.is_free_known else None,
            )
            for driver, each in count.drivers.items()
        ),
        cuda=in_order(count.cuda),
        memory=min((each for label in count.memory if (each := _labelled_memory(spec, label))), default=None),
        memory_of_node=count.memory_of_node,
        out_of_use=count.out_of_use,
        tainted=count.tainted,
        taints=tuple(sorted(count.taints)[:MOST_TAINTS]),
        without_devices=count.without if spec.vendor != CPU and spec.label_sets else 0,
        remarks=remarks,
    )


def _rooms(spec: AcceleratorProfileSpec, count: _Count) -> tuple[Room, ...] | None:
    known = [each for each in count.rooms if each is not None]
    return _largest(known) if spec.vendor == CPU and len(known) == len(count.rooms) else None


def _in_order(found: Iterable[OnDriver]) -> tuple[OnDriver, ...]:
    return tuple(sorted(found, key=lambda each: numbers(each.driver)))


def _is_in_instances(node: NodeFacts) -> bool:
    """Whether its GPUs are divided into MIG instances, so that they aren't only waiting for their device plugin."""
    return any(name.startswith(MIG) for name in node.offered)


class _Barring:
    """Finds the first taint that isn't tolerated; most nodes have the same taints."""

    def __init__(self, tolerations: Sequence[Toleration]) -> None:
        self._tolerations = tolerations
        self._known: dict[tuple[Taint, ...], str] = {(): ""}

    def by(self, taints: tuple[Taint, ...]) -> str:
        """Empty: by none."""
        if (known := self._known.get(taints)) is None:
            known = next((str(each) for each in taints if not tolerates(self._tolerations, each)), "")
            self._known[taints] = known
        return known


def _memory_label(spec: AcceleratorProfileSpec) -> str:
    """The label that says the memory of one device."""
    name = spec.resource.name if spec.resource else ""
    if name.startswith(MIG):
        return f"{name}.memory"
    return {"nvidia.com/gpu": "nvidia.com/gpu.memory", "amd.com/gpu": "amd.com/gpu.vram"}.get(name, "")


def _labelled_memory(spec: AcceleratorProfileSpec, label: str) -> int:
    """In bytes: NVIDIA's are in MiB, AMD's are like 192G."""
    unit = GIB if spec.vendor == "AMD" else MIB
    return quantities({"": label.removesuffix("G")}).get("", 0) * unit


# --- devices ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Devices:
    """How many devices of a profile a node offers, and how many of them are free; None: unknown."""

    offered: Callable[[NodeFacts], int]
    free: Callable[[NodeFacts], int | None]
    remarks: tuple[str, ...] = ()
    room: Callable[[NodeFacts], Room | None] | None = None  # of CPUs


def _counter(spec: AcceleratorProfileSpec, cluster: Cluster) -> _Devices:
    if spec.resource is None:
        return _claimed(spec.device_class or "", cluster)
    resource, size = spec.resource.name, spec.resource.count
    if spec.vendor == CPU:
        return _cpus({"cpu": size * 1000, "memory": int(amount(spec.memory))}, cluster)

    def free(node: NodeFacts) -> int | None:
        """None where no pods are seen; a single node of which they aren't seen must not hide what is free on others."""
        used = cluster.used.get(node.name)
        if used is None:
            return 0 if cluster.used else None
        return max(0, node.offered.get(resource, 0) - used.get(resource, 0)) // size

    return _Devices(lambda node: node.offered.get(resource, 0) // size, free)


def _cpus(wanted: Mapping[str, int], cluster: Cluster) -> _Devices:
    """A device is a replica with the profile's CPUs and memory."""

    def left(node: NodeFacts) -> Mapping[str, int] | None:
        used = cluster.used.get(node.name)
        if used is None:
            return {} if cluster.used and cluster.counts_cpus else None
        return {name: max(0, node.offered.get(name, 0) - used.get(name, 0)) for name in wanted}

    def free(node: NodeFacts) -> int | None:
        return None if (there := left(node)) is None else _fit(there, wanted)

    def room(node: NodeFacts) -> Room | None:
        if (there := left(node)) is None:
            return None
        cpu, memory = there.get("cpu", 0), there.get("memory", 0)
        return Room(cpu - cpu % CPU_STEP, memory - memory % MEMORY_STEP)

    return _Devices(lambda node: _fit(node.offered, wanted), free, room=room)


def _fit(there: Mapping[str, int], wanted: Mapping[str, int]) -> int:
    return min(there.get(name, 0) // count for name, count in wanted.items())


def _largest(rooms: Iterable[Room]) -> tuple[Room, ...]:
    """Those that no other room exceeds in both, the one with the most CPUs first."""
    found: list[Room] = []
    for each in sorted(set(rooms), reverse=True):
        if not found or each.memory > found[-1].memory:
            found.append(each)
    return tuple(found)


def _claimed(device_class: str, cluster: Cluster) -> _Devices:
    if cluster.device_classes is None or device_class not in cluster.device_classes.on_nodes:
        return _Devices(lambda _: 0, lambda _: 0)
    there = cluster.device_classes.on_nodes[device_class]
    free = cluster.device_classes.free_on_nodes
    remarks = (INEXACT.format(device_class),) if device_class in cluster.device_classes.inexact else ()
    return _Devices(
        lambda node: there.get(node.name, 0),
        lambda node: None if free is None else free.get(device_class, {}).get(node.name, 0),
        remarks,
    )


# --- both terms ------------------------------------------------------------------------------------------------------


def _together(one: ProfileSupply, other: ProfileSupply) -> ProfileSupply:
    growth = (each.growth for each in (one, other) if each.growth)
    return ProfileSupply(
        nodes=one.nodes + other.nodes,
        devices=one.devices + other.devices,
        most_on_a_node=max(one.most_on_a_node, other.most_on_a_node),
        free=None if one.free is None or other.free is None else one.free + other.free,
        most_free_on_a_node=_greater(one.most_free_on_a_node, other.most_free_on_a_node),
        rooms=None if one.rooms is None or other.rooms is None else _largest((*one.rooms, *other.rooms)),
        spot_nodes=one.spot_nodes + other.spot_nodes,
        can_grow=one.can_grow or other.can_grow,
        growth=", ".join(dict.fromkeys(growth)),
        on_drivers=_in_order(_by_driver(one, other)),
        cuda=in_order((*one.cuda, *other.cuda)),
        memory=_smaller(one.memory, other.memory),
        memory_of_node=_smaller(one.memory_of_node, other.memory_of_node),
        out_of_use=one.out_of_use + other.out_of_use,
        tainted=one.tainted + other.tainted,
        taints=tuple(sorted({*one.taints, *other.taints})[:MOST_TAINTS]),
        without_devices=one.without_devices + other.without_devices,
        remarks=tuple(dict.fromkeys((*one.remarks, *other.remarks))),
    )


def _by_driver(one: ProfileSupply, other: ProfileSupply) -> Iterator[OnDriver]:
    mine, others = ({each.driver: each for each in supply.on_drivers} for supply in (one, other))
    for driver in mine.keys() | others.keys():
        both = [supply[driver] for supply in (mine, others) if driver in supply]
        free = [each.most_free_on_a_node for each in both if each.most_free_on_a_node is not None]
        yield OnDriver(
            driver=driver,
            nodes=sum(each.nodes for each in both),
            most_on_a_node=max(each.most_on_a_node for each in both),
            most_free_on_a_node=max(free) if len(free) == len(both) else None,
        )


def _smaller(one: int | None, other: int | None) -> int | None:
    return min((each for each in (one, other) if each is not None), default=None)


def _greater(one: int | None, other: int | None) -> int | None:
    """None: one of them is unknown."""
    return None if one is None or other is None else max(one, other)
