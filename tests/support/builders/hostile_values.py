"""Values that a tenant may write where a schema restricts nothing but the type."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from slipway.api import crd

TEXTS = (
    "",
    "soon",
    "1s1s9",
    "-1s",
    f"{'9' * 400}h",
    "9" * 20_000,
    "64e4294967302",
    "1e999999999999999999999",
    "0000-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    "2026-11-21T00:00:00",
    "2026-11-21T00:00:00+99:99",
    "\N{ARABIC-INDIC DIGIT NINE}s",
)
NUMBERS = (-(2**63), -1, 0, 4097, 2**63 - 1)
MOMENT = "2026-11-21T09:00:00Z"


def texts() -> st.SearchStrategy[str]:
    return st.sampled_from(TEXTS) | st.text(max_size=20) | st.from_regex(r"[0-9.]{1,5}(ms|s|m|h)", fullmatch=True)


def integers() -> st.SearchStrategy[int]:
    return st.sampled_from(NUMBERS) | st.integers(-(2**63), 2**63 - 1)


def admitted_by(schema: Any) -> st.SearchStrategy[Any]:
    """Draws values with the types of an OpenAPI schema, ignoring its patterns and bounds: older objects predate
    those."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema["type"]:
        case "object" if "additionalProperties" in schema:
            return st.dictionaries(texts(), admitted_by(schema["additionalProperties"]), max_size=3)
        case "object":
            required = {name: admitted_by(schema["properties"][name]) for name in schema.get("required", ())}
            optional = {name: admitted_by(each) for name, each in schema["properties"].items() if name not in required}
            return st.fixed_dictionaries(required, optional=optional)
        case "array":
            return st.lists(admitted_by(schema["items"]), max_size=3)
    numbers = {"integer": integers(), "number": integers().map(float)}
    return numbers.get(schema["type"], texts())


def statuses() -> st.SearchStrategy[Any]:
    """Draws statuses of an LLMDeployment."""
    version, *_ = crd.llmdeployment()["spec"]["versions"]
    return admitted_by(version["schema"]["openAPIV3Schema"]["properties"]["status"])
