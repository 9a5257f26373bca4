"""JSON Schemas of kinds, from what an API server publishes under /openapi/v3: to check manifests without a cluster.

They are strict: a field that the API server doesn't know is an error. Descriptions are left out, and so are the rules
that only the API server can check.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

Schema = dict[str, Any]

GROUP_VERSION_KINDS = "x-kubernetes-group-version-kind"
ANY_FIELDS = "x-kubernetes-preserve-unknown-fields"
REFERENCE = "#/components/schemas/"
LEFT_OUT = ("description", "default", "example", "nullable")


class GroupVersionKind(NamedTuple):
    group: str  # "" is the core group
    version: str
    kind: str

    @property
    def document(self) -> str:
        """The path of the OpenAPI document that describes it."""
        return f"/openapi/v3/apis/{self.group}/{self.version}" if self.group else f"/openapi/v3/api/{self.version}"

    @property
    def file(self) -> str:
        """The file name by which kubeconform finds it: `{{ .Group }}_{{ .ResourceKind }}_{{ .ResourceAPIVersion
        }}.json`."""
        return f"{self.group or self.version}_{self.kind.lower()}_{self.version}.json"


def kind_of(thing: dict[str, Any]) -> GroupVersionKind:
    group, _, version = thing["apiVersion"].rpartition("/")
    return GroupVersionKind(group, version, thing["kind"])


def schema_of(wanted: GroupVersionKind, document: Schema) -> Schema:
    """Returns the schema of a kind, with all schemas that it refers to."""
    schemas: Schema = document["components"]["schemas"]
    name = next(name for name, schema in schemas.items() if wanted in _told(schema))
    needed = dict.fromkeys([name])
    for each in (waiting := [name]):
        found = [reference for reference in _references(schemas[each]) if reference not in needed]
        needed |= dict.fromkeys(found)
        waiting += found
    definitions = {each: _strict(schemas[each]) for each in sorted(needed) if each != name}
    return {**_strict(schemas[name]), **({"definitions": definitions} if definitions else {})}


def _told(schema: Schema) -> list[GroupVersionKind]:
    return [GroupVersionKind(**each) for each in schema.get(GROUP_VERSION_KINDS, ())]


def _references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        reference = part.get("$ref")
        if isinstance(reference, str):
            yield reference.removeprefix(REFERENCE)
        for each in part.values():
            yield from _references(each)
    elif isinstance(part, list):
        for each in part:
            yield from _references(each)


def _strict(schema: Schema) -> Schema:
    kept = {
        keyword: _inner(keyword, value)
        for keyword, value in schema.items()
        if keyword not in LEFT_OUT and not keyword.startswith("x-")
    }
    if "properties" in kept and "additionalProperties" not in kept and not schema.get(ANY_FIELDS):
        kept["additionalProperties"] = False
    return {"anyOf": [kept, {"type": "null"}]} if schema.get("nullable") else kept


def _inner(keyword: str, value: Any) -> Any:
    if keyword == "$ref":
        return f"#/definitions/{value.removeprefix(REFERENCE)}"
    if keyword == "properties":
        return {name: _strict(each) for name, each in value.items()}
    if keyword in ("allOf", "anyOf", "oneOf"):
        return [_strict(each) for each in value]
    if keyword in ("items", "additionalProperties", "not") and isinstance(value, dict):
        return _strict(value)
    return value
