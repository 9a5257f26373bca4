"""What can be said in the charts' values: each has a text, makes the difference that it says; mistakes are refused."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from support.charts import CHARTS, Refused, name_of, rendered
from support.kube import Object

Path_ = tuple[str, ...]

SWITCHES = [
    # value, and the object that is there only with it
    ("slipway-crds", "policies.enabled", "ValidatingAdmissionPolicy", "restricted.slipway.dev"),
    ("slipway", "operator.disruptionBudget", "PodDisruptionBudget", "slipway-operator"),
    ("slipway", "activator.disruptionBudget", "PodDisruptionBudget", "slipway-activator"),
    ("slipway", "activator.autoscaling.enabled", "HorizontalPodAutoscaler", "slipway-activator"),
    ("slipway", "userRoles", "ClusterRole", "slipway-edit"),
    ("slipway", "accelerators.readableByAll", "ClusterRoleBinding", "slipway-accelerators-view"),
    ("slipway", "networkPolicies", "NetworkPolicy", "slipway-operator"),
    ("slipway", "monitoring.podMonitor.enabled", "PodMonitor", "slipway"),
    ("slipway", "monitoring.serviceMonitor.enabled", "ServiceMonitor", "slipway"),
    ("slipway", "runtimes.llamacpp.enabled", "ClusterServingRuntime", "slipway-llamacpp"),
    ("slipway", "runtimes.vllm-cpu.enabled", "ClusterServingRuntime", "slipway-vllm-cpu"),
    ("slipway", "runtimes.vllm-cuda.enabled", "ClusterServingRuntime", "slipway-vllm-cuda"),
    ("slipway", "runtimes.vllm-rocm.enabled", "ClusterServingRuntime", "slipway-vllm-rocm"),
    ("slipway", "runtimes.sglang.enabled", "ClusterServingRuntime", "slipway-sglang"),
    ("slipway", "runtimes.tgi.enabled", "ClusterServingRuntime", "slipway-tgi"),
    ("slipway", "runtimes.lmdeploy.enabled", "ClusterServingRuntime", "slipway-lmdeploy"),
    ("slipway", "runtimes.triton.enabled", "ClusterServingRuntime", "slipway-triton"),
    ("slipway", "runtimes.nim.enabled", "ClusterServingRuntime", "slipway-nim"),
    ("slipway", "runtimes.ovms.enabled", "ClusterServingRuntime", "slipway-ovms"),
    ("slipway", "accelerators.vendors.cpu", "AcceleratorProfile", "cpu"),
    ("slipway", "accelerators.vendors.nvidia", "AcceleratorProfile", "h100-80gb"),
    ("slipway", "accelerators.vendors.nvidia-mig", "AcceleratorProfile", "a100-80gb-mig-3g.40gb"),
    ("slipway", "accelerators.vendors.amd", "AcceleratorProfile", "mi300x"),
    ("slipway", "accelerators.vendors.intel", "AcceleratorProfile", "gaudi3"),
    ("slipway", "accelerators.vendors.google", "AcceleratorProfile", "tpu-v5e"),
]
CHANGES_OBJECTS = {"keep", "fixedUserIds"}
ALL = ["slipway", "slipway-crds"]


def defaults(chart: str) -> Any:
    return yaml.safe_load((CHARTS / chart / "values.yaml").read_text())


def nested(path: str, value: Any) -> dict[str, Any]:
    for key in reversed(path.split(".")):
        value = {key: value}
    return value  # type: ignore[no-any-return]


def there(chart: str, values: dict[str, Any]) -> set[tuple[str, str]]:
    return {(thing["kind"], name_of(thing)) for thing in rendered(chart, values)}


def program(name: str, values: dict[str, Any]) -> Object:
    [found] = [
        thing
        for thing in rendered("slipway", values)
        if (thing["kind"], thing["metadata"]["name"]) == ("Deployment", name)
    ]
    return found


def booleans(values: Any, path: Path_ = ()) -> Iterator[str]:
    if isinstance(values, bool):
        yield ".".join(path)
    elif isinstance(values, dict):
        for key, each in values.items():
            yield from booleans(each, (*path, key))


# --- switches --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("chart", "value", "kind", "name"), SWITCHES, ids=[row[1] for row in SWITCHES])
def test_a_switch_brings_an_object_and_takes_it_away(chart: str, value: str, kind: str, name: str) -> None:
    assert (kind, name) in there(chart, nested(value, value=True))
    assert (kind, name) not in there(chart, nested(value, value=False))


@pytest.mark.parametrize("chart", ALL)
def test_there_is_no_other_switch(chart: str) -> None:
    assert {row[1] for row in SWITCHES if row[0] == chart} == set(booleans(defaults(chart))) - CHANGES_OBJECTS


def test_types_outlive_their_release_unless_somebody_says_otherwise() -> None:
    def annotations(values: dict[str, Any]) -> list[Any]:
        objects = rendered("slipway-crds", values)
        return [each["metadata"].get("annotations") for each in objects if each["kind"] == "CustomResourceDefinition"]

    assert annotations({}) == [{"helm.sh/resource-policy": "keep"}] * 2
    assert annotations({"keep": False}) == [None] * 2


def containers(values: dict[str, Any]) -> list[Any]:
    """Of all pods, also of those that KServe will make."""
    found = []
    for thing in rendered("slipway", values):
        spec = thing.get("spec", {})
        pod = spec.get("template", {}).get("spec") or (spec if "containers" in spec else {})
        found += [{"pod": pod.get("securityContext") or {}, **each} for each in pod.get("containers", [])]
    return found


def test_where_the_cluster_chooses_user_ids_none_is_fixed_and_root_is_still_refused() -> None:
    for container in containers({"fixedUserIds": False}):
        context = container["pod"] | container["securityContext"]
        assert not {"runAsUser", "runAsGroup", "fsGroup"} & context.keys()
        assert context["runAsNonRoot"]


def test_of_the_images_users_the_kubelet_can_see_that_none_is_root() -> None:
    files = [*(CHARTS.parent / "runtime-image").glob("*.Containerfile"), CHARTS.parent / "operator/Containerfile"]
    users = [line.split()[1] for file in files for line in file.read_text().splitlines() if line.startswith("USER ")]
    assert len(users) == len(files)
    assert all(re.fullmatch(r"[1-9]\d*:[1-9]\d*", user) for user in users)


# --- texts and mistakes ----------------------------------------------------------------------------------------------


def undescribed(schema: Any, path: Path_ = ()) -> Iterator[str]:
    for name, each in schema["properties"].items():
        if "description" in each or name == "global":  # a description speaks for all that is below it
            continue
        if "properties" in each:
            yield from undescribed(each, (*path, name))
        else:
            yield ".".join((*path, name))


@pytest.mark.parametrize("chart", ALL)
def test_every_value_is_described(chart: str) -> None:
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
        ({"tolerations": []}, "operator.tolerations or activator.tolerations"),
        ({"watchNamespace": "chat"}, "watchNamespaces"),
    ],
    ids=str,
)
def test_a_name_that_does_not_exist_is_refused_with_the_nearest_that_does(values: dict[str, Any], meant: str) -> None:
    with pytest.raises(Refused, match=rf"value must be 'renamed to {re.escape(meant)}, the nearest that there is'"):
        rendered("slipway", values)


def test_a_name_that_is_near_to_none_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(Refused, match=r"at '/operator': additional properties 'foo' not allowed") as refused:
        rendered("slipway", {"operator": {"foo": 3}})
    assert "'replicas'" in str(refused.value)


def maps(schema: Any) -> Iterator[Any]:
    """The schemas of all maps whose names are known."""
    if schema.get("additionalProperties") is False:
        yield schema
    for each in schema.get("properties", {}).values():
        yield from maps(each)


@pytest.mark.parametrize("chart", ALL)
def test_names_are_no_misspellings_of_each_other_and_each_misspelling_is_told_what_was_meant(chart: str) -> None:
    for each in maps(json.loads((CHARTS / chart / "values.schema.json").read_text())):
        names, patterns = [*each["properties"]], each["patternProperties"]
        assert not [name for name in names for pattern in patterns if re.search(pattern, name)]
        for name in names:
            meant = {word: told_of(word, patterns) for word in misspellings(name) if word not in names}
            assert not [word for word, told in meant.items() if not re.search(rf"\b{re.escape(name)}\b", told)], name


def told_of(word: str, patterns: dict[str, Any]) -> str:
    return " ".join(told["const"] for pattern, told in patterns.items() if re.search(pattern, word))


def misspellings(name: str) -> set[str]:
    """As they are made: a letter too few or too many, the wrong case, two that changed places."""
    last, doubled, swapped = name[:-1], name[:1] + name, name[1::-1] + name[2:]
    return {f"{name}s", last, doubled, swapped, name[:1].upper() + name[1:]} - {name}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"log": {"level": "loud"}}, "must be one of 'debug', 'info', 'warning', 'error'"),
        ({"operator": {"replicas": 0}}, "minimum"),
        ({"activator": {"names": []}}, "minItems"),
        ({"images": {"operator": {"digest": "abc"}}}, "does not match pattern"),
        ({"accelerators": {"costPerHour": {"l4": -1}}}, "minimum"),
        (
            {"accelerators": {"costPerHour": {"l5": 1}}},
            "l5, and no AcceleratorProfile of this chart is called so",
        ),
        ({"watchNamespaces": ["chat", "*"]}, "does not match pattern"),
        (
            {"activator": {"replicas": 3, "autoscaling": {"enabled": True, "maxReplicas": 2}}},
            "maxReplicas is 2, and activator.replicas, from which it goes up, 3: raise the one or lower the other",
        ),
        (
            {"activator": {"autoscaling": {"enabled": True, "cpu": 0}}},
            "neither its cpu nor its memory counts: set one of them to a percentage, or disable it",
        ),
        (
            {"monitoring": {"podMonitor": {"enabled": True}, "serviceMonitor": {"enabled": True}}},
            "each metric would be there twice: disable one",
        ),
        ({"accelerators": {"costPerHour": {"l4": "a lot"}}}, "does not match pattern"),
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
                f"activator.names has {name}, and so is called what",
            )
            for name in ("view", "edit", "admin", "cluster-admin", "slipway-operator", "slipway-selftest")
        ),
        (
            {"operator": {"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}},
            "operator.env names A twice, and a container has a variable once: leave one of them out",
        ),
    ],
    ids=str,
)
def test_a_value_that_makes_no_sense_is_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(Refused, match=said):
        rendered("slipway", values)


# --- what they do ----------------------------------------------------------------------------------------------------


DIGEST = "sha256:" + "0" * 64
VERSION = (CHARTS.parent / "VERSION").read_text().strip()


@pytest.mark.parametrize(
    ("images", "image"),
    [
        ({}, f"localhost/slipway-operator:{VERSION}"),
        ({"registry": "registry.example.com/llm", "tag": "1"}, "registry.example.com/llm/slipway-operator:1"),
        ({"tag": "1", "operator": {"tag": "2"}}, "localhost/slipway-operator:2"),
        ({"tag": "1", "operator": {"digest": DIGEST}}, f"localhost/slipway-operator@{DIGEST}"),
        ({"registry": "registry.example.com/llm/"}, f"registry.example.com/llm/slipway-operator:{VERSION}"),
        ({"operator": {"registry": "other", "repository": "us/operator"}}, f"other/us/operator:{VERSION}"),
    ],
    ids=str,
)
def test_an_image_is_named_in_one_place(images: dict[str, Any], image: str) -> None:
    for name in ("slipway-operator", "slipway-activator"):
        [container] = program(name, {"images": images})["spec"]["template"]["spec"]["containers"]
        assert container["image"] == image


def test_a_price_replaces_that_of_its_profile_alone() -> None:
    def prices(values: dict[str, Any]) -> dict[str, float]:
        objects = [each for each in rendered("slipway", values) if each["kind"] == "AcceleratorProfile"]
        return {each["metadata"]["name"]: each["spec"].get("costPerHour") for each in objects}

    assert prices({"accelerators": {"costPerHour": {"l4": 0.45}}}) == prices({}) | {"l4": 0.45}
    assert prices({"accelerators": {"costPerHour": {"l4": 0}}}) == prices({}) | {"l4": 0}


def test_a_price_may_be_a_string_since_helms_set_knows_no_fractions() -> None:
    objects = rendered("slipway", {"accelerators": {"costPerHour": {"l4": "0.45"}}})
    assert [each["spec"]["costPerHour"] for each in objects if each["metadata"]["name"] == "l4"] == [0.45]


def test_no_name_is_taken_for_something_else_than_a_string() -> None:
    """YAML knows numbers and booleans by their looks."""
    plain = ("plain-a", "plain-b", "plain-c", "plain-d", "plain-e")
    odd = ("123", "null", "on", "true", "1e3")

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

    def renamed(thing: Any) -> Any:
        if isinstance(thing, dict):
            return {renamed(key): renamed(each) for key, each in thing.items()}
        if isinstance(thing, list):
            return [renamed(each) for each in thing]
        for plain_, odd_ in zip(plain, odd, strict=True) if isinstance(thing, str) else ():
            thing = thing.replace(plain_, odd_)
        return thing

    def in_order(things: list[Object]) -> list[Object]:
        return sorted(things, key=lambda thing: (thing["kind"], thing["metadata"].get("namespace", ""), name_of(thing)))

    assert in_order(objects(odd)) == in_order(renamed(objects(plain)))


NOTHING: list[Any] = [None, [], [""]]
"""As `--set watchNamespaces=null`, as in a file, and as `--set watchNamespaces={}`, which helm takes for this."""


@pytest.mark.parametrize("nothing", NOTHING, ids=str)
@pytest.mark.parametrize("value", ["watchNamespaces", "activator.trustedProxies", "monitoring.prometheusNamespaces"])
def test_a_list_of_names_can_be_emptied_again(value: str, nothing: Any) -> None:
    assert rendered("slipway", nested(value, nothing)) == rendered("slipway", nested(value, []))


def emptied(values: Any, schema: Any) -> Any:
    """All that may be missing and is empty by default as null."""
    found = {}
    for name, default in values.items():
        if isinstance(default, dict) and default:
            told = schema["properties"][name]
            found[name] = emptied(default, told) if "properties" in told else default
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


def test_all_that_has_a_default_is_missed_if_it_is_null() -> None:
    with pytest.raises(Refused, match="missing propert") as refused:
        rendered("slipway", {"operator": dict.fromkeys(defaults("slipway")["operator"])})
    assert "'replicas', 'portsPerNamespace', 'disruptionBudget'" in str(refused.value)


def test_common_labels_and_annotations_are_on_every_object_but_runtimes_and_take_nothing_from_those_that_find_it() -> (
    None
):
    values = {
        "commonLabels": {"team": "ml", "app.kubernetes.io/name": "taken"},
        "commonAnnotations": {"contact": "ml@example.com"},
        "monitoring": {"podMonitor": {"enabled": True}},
    }
    for thing in rendered("slipway", values):
        metadata = thing["metadata"]
        assert (metadata["labels"]["team"], metadata["annotations"]["contact"]) == ("ml", "ml@example.com")
        assert metadata["labels"]["app.kubernetes.io/name"] != "taken"


SYNC, COMPARE = "argocd.argoproj.io/sync-options", "argocd.argoproj.io/compare-options"


def runtime_with(common: dict[str, dict[str, str]]) -> Any:
    [found] = [each for each in rendered("slipway", common) if name_of(each) == "slipway-llamacpp"]
    return found["metadata"]


def test_common_annotations_and_labels_take_nothing_from_runtimes_that_outlive_their_release() -> None:
    theirs = {"helm.sh/resource-policy": "delete", SYNC: "Prune=true", COMPARE: "", "contact": "ml@example.com"}
    taken = {"slipway.dev/runtime": "taken", "app.kubernetes.io/component": "taken"}
    found = runtime_with({"commonAnnotations": theirs, "commonLabels": taken})
    assert found["annotations"] == {
        "helm.sh/resource-policy": "keep",
        SYNC: "Prune=false",
        COMPARE: "IgnoreExtraneous",
        "contact": "ml@example.com",
    }
    assert found["labels"]["slipway.dev/runtime"] == "slipway-llamacpp"
    assert found["labels"]["app.kubernetes.io/component"] == "runtime"


def test_common_annotations_take_nothing_from_the_self_test() -> None:
    objects = rendered("slipway", {"commonAnnotations": {"helm.sh/hook": "pre-install"}})
    [pod] = [each for each in objects if each["kind"] == "Pod"]
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"


def test_options_for_argo_cd_are_joined_with_the_charts_own() -> None:
    theirs = {SYNC: "ServerSideApply=true, Prune=true,Delete=false", COMPARE: "ServerSideDiff=true"}
    found = runtime_with({"commonAnnotations": theirs})["annotations"]
    assert found[SYNC] == "Prune=false,ServerSideApply=true,Delete=false"
    assert found[COMPARE] == "IgnoreExtraneous,ServerSideDiff=true"
    others = [
        each["metadata"] for each in rendered("slipway", {"commonAnnotations": theirs}) if each["kind"] == "Service"
    ]
    assert all(each["annotations"][COMPARE] == theirs[COMPARE] for each in others)


def test_every_activator_is_complete_and_the_operator_knows_all() -> None:
    values = {"activator": {"names": ["slipway-activator", "other"]}}
    of_first = {kind for kind, name in there("slipway", values) if name == "slipway-activator"}
    assert {kind for kind, name in there("slipway", values) if name == "other"} == of_first
    [container] = program("slipway-operator", values)["spec"]["template"]["spec"]["containers"]
    assert {"name": "SLIPWAY_ACTIVATORS", "value": "slipway-activator,other"} in container["env"]


@pytest.mark.parametrize("name", ["operator", "activator"])
def test_a_variable_that_is_given_takes_the_place_of_the_charts_own(name: str) -> None:
    """Of a variable that is there twice, the API server's server-side apply says that it is a conflict."""
    given = [{"name": "SLIPWAY_LOG_LEVEL", "value": "debug"}, {"name": "OTHER", "value": "1"}]

    def env(values: dict[str, Any]) -> Any:
        [container] = program(f"slipway-{name}", values)["spec"]["template"]["spec"]["containers"]
        return container["env"]

    own = [each for each in env({}) if each["name"] != "SLIPWAY_LOG_LEVEL"]
    assert env({name: {"env": given}}) == [*own, *given]


def test_an_autoscaler_sets_the_replicas_and_the_chart_does_not() -> None:
    scaled = program("slipway-activator", {"activator": {"autoscaling": {"enabled": True}}})
    assert "replicas" not in scaled["spec"]


def test_extra_objects_are_objects_as_they_are_or_templates() -> None:
    braces = "{{ $labels.pod }} of {{ unknown }}"
    plain = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "plain"}, "data": {"alert": braces}}
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{ .Release.Name }}-text'}\n"
    objects = rendered("slipway", {"extraObjects": [plain, text]})
    found = {thing["metadata"]["name"]: thing for thing in objects if thing["kind"] == "ConfigMap"}
    assert found.keys() == {"plain", "slipway-text"}
    assert found["plain"] == plain
