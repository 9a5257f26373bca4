"""What drivers offer for claims (dynamic resource allocation): the devices of each DeviceClass by node. Pure.

Only the scheduler evaluates the CEL of a DeviceClass's selectors. Here, conjunctions of the two usual comparisons are
read: `device.driver == '…'` and `device.attributes['…'].NAME == '…'`. A class with any other selector is `inexact`: its
devices are counted without that selector, so that no profile is ruled out by mistake.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slipway.objects.kinds import Object
from slipway.operator.planning.stock.cluster import DeviceClasses
from slipway.operator.planning.stock.nodes import listed, mapping

LONGEST_EXPRESSION = 2048
DRIVER = re.compile(r"""device\.driver\s*==\s*(["'])([^"']+)\1""")
ATTRIBUTE = re.compile(r"""device\.attributes\[(["'])([^"']+)\1\]\.(\w+)\s*==\s*(["'])([^"']*)\4""")

DeviceId = tuple[str, str, str]
"""Driver, pool and name."""


@dataclass(frozen=True)
class _Device:
    id: DeviceId
    node: str
    attributes: Mapping[str, Any]
    is_part: bool  # it shares what it consists of with others, so that not all can be in use at the same time


@dataclass(frozen=True)
class _Selection:
    """What a class requires of a device, as far as it could be read."""

    driver: str = ""
    attributes: tuple[tuple[str, str, str], ...] = ()  # domain, name and value
    exact: bool = True

    def admits(self, device: _Device) -> bool:
        driver = device.id[0]
        if self.driver and self.driver != driver:
            return False
        return all(_attribute(device, domain, name) == value for domain, name, value in self.attributes)


def device_classes(
    classes: Iterable[Object], slices: Iterable[Object], claims: Iterable[Object] | None
) -> DeviceClasses:
    """`slices` and `claims`: the ResourceSlices and ResourceClaims of resource.k8s.io/v1; None: they aren't seen."""
    devices = list(_devices(_newest(slices)))
    taken = None if claims is None else _taken(claims)
    on_nodes: dict[str, Counter[str]] = {}
    free: dict[str, Counter[str]] = {}
    inexact = set()
    for each in classes:
        name, selection = _name(each), _selection(each)
        there = [device for device in devices if selection.admits(device)]
        on_nodes[name] = Counter(device.node for device in there)
        free[name] = Counter(device.node for device in there if taken is not None and device.id not in taken)
        if not selection.exact or any(device.is_part for device in there):
            inexact.add(name)
    return DeviceClasses(on_nodes=on_nodes, free_on_nodes=None if taken is None else free, inexact=frozenset(inexact))


def _selection(device_class: Object) -> _Selection:
    clauses: list[str] = []
    exact = True
    for each in listed(mapping(device_class.get("spec")).get("selectors")):
        expression = str(mapping(mapping(each).get("cel")).get("expression") or "")
        exact = exact and bool(expression) and len(expression) <= LONGEST_EXPRESSION and "||" not in expression
        clauses += expression.split("&&") if "||" not in expression and len(expression) <= LONGEST_EXPRESSION else []
    drivers, attributes = [], []
    for clause in map(str.strip, clauses):
        if found := DRIVER.fullmatch(clause):
            drivers.append(found[2])
        elif found := ATTRIBUTE.fullmatch(clause):
            attributes.append((found[2], found[3], found[5]))
        else:
            exact = False
    return _Selection(drivers[0] if drivers else "", tuple(attributes), exact)


# --- objects of any form ---------------------------------------------------------------------------------------------


def _newest(slices: Iterable[Object]) -> list[Mapping[str, Any]]:
    """Those of the newest generation of each pool; the others are outdated."""
    specs = [mapping(each.get("spec")) for each in slices]
    newest: dict[tuple[str, str], int] = {}
    for spec in specs:
        pool = _pool(spec)
        newest[pool] = max(newest.get(pool, 0), _generation(spec))
    return [spec for spec in specs if _generation(spec) == newest[_pool(spec)]]


def _pool(spec: Mapping[str, Any]) -> tuple[str, str]:
    return str(spec.get("driver") or ""), str(mapping(spec.get("pool")).get("name") or "")


def _generation(spec: Mapping[str, Any]) -> int:
    found = mapping(spec.get("pool")).get("generation")
    return found if isinstance(found, int) else 0


def _devices(specs: Iterable[Mapping[str, Any]]) -> Iterable[_Device]:
    """Those of one node; devices that several nodes reach can't be counted by node."""
    for spec in specs:
        node = spec.get("nodeName")
        if not isinstance(node, str) or not node:
            continue
        for each in map(mapping, listed(spec.get("devices"))):
            id_ = (*_pool(spec), str(each.get("name") or ""))
            yield _Device(id_, node, mapping(each.get("attributes")), bool(each.get("consumesCounters")))


def _attribute(device: _Device, domain: str, name: str) -> str:
    """As a string: the domain of an attribute without one is the driver's."""
    value = mapping(device.attributes.get(f"{domain}/{name}"))
    if not value and domain == device.id[0]:
        value = mapping(device.attributes.get(name))
    return str(value.get("string", value.get("version", "")))


def _taken(claims: Iterable[Object]) -> set[DeviceId]:
    results: list[Sequence[Any]] = [
        listed(mapping(mapping(mapping(each.get("status")).get("allocation")).get("devices")).get("results"))
        for each in claims
    ]
    return {
        (str(each.get("driver") or ""), str(each.get("pool") or ""), str(each.get("device") or ""))
        for result in results
        for each in map(mapping, result)
    }


def _name(found: Object) -> str:
    return str(mapping(found.get("metadata")).get("name") or "")
