"""How each engine is told what the spec wants: one module for each, and one line here."""

from __future__ import annotations

from collections.abc import Mapping

from slipway.api.llmdeployment import LLMDeploymentSpec
from slipway.objects.kinds import Object
from slipway.operator.planning import Plan
from slipway.operator.rendering.engines import custom, llamacpp, vllm
from slipway.operator.rendering.engines.engine import Engine

ENGINES: Mapping[str, Engine] = {engine.name: engine for engine in (vllm.ENGINE, llamacpp.ENGINE)}


def engine_of(plan: Plan, serving_runtime: Object, spec: LLMDeploymentSpec) -> Engine:
    """The engine of the plan; a name that is none of ours is that of a ServingRuntime, which says itself what it is."""
    return ENGINES.get(plan.engine) or custom.engine(plan.engine, serving_runtime, spec)
