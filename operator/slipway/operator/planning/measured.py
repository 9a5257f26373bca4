"""What was measured of a model the last time, for the next plan of the same. Pure.

A measurement is kept in the status of its own LLMDeployment, and nowhere else: a tenant decides what its pods report,
and must not change the plans of others. It is valid for the same model, accelerator, engine and flags; a key says so.

The key has two parts. Pods carry the first one as an annotation, so that a pod which was made by an earlier plan isn't
taken for one of this; a new key alone doesn't replace them. The second part is of what the plan knows about the model
and the profile.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from slipway.api.acceleratorprofile import AcceleratorProfile
from slipway.api.llmdeployment import LLMDeploymentSpec
from slipway.api.names import RUNTIME_LABEL
from slipway.models.facts import Model
from slipway.objects.kinds import Object
from slipway.objects.metadata import labels_of, name_of
from slipway.observing.measured import MOST_TOKENS, size_in

DIGITS = 16
OF_PODS = {"uri", "revision"}  # of spec.model; facts change no pod
NOT_OF_ENGINES = {"parallelism", "compile_cache", "tool_calls", "reasoning"}  # counted on its own; change no number
OF_PROFILES = {"vendor", "resource", "device_class", "memory", "usable_memory", "shared_by"}
NOT_OF_MODELS = {"name", "evidence", "missing"}
"""The same numbers from another source are the same model."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Bytes of one device; None: the engine didn't report it."""

    key: str
    kv_tokens: int | None = None  # of one replica
    kv_cache: int | None = None
    weights: int | None = None
    activation: int | None = None
    graphs: int | None = None
    in_use: int | None = None  # by everything, once the model was loaded; for CPUs, of the container
    total: int | None = None  # of which that much was in use
    planned_kv_cache: int | None = None  # by which the pod was made


def measured_in(status: Object | None) -> Measured | None:
    """As the status has it. Its tenant may be able to write it, too, so what can't be true counts as unknown."""
    found = (status or {}).get("measured")
    if not isinstance(found, dict) or not isinstance(key := found.get("key"), str):
        return None
    tokens, planned = found.get("kvTokens"), found.get("planned")
    return Measured(
        key=key,
        kv_tokens=tokens if type(tokens) is int and 0 < tokens <= MOST_TOKENS else None,
        kv_cache=size_in(found.get("kvCache")),
        weights=size_in(found.get("weights")),
        activation=size_in(found.get("activation")),
        graphs=size_in(found.get("graphs")),
        in_use=size_in(found.get("memoryInUse")),
        total=size_in(found.get("memoryTotal")),
        planned_kv_cache=size_in(planned.get("kvCache")) if isinstance(planned, dict) else None,
    )


@dataclass(frozen=True)
class Measurements:
    """The measurement of one LLMDeployment, for all candidates of its plan. `runtimes`: which image each ServingRuntime
    stands for, by the name that plans have for it (`identity_of`)."""

    measured: Measured | None
    spec: LLMDeploymentSpec
    model: Model | None
    runtimes: Mapping[str, str]

    def on(self, profile: AcceleratorProfile, runtime: str, tensor: int, pipeline: int) -> Measured | None:
        """None: it wasn't measured there."""
        if self.measured is None:
            return None
        identity = self.runtimes.get(runtime, "")
        plan = _plan_key(self._of_spec, identity, profile.metadata.name, tensor, pipeline)
        key = _joined(plan, self._of_model, _of_profile(profile))
        return self.measured if self.measured.key == key else None

    @cached_property
    def _of_spec(self) -> str:
        return _of_spec(self.spec)

    @cached_property
    def _of_model(self) -> str:
        return _of_model(self.model)


def plan_key(spec: LLMDeploymentSpec, runtime: Object, profile: str, tensor: int, pipeline: int) -> str:
    """What pods carry: of everything that decides what their engine takes of the memory."""
    return _plan_key(_of_spec(spec), identity_of(runtime), profile, tensor, pipeline)


def measured_key(plan_key: str, model: Model | None, profile: AcceleratorProfile | None) -> str:
    """What a measurement is valid for."""
    return _joined(plan_key, _of_model(model), _of_profile(profile))


def identity_of(runtime: Object) -> str:
    """Those of a release have its version in their name; others may change under theirs."""
    if RUNTIME_LABEL in labels_of(runtime):
        return name_of(runtime)
    return f"{name_of(runtime)} {_digest(runtime.get('spec'))}"


def _of_spec(spec: LLMDeploymentSpec) -> str:
    """As the spec has it: what a plan computes where the spec leaves it open follows from the measurement. Without
    defaults, so that a field that a newer version adds changes nothing."""
    parts = {
        "model": spec.model.model_dump(include=OF_PODS, exclude_defaults=True),
        "engine": spec.engine.model_dump(exclude=NOT_OF_ENGINES, exclude_defaults=True),
        "env": [each.model_dump(exclude_defaults=True) for each in spec.pod.env],
        "resources": spec.pod.resources.model_dump(exclude_defaults=True),
    }
    return _digest(parts)


def _of_model(model: Model | None) -> str:
    if model is None:
        return ""
    return _digest({name: value for name, value in asdict(model).items() if name not in NOT_OF_MODELS})


def _of_profile(profile: AcceleratorProfile | None) -> str:
    return _digest(profile.spec.model_dump(include=OF_PROFILES)) if profile else ""


def _plan_key(of_spec: str, runtime: str, profile: str, tensor: int, pipeline: int) -> str:
    return _digest([of_spec, runtime, profile, tensor, pipeline])


def _joined(plan: str, of_model: str, of_profile: str) -> str:
    return f"{plan}-{_digest([of_model, of_profile])}"


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]
