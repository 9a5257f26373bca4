"""How each engine gets what the spec wants.

Those that Slipway builds in are rendered from their engine.yaml; options that are no plain `--flag=value` have a
function in a module of the engine's name, listed in CODE. All others are described by their ServingRuntime.
"""

from __future__ import annotations

from collections.abc import Mapping

from slipway.api.llmdeployment import LLMDeploymentSpec
from slipway.contract.engines import BUILT_IN
from slipway.objects.kinds import Object
from slipway.operator.planning import Plan
from slipway.operator.rendering.engines import built_in, custom, vllm
from slipway.operator.rendering.engines.built_in import Code
from slipway.operator.rendering.engines.engine import RenderedEngine

CODE: Mapping[str, Code] = {"vllm": vllm.CODE}
ENGINES: Mapping[str, RenderedEngine] = {each.name: built_in.engine(each, CODE.get(each.name, {})) for each in BUILT_IN}


def engine_of(plan: Plan, serving_runtime: Object, spec: LLMDeploymentSpec) -> RenderedEngine:
    """The engine of the plan. A name that isn't a built-in engine's is that of a ServingRuntime, which describes it."""
    return ENGINES.get(plan.engine) or custom.engine(plan.engine, serving_runtime, spec)
