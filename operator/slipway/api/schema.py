"""The building blocks of the API types: strings, durations and quantities that are refused with a sentence.

A rule about one value (the form of a string, the bounds of a duration) is written once and checked twice: by the API
server, from the CRD, and by Python, with the same sentence. Rules about several fields are checked by the API server
only, which never stores an object that breaks them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, core_schema

from slipway.api import units

JsonSchema = dict[str, Any]
RULES = "x-kubernetes-validations"
LIST_TYPE = "x-kubernetes-list-type"
MAP_TYPE = "x-kubernetes-map-type"
LIST_KEYS = "x-kubernetes-list-map-keys"
INT_OR_STRING = "x-kubernetes-int-or-string"
NO_DEFAULT = "x-slipway-no-default"  # the operator fills the field in, not the API server: see docs/upgrades.md
LEFT_TO_THE_OPERATOR: JsonSchema = {NO_DEFAULT: True}  # for the `json_schema_extra` of a field


# --- rules -----------------------------------------------------------------------------------------------------------

# Kubernetes also has FieldValueDuplicate, but shows no message with it.
Why = Literal["FieldValueInvalid", "FieldValueForbidden", "FieldValueRequired"]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A CEL rule and the sentence of a refusal; `says` is a CEL expression for a sentence that names the value."""

    rule: str
    message: str
    says: str = ""
    at: str = ""  # the field with the mistake, as ".minReplicas"
    why: Why = "FieldValueInvalid"

    def as_schema(self) -> JsonSchema:
        optional = {"messageExpression": self.says, "fieldPath": self.at}
        return {
            "rule": self.rule,
            "message": self.message,
            **{key: value for key, value in optional.items() if value},
            "reason": self.why,
        }


def rules(*them: Rule) -> JsonSchema:
    """Rules for the `json_schema_extra` of a model or a field."""
    return {RULES: [rule.as_schema() for rule in them]}


def cel(value: object) -> str:
    """A string, list or map as a CEL literal."""
    return json.dumps(value, ensure_ascii=False)


# --- objects ---------------------------------------------------------------------------------------------------------


class ApiModel(BaseModel):
    """A part of an object that users write: an unknown field is an error."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, populate_by_name=True, frozen=True)
    constraints: ClassVar[tuple[Rule, ...]] = ()  # rules about several fields, which only the API server checks

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchema:
        schema = handler(core)
        if cls.constraints:
            handler.resolve_ref_schema(schema).update(rules(*cls.constraints))
        return schema


class ReportModel(ApiModel):
    """A part of an object that programs write: fields that a newer version added are ignored."""

    model_config = ConfigDict(extra="ignore")


# --- values that carry their rule ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Checked:
    """A check of a value: a function for Python and a rule for the API server, with the same sentence."""

    check: Callable[[Any], bool]
    rule: str
    message: str
    schema: tuple[tuple[str, Any], ...] = ()

    @property
    def as_rule(self) -> Rule:
        return Rule(rule=self.rule, message=self.message)

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        def checked(value: object) -> object:
            if not self.check(value):
                raise ValueError(self.message)
            return value

        return core_schema.no_info_after_validator_function(checked, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchema:
        schema = handler.resolve_ref_schema(handler(core))
        schema = {} if INT_OR_STRING in dict(self.schema) else schema  # for Kubernetes a type, not a union
        own = self.as_rule.as_schema()
        return {**schema, **dict(self.schema), RULES: [*schema.get(RULES, []), own]}


def matches(pattern: str, message: str, *, at_most: int = 253) -> Checked:
    """A string that matches a pattern."""
    return Checked(
        check=lambda value: len(value) <= at_most and re.fullmatch(pattern, value) is not None,
        rule=f"self.matches({cel(pattern)})",
        message=message,
        schema=(("maxLength", at_most),),
    )


def text(at_most: int, instead: str = "write it differently") -> Checked:
    """Any string without `{{`, because KServe evaluates the container spec as a Go template."""
    return Checked(
        check=lambda value: len(value) <= at_most and "{{" not in value,
        rule="!self.contains('{{')",
        message=f"must not contain '{{{{', which KServe would read as a template: {instead}",
        schema=(("maxLength", at_most),),
    )


NO_TEMPLATE_IN_KEYS = Checked(
    check=lambda entries: not any("{{" in key for key in entries),
    rule="self.all(key, !key.contains('{{'))",
    message="must not contain '{{' in a key, which KServe would read as a template: write it differently",
)


def duration_within(at_least: str, at_most: str, *, or_auto: bool = False) -> Checked:
    """A duration within bounds, or `Auto`."""
    low, high = units.seconds(at_least), units.seconds(at_most)
    bounds = f"duration(self) >= duration({cel(at_least)}) && duration(self) <= duration({cel(at_most)})"
    rule = f"self.matches({cel(units.DURATION)}) && {bounds}"
    auto = "Auto or " if or_auto else ""

    def check(value: str) -> bool:
        if or_auto and value == "Auto":
            return True
        return re.fullmatch(units.DURATION, value) is not None and low <= units.seconds(value) <= high

    return Checked(
        check=check,
        rule=f'self == "Auto" || ({rule})' if or_auto else rule,
        message=f"must be {auto}a duration from {at_least} to {at_most}, written as 40ms, 90s or 1h30m",
        schema=(("maxLength", 32),),
    )


def quantity_within(at_least: str, at_most: str, *, example: str) -> Checked:
    """A quantity within bounds."""
    low, high = units.amount(at_least), units.amount(at_most)
    bounds = (
        f"quantity(string(self)).compareTo(quantity({cel(at_least)})) >= 0 && "
        f"quantity(string(self)).compareTo(quantity({cel(at_most)})) <= 0"
    )
    return Checked(
        check=lambda value: re.fullmatch(units.QUANTITY, value) is not None and low <= units.amount(value) <= high,
        rule=f"isQuantity(string(self)) && {bounds}",
        message=f"must be a quantity from {at_least} to {at_most}, such as {example}",
        schema=((INT_OR_STRING, True), ("maxLength", 32)),
    )


def whole_number_or_auto(at_least: int, at_most: int) -> Checked:
    """A whole number within bounds, or `Auto`."""
    return Checked(
        check=lambda value: value == "Auto" or at_least <= value <= at_most,
        rule=f'type(self) == int ? self >= {at_least} && self <= {at_most} : self == "Auto"',
        message=f"must be Auto or a whole number from {at_least} to {at_most}",
        schema=((INT_OR_STRING, True), ("maxLength", 8)),
    )


AsText = BeforeValidator(lambda value: str(value) if isinstance(value, int) else value)

OBJECT_NAME = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
ObjectName = Annotated[
    str, matches(OBJECT_NAME, "must be the name of an object: lower-case letters, digits, '-' and '.'")
]
LABEL_VALUE = r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"
Auto = Literal["Auto"]

MOST_LINES, LONGEST_LINE = 64, 1024  # of each list of sentences in a status
Line = Annotated[str, Field(max_length=LONGEST_LINE)]
