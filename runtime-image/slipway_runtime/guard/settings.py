"""The guard's settings, as JSON in SLIPWAY_GUARD. An unknown name is an error, so that no limit is lost to a typo.

The chart sets the URL of runbooks for all models, in a variable of its own: a user's SLIPWAY_GUARD would replace the
whole of one with the same name.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self, get_type_hints

from slipway_runtime.contract.runbooks import Runbooks

ENVIRONMENT, RUNBOOKS = "SLIPWAY_GUARD", "SLIPWAY_RUNBOOKS"
MIB = 1 << 20


class SettingsError(Exception):
    """The settings are not valid; the message says which and why."""


@dataclass(frozen=True, kw_only=True)
class GuardSettings:
    model: str = ""
    """The model's name in metrics."""
    models: tuple[str, ...] = ()
    """The names that requests may use for the model and its adapters. Empty: only the engine checks the name."""
    engine: str = ""
    """llamacpp: members beyond the OpenAI API are checked, too; vllm: the size of schemas. Others check both."""
    task: str = ""
    """What the model is for: a Task. Empty: unknown, and only the engine refuses requests of another one."""
    keys: str = ""
    """The folder of a mounted Secret: a file for each owner of API keys, with the keys. Empty: no key is required."""
    max_in_flight: int = 0
    """Requests that are accepted at a time, those in the engine's queue included. 0: no limit."""
    max_in_flight_per_key: int = 0
    requests_per_minute_per_key: int = 0
    tokens_per_minute_per_key: int = 0
    """Of prompts and responses."""
    burst_per_key: int = 10
    """Requests that a key may send immediately, before its rate counts."""
    max_body_bytes: int = 32 * MIB
    max_bodies_bytes: int = 256 * MIB
    """Memory for the bodies of all requests under way, and for what engines make of them; one key may have half of it.
    """
    max_logprobs: int = 20
    """The most likely alternatives that a request may ask for per token. More of them take much memory in llama.cpp."""
    no_tools: str = ""
    """Why requests with tools are refused, as a sentence for clients. Empty: they aren't."""
    allow: tuple[str, ...] = ()
    """Routes that are allowed beyond the OpenAI API: "POST /path", where a * is one segment between slashes."""
    access_log: bool = True
    traces_endpoint: str = ""
    """The URL to which spans are sent, over OTLP/HTTP. Empty: none are sent."""
    traces_sample_ratio: float = 1.0
    """The share of requests that are traced, where the client has not decided it."""

    runbooks: str = ""
    """The URL of a runbook, with {name} for its name, to which errors link. Empty: they don't."""

    def __post_init__(self) -> None:
        try:
            Runbooks(self.runbooks)
        except ValueError as error:
            raise SettingsError(f"{RUNBOOKS}, or runbooks in {ENVIRONMENT}: {error}.") from None
        limits = ("max_in_flight", "max_in_flight_per_key", "requests_per_minute_per_key", "tokens_per_minute_per_key")
        for name in limits:
            _check(getattr(self, name) >= 0, f"{name} is below 0")
        _check(self.max_logprobs >= 0, "max_logprobs is below 0")
        _check(self.burst_per_key >= 1, "burst_per_key is below 1")
        _check(self.max_body_bytes >= 1, "max_body_bytes is below 1")
        _check(self.max_bodies_bytes >= self.max_body_bytes, "max_bodies_bytes is below max_body_bytes")
        _check(0 <= self.traces_sample_ratio <= 1, "traces_sample_ratio is not between 0 and 1")
        _check(not self.keys or Path(self.keys).is_absolute(), "keys is not the absolute path of a folder")
        for rule in self.allow:
            method, _, path = rule.partition(" ")
            _check(method.isupper() and path.startswith("/"), f"{rule!r} is not like 'POST /path'")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        settings = cls.from_json(environment.get(ENVIRONMENT) or "{}")
        return replace(settings, runbooks=settings.runbooks or environment.get(RUNBOOKS, ""))

    @classmethod
    def from_json(cls, text: str) -> Self:
        try:
            words = json.loads(text)
        except ValueError as error:
            raise SettingsError(f"{ENVIRONMENT} is not JSON: {error}.") from None
        _check(isinstance(words, dict), "it is not an object")
        known, types = {field.name for field in fields(cls)}, get_type_hints(cls)
        for name in words:
            _check(name in known, f"{name!r} is not one of its settings: {', '.join(sorted(known))}")
        return cls(**{name: _of_type(name, value, types[name]) for name, value in words.items()})


def _of_type(name: str, value: Any, wanted: Any) -> Any:
    """Returns a JSON value as the expected type; true is not a number here, although it is in Python."""
    if wanted == tuple[str, ...]:
        _check(isinstance(value, list) and all(isinstance(it, str) for it in value), f"{name} is not a list of strings")
        return tuple(value)
    if wanted is float and type(value) is int:
        return float(value)
    _check(type(value) is wanted, f"{name} is {value!r}, but must be a {wanted.__name__}")
    return value


def _check(right: bool, otherwise: str) -> None:
    if not right:
        raise SettingsError(f"{ENVIRONMENT}: {otherwise}.")
