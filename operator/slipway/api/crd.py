"""The CustomResourceDefinitions of our types, made from the types themselves.

The schema that pydantic writes is JSON Schema; Kubernetes wants a part of it, called structural: without references,
unions and titles, and with defaults where it can fill them in itself.

There is no scale subresource on purpose: a deployment's replicas belong to its autoscaler alone, and whoever scaled the
object (`kubectl scale`, or an HPA aimed at it) would be a second one. A fixed number is minReplicas = maxReplicas.
"""

from __future__ import annotations

from dataclasses import dataclass

from slipway.api.acceleratorprofile import AcceleratorProfile
from slipway.api.llmdeployment import LLMDeployment
from slipway.api.names import GROUP, KIND, PLURAL, PROFILE_KIND, PROFILE_PLURAL, VERSION
from slipway.api.reasons import ConditionType
from slipway.api.schema import ApiModel, JsonSchema
from slipway.objects.kinds import Object

# What JSON Schema says and Kubernetes doesn't want to hear.
UNWANTED = {"$defs", "title", "additionalProperties"}


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of `kubectl get`; a wide one only shows with `--output=wide`."""

    name: str
    path: str
    type: str = "string"
    description: str = ""
    wide: bool = False

    def as_object(self) -> Object:
        described = {"description": self.description} if self.description else {}
        priority = {"priority": 1} if self.wide else {}
        return {"name": self.name, "type": self.type, **described, "jsonPath": self.path, **priority}


def _condition(type_: str, part: str) -> str:
    return f'.status.conditions[?(@.type=="{type_}")].{part}'


LLMDEPLOYMENT_COLUMNS = (
    Column(name="Model", path=".spec.model.uri"),
    Column(name="Accelerator", path=".status.plan.accelerator"),
    Column(
        name="Ready",
        path=_condition(ConditionType.READY, "status"),
        description="Whether a request now would be answered, if need be after a wake.",
    ),
    Column(name="State", path=".status.state", description="Idle, at zero replicas, is healthy."),
    Column(name="Replicas", path=".status.replicas.ready", type="integer", description="Replicas that answer."),
    Column(name="URL", path=".status.url"),
    Column(name="Reason", path=_condition(ConditionType.READY, "reason"), wide=True),
    Column(name="Plan", path=".status.plan.why[0]", wide=True, description="Why it runs where it runs."),
    Column(
        name="Update",
        path=".status.update.version",
        wide=True,
        description="The version of Slipway that would make its pods differently, once it is asked to.",
    ),
    Column(name="Age", path=".metadata.creationTimestamp", type="date"),
)
PROFILE_COLUMNS = (
    Column(name="Vendor", path=".spec.vendor"),
    Column(name="Resource", path=".spec.resource.name"),
    Column(name="Memory", path=".spec.memory"),
    Column(name="Cost/h", path=".spec.costPerHour", type="number"),
    Column(name="Age", path=".metadata.creationTimestamp", type="date"),
)


def llmdeployment() -> Object:
    """The definition of LLMDeployment."""
    names = {
        "kind": KIND,
        "listKind": f"{KIND}List",
        "plural": PLURAL,
        "singular": KIND.lower(),
        "shortNames": ["llm", "llms"],
        "categories": ["ai"],
    }
    version = {
        "schema": {"openAPIV3Schema": _whole(LLMDeployment)},
        "subresources": {"status": {}},
        "selectableFields": [{"jsonPath": ".status.state"}],
        "additionalPrinterColumns": [column.as_object() for column in LLMDEPLOYMENT_COLUMNS],
    }
    return _definition(names, version, scope="Namespaced")


def acceleratorprofile() -> Object:
    """The definition of AcceleratorProfile."""
    names = {
        "kind": PROFILE_KIND,
        "listKind": f"{PROFILE_KIND}List",
        "plural": PROFILE_PLURAL,
        "singular": PROFILE_KIND.lower(),
        "shortNames": ["accel"],
        "categories": ["ai"],
    }
    version = {
        "schema": {"openAPIV3Schema": _whole(AcceleratorProfile)},
        "additionalPrinterColumns": [column.as_object() for column in PROFILE_COLUMNS],
    }
    return _definition(names, version, scope="Cluster")


def all_definitions() -> list[Object]:
    return [llmdeployment(), acceleratorprofile()]


def _definition(names: Object, version: Object, *, scope: str) -> Object:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{names['plural']}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": scope,
            "names": names,
            "versions": [{"name": VERSION, "served": True, "storage": True, **version}],
        },
    }


# --- from JSON Schema to a structural schema --------------------------------------------------------------------------


def _whole(model: type[ApiModel]) -> JsonSchema:
    """The schema of a kind. What all kinds have in common, Kubernetes knows, and only wants to be told of."""
    json_schema = model.model_json_schema(by_alias=True)
    schema = structural(json_schema, json_schema["$defs"])
    common = {
        "apiVersion": {"type": "string", "description": "Version of the API that this object is written for."},
        "kind": {"type": "string", "description": "What kind of object this is."},
        "metadata": {"type": "object"},
    }
    own = {name: schema["properties"][name] for name in schema["properties"] if name not in common}
    return {**schema, "properties": {**common, **own}, "required": ["spec"]}


def structural(schema: JsonSchema, definitions: dict[str, JsonSchema]) -> JsonSchema:
    """A JSON Schema as Kubernetes wants it."""
    schema = _plain(schema, definitions)
    result = {key: value for key, value in schema.items() if key not in UNWANTED}
    if "const" in result:
        result["enum"] = [result.pop("const")]
    if "properties" in schema:
        required = schema.get("required", [])
        result["properties"] = {
            name: _property(inner, definitions, required=name in required)
            for name, inner in schema["properties"].items()
        }
    if "items" in schema:
        result["items"] = structural(schema["items"], definitions)
    if isinstance(schema.get("additionalProperties"), dict):
        result["additionalProperties"] = structural(schema["additionalProperties"], definitions)
    return result


def _property(schema: JsonSchema, definitions: dict[str, JsonSchema], *, required: bool) -> JsonSchema:
    """One field. An object that is always there for us is there for the API server too, with what it holds by default.

    That is written out, because rules are checked against a default as it stands.
    """
    result = structural(schema, definitions)
    if not required and "anyOf" not in schema and (default := _defaults(result)):
        result["default"] = default
    return result


def _defaults(schema: JsonSchema) -> JsonSchema:
    fields = schema.get("properties", {})
    return {name: inner["default"] for name, inner in fields.items() if "default" in inner}


def _plain(schema: JsonSchema, definitions: dict[str, JsonSchema]) -> JsonSchema:
    """Without a reference, or a union with null: what is meant stands in its place, and a field may be left out."""
    beside = {key: value for key, value in schema.items() if key not in ("$ref", "anyOf")}
    if "$ref" in schema:
        return {**_plain(definitions[schema["$ref"].removeprefix("#/$defs/")], definitions), **beside}
    if "anyOf" in schema:
        (meant,) = (branch for branch in schema["anyOf"] if branch != {"type": "null"})
        del beside["default"]  # null, which says no more than leaving the field out
        return {**_plain(meant, definitions), **beside}
    return schema
