"""Mistakes in the charts' values are refused with a suggestion or the missing name; each value has a description."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from support.builders.objects import Object
from support.charts.helm import Refused, name_of, rendered
from support.charts.values import defaults, nested
from support.repository import CHARTS

Path_ = tuple[str, ...]
ALL = ["slipway", "slipway-crds"]
WITH_PLATFORM = [*ALL, "slipway-platform"]


# --- descriptions ----------------------------------------------------------------------------------------------------


def undescribed(schema: Any, path: Path_ = ()) -> Iterator[str]:
    for name, each in schema["properties"].items():
        if "description" in each:  # the description covers everything below it, too
            continue
        if "properties" in each:
            yield from undescribed(each, (*path, name))
        else:
            yield ".".join((*path, name))


@pytest.mark.parametrize("chart", WITH_PLATFORM)
def test_every_value_has_a_description(chart: str) -> None:
    schema = json.loads((CHARTS / chart / "values.schema.json").read_text())
    assert list(undescribed(schema)) == []


@pytest.mark.parametrize(
    ("values", "meant"),
    [
        ({"operator": {"replica": 3}}, "operator.replicas"),
        ({"operator": {"nodeselector": {}}}, "operator.nodeSelector"),
        ({"activator": {"autoscaling": {"enable": True}}}, "activator.autoscaling.enabled"),
        ({"image": {"tag": "1"}}, "images"),
        ({"images": {"operator": {"tags": "1"}}}, "images.operator.tag"),
        ({"accelerators": {"vendors": {"nvida": False}}}, "accelerators.vendors.nvidia"),
        ({"tolerations": []}, "operator.tolerations or activator.tolerations or modelCache.node.tolerations"),
        ({"watchNamespace": "chat"}, "watchNamespaces"),
    ],
    ids=str,
)
def test_an_unknown_name_is_refused_with_the_nearest_known_one(values: dict[str, Any], meant: str) -> None:
    with pytest.raises(Refused, match=rf"value must be 'renamed to {re.escape(meant)}, the nearest that there is'"):
        rendered("slipway", values)


def test_an_unknown_name_without_a_near_one_is_refused_with_the_known_names() -> None:
    with pytest.raises(Refused, match=r"at '/operator': additional properties 'foo' not allowed") as refused:
        rendered("slipway", {"operator": {"foo": 3}})
    assert "'replicas'" in str(refused.value)


def maps(schema: Any) -> Iterator[Any]:
    """The schemas of all maps with known names."""
    if schema.get("additionalProperties") is False:
        yield schema
    for each in schema.get("properties", {}).values():
        yield from maps(each)


@pytest.mark.parametrize("chart", WITH_PLATFORM)
def test_no_name_is_a_misspelling_of_another_and_each_misspelling_gets_a_suggestion(chart: str) -> None:
    for each in maps(json.loads((CHARTS / chart / "values.schema.json").read_text())):
        names, patterns = [*each["properties"]], each["patternProperties"]
        assert not [name for name in names for pattern in patterns if re.search(pattern, name)]
        for name in names:
            meant = {word: suggestion_for(word, patterns) for word in misspellings(name) if word not in names}
            assert not [
                word for word, suggestion in meant.items() if not re.search(rf"\b{re.escape(name)}\b", suggestion)
            ], name


def suggestion_for(word: str, patterns: dict[str, Any]) -> str:
    return " ".join(rule["const"] for pattern, rule in patterns.items() if re.search(pattern, word))


def misspellings(name: str) -> set[str]:
    """Typical typos: a letter too few or too many, the wrong case, two letters swapped."""
    last, doubled, swapped = name[:-1], name[:1] + name, name[1::-1] + name[2:]
    return {f"{name}s", last, doubled, swapped, name[:1].upper() + name[1:]} - {name}


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"log": {"level": "loud"}}, "must be one of 'debug', 'info', 'warning', 'error'"),
        ({"operator": {"replicas": 0}}, "minimum"),
        ({"activator": {"names": []}}, "minItems"),
        ({"images": {"operator": {"digest": "abc"}}}, "does not match pattern"),
        ({"accelerators": {"costPerHour": {"l4": -1}}}, "minimum"),
        (
            {"accelerators": {"costPerHour": {"l5": 1}}},
            "l5, which is not an AcceleratorProfile of this chart",
        ),
        ({"watchNamespaces": ["chat", "*"]}, "does not match pattern"),
        (
            {"activator": {"replicas": 3, "autoscaling": {"enabled": True, "maxReplicas": 2}}},
            "maxReplicas is 2, less than activator.replicas, which is 3: raise maxReplicas or lower replicas",
        ),
        (
            {"activator": {"autoscaling": {"enabled": True, "cpu": 0}}},
            "both cpu and memory are 0: set one of them to a percentage, or disable autoscaling",
        ),
        (
            {"monitoring": {"podMonitor": {"enabled": True}, "serviceMonitor": {"enabled": True}}},
            "each metric would be scraped twice: disable one",
        ),
        ({"accelerators": {"costPerHour": {"l4": "a lot"}}}, "does not match pattern"),
        ({"monitoring": {"rules": {"alerts": {"SlipwayWakeFailing": {"share": 50}}}}}, "maximum: got 50, want 1"),
        ({"platform": {"kedaNamespace": ""}}, "does not match pattern"),
        ({"platform": {"kserveNamespace": ""}}, "does not match pattern"),
        ({"images": {"registry": "https://registry.example.com"}}, "does not match pattern"),
        ({"images": {"pullSecrets": ["registry"]}}, "got string, want object"),
        ({"operator": {"tolerations": [{"effect": "Never"}]}}, "value must be one of"),
        ({"operator": {"tolerations": [{"kay": "gpu"}]}}, "'kay' not allowed"),
        ({"operator": {"env": [{"value": "1"}]}}, "missing property 'name'"),
        ({"operator": {"env": [{"name": "A", "value": 1}]}}, "got number, want string"),
        ({"operator": {"affinity": {"nodeAfinity": {}}}}, "renamed to operator.affinity.nodeAffinity"),
        ({"operator": {"topologySpreadConstraints": [{"maxSkew": 1}]}}, "missing properties"),
        ({"activator": {"trustedProxies": ["gateway"]}}, "does not match pattern"),
        ({"extraObjects": [1]}, "got number, want"),
        *(
            (
                {"activator": {"names": ["slipway-activator", name]}},
                f"activator.names has {name}, which is the name of other objects",
            )
            for name in ("view", "edit", "admin", "cluster-admin", "slipway-operator", "slipway-selftest")
        ),
        (
            {"operator": {"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}},
            "operator.env has A twice: remove one of them",
        ),
    ],
    ids=str,
)
def test_an_invalid_value_is_refused(values: dict[str, Any], error: str) -> None:
    with pytest.raises(Refused, match=error):
        rendered("slipway", values)


# --- null, and values of the wrong type ------------------------------------------------------------------------------


def test_every_name_stays_a_string() -> None:
    """YAML recognises numbers and booleans by their form."""
    plain = ("plain-a", "plain-b", "plain-c", "plain-d", "plain-e")
    typed = ("123", "null", "on", "true", "1e3")

    def objects(names: tuple[str, ...]) -> list[Object]:
        home, keda, activator, watched, other = names
        values = {
            "platform": {"kedaNamespace": keda, "kserveNamespace": other},
            "activator": {"names": [activator], "priorityClassName": watched, "autoscaling": {"enabled": True}},
            "watchNamespaces": [watched, other],
            "images": {"operator": {"registry": "", "repository": other, "tag": home}},
            "monitoring": {"prometheusNamespaces": [home], "podMonitor": {"enabled": True}},
        }
        return rendered("slipway", values, namespace=home)

    def renamed(value: Any) -> Any:
        if isinstance(value, dict):
            return {renamed(key): renamed(each) for key, each in value.items()}
        if isinstance(value, list):
            return [renamed(each) for each in value]
        for plain_name, typed_name in zip(plain, typed, strict=True) if isinstance(value, str) else ():
            value = value.replace(plain_name, typed_name)
        return value

    def in_order(manifests: list[Object]) -> list[Object]:
        return sorted(
            manifests, key=lambda value: (value["kind"], value["metadata"].get("namespace", ""), name_of(value))
        )

    assert in_order(objects(typed)) == in_order(renamed(objects(plain)))


NOTHING: list[Any] = [None, [], [""]]
"""As `--set watchNamespaces=null`, as in a file, and as `--set watchNamespaces={}`, which helm takes for this."""


@pytest.mark.parametrize("empty", NOTHING, ids=str)
@pytest.mark.parametrize("value", ["watchNamespaces", "activator.trustedProxies", "monitoring.prometheusNamespaces"])
def test_a_list_of_names_can_be_emptied_again(value: str, empty: Any) -> None:
    assert rendered("slipway", nested(value, empty)) == rendered("slipway", nested(value, []))


def emptied(values: Any, schema: Any) -> Any:
    """Sets everything that may be missing and is empty by default to null."""
    found = {}
    for name, default in values.items():
        if isinstance(default, dict) and default:
            value_schema = schema["properties"][name]
            found[name] = emptied(default, value_schema) if "properties" in value_schema else default
        elif not default and name not in schema.get("required", ()):
            found[name] = None
    return found


@pytest.mark.parametrize("chart", ALL)
def test_what_is_empty_by_default_may_be_null(chart: str) -> None:
    schema = json.loads((CHARTS / chart / "values.schema.json").read_text())
    assert rendered(chart, emptied(defaults(chart), schema)) == rendered(chart)


def maps_below(values: Any, path: Path_ = ()) -> Iterator[Path_]:
    for name, each in values.items():
        if isinstance(each, dict) and each and name not in ("resources",):
            yield (*path, name)
            yield from maps_below(each, (*path, name))


@pytest.mark.parametrize(
    ("chart", "path"), [(chart, path) for chart in ALL for path in maps_below(defaults(chart))], ids=str
)
def test_a_map_that_is_null_is_refused_with_its_name(chart: str, path: Path_) -> None:
    with pytest.raises(Refused, match=f"missing property '{path[-1]}'"):
        rendered(chart, nested(".".join(path), None))


def test_a_value_with_a_default_may_not_be_null() -> None:
    with pytest.raises(Refused, match="missing propert") as refused:
        rendered("slipway", {"operator": dict.fromkeys(defaults("slipway")["operator"])})
    assert "'replicas', 'portsPerNamespace', 'disruptionBudget'" in str(refused.value)
