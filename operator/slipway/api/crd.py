"""The CustomResourceDefinitions of our types, made from the types themselves.

pydantic writes JSON Schema; Kubernetes accepts a subset of it, called a structural schema: without references, unions
and titles, and with defaults that the API server can fill in.

There is no scale subresource on purpose: only the autoscaler sets a deployment's replicas, and `kubectl scale`, or an
HPA that targets the object, would compete with it. A fixed number is minReplicas = maxReplicas.
"""

from __future__ import annotations

from dataclasses import dataclass

from slipway.api.acceleratorprofile import AcceleratorProfile
from slipway.api.llmdeployment import LLMDeployment
from slipway.api.names import GROUP, KIND, PLURAL, PROFILE_KIND, PROFILE_PLURAL, VERSION
from slipway.api.reasons import ConditionType
from slipway.api.schema import NO_DEFAULT, ApiModel, JsonSchema
from slipway.objects.kinds import Object

# Keywords of JSON Schema that a structural schema must not have.
UNWANTED = {"$defs", "title", "additionalProperties", NO_DEFAULT}


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of `kubectl get`; a wide one is only shown with `--output=wide`."""

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
        description="Whether a request would be answered now, if necessary after a wake.",
    ),
    Column(name="State", path=".status.state", description="Idle, at zero replicas, is healthy."),
    Column(name="Replicas", path=".status.replicas.ready", type="integer", description="Replicas that are ready."),
    Column(name="URL", path=".status.url"),
    Column(name="Reason", path=_condition(ConditionType.READY, "reason"), wide=True),
    Column(name="Plan", path=".status.plan.why[0]", wide=True, description="Why this accelerator was chosen."),
    Column(name="Cost/h", path=".status.cost.perHour", type="number", wide=True, description="Of what runs now."),
    Column(
        name="Update",
        path=".status.update.version",
        wide=True,
        description="The version of Slipway that would make different pods, once slipway.dev/sync asks for it.",
    ),
    Column(name="Age", path=".metadata.creationTimestamp", type="date"),
)
PROFILE_COLUMNS = (
    Column(name="Vendor", path=".spec.vendor"),
    Column(name="Memory", path=".spec.memory"),
    Column(name="Nodes", path=".status.nodes", type="integer", description="Nodes that have such devices."),
    Column(name="Devices", path=".status.devices.allocatable", type="integer", description="Devices on these nodes."),
    Column(name="Free", path=".status.devices.free", type="integer", description="Devices that no pod has."),
    Column(name="Cost/h", path=".spec.costPerHour", type="number", description="Price of one device per hour."),
    Column(name="Resource", path=".spec.resource.name", wide=True),
    Column(name="Growable", path=".status.growable", type="boolean", wide=True),
    Column(name="Driver", path=".status.drivers[0]", wide=True, description="The oldest driver of these nodes."),
    Column(name="Message", path=".status.message", wide=True),
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
        "subresources": {"status": {}},
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
    """The schema of a kind. Kubernetes defines the fields that all kinds share, which only have to be listed."""
    json_schema = model.model_json_schema(by_alias=True)
    schema = structural(json_schema, json_schema["$defs"])
    common = {
        "apiVersion": {"type": "string", "description": "Version of the API that this object is written for."},
        "kind": {"type": "string", "description": "The kind of this object."},
        "metadata": {"type": "object"},
    }
    own = {name: schema["properties"][name] for name in schema["properties"] if name not in common}
    return {**schema, "properties": {**common, **own}, "required": ["spec"]}


def structural(schema: JsonSchema, definitions: dict[str, JsonSchema]) -> JsonSchema:
    """Turns a JSON Schema into a structural schema."""
    schema = _plain(schema, definitions)
    unwanted = UNWANTED | ({"default"} if NO_DEFAULT in schema else set())
    result = {key: value for key, value in schema.items() if key not in unwanted}
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
    """The schema of one field. An object that pydantic fills in by default gets the same default in the CRD.

    The default is written in full, because the API server checks rules against exactly that default.
    """
    result = structural(schema, definitions)
    if not required and "anyOf" not in schema and (default := _defaults(result)):
        result["default"] = default
    return result


def _defaults(schema: JsonSchema) -> JsonSchema:
    fields = schema.get("properties", {})
    return {name: inner["default"] for name, inner in fields.items() if "default" in inner}


def _plain(schema: JsonSchema, definitions: dict[str, JsonSchema]) -> JsonSchema:
    """Resolves a reference, and a union with null into its other branch, since an optional field may be left out."""
    siblings = {key: value for key, value in schema.items() if key not in ("$ref", "anyOf")}
    if "$ref" in schema:
        return {**_plain(definitions[schema["$ref"].removeprefix("#/$defs/")], definitions), **siblings}
    if "anyOf" in schema:
        (meant,) = (branch for branch in schema["anyOf"] if branch != {"type": "null"})
        del siblings["default"]  # null, which means the same as leaving the field out
        return {**_plain(meant, definitions), **siblings}
    return schema
