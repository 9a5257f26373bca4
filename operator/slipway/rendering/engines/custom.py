"""An engine that Slipway knows nothing of: a ServingRuntime that is there already and says itself how it is started.

It gets the model, the hardware, and `extraArgs` after its own arguments. Other wishes for the engine are not carried
out, and said to be ignored.
"""

from __future__ import annotations

from slipway.api import names
from slipway.api.llmdeployment import EngineSpec, LLMDeployment, LLMDeploymentSpec
from slipway.api.reasons import Reason
from slipway.planning import Plan
from slipway.rendering.desired import Object, Refusal
from slipway.rendering.engines.engine import Engine
from slipway.rendering.runtimes import engine_container

UNDERSTOOD = {"name", "extra_args", "parallelism"}


def engine(name: str, serving_runtime: Object) -> Engine:
    formats = serving_runtime["spec"].get("supportedModelFormats") or []
    if not formats:
        raise Refusal(
            f"The ServingRuntime {name} names no supportedModelFormats, so KServe gives it no model: add one to it.",
            Reason.RUNTIME_MISSING,
        )
    ports = engine_container(serving_runtime).get("ports") or [{}]
    port = ports[0].get("containerPort", names.ENGINE_PORT)
    return Engine(
        name=name,
        model_format=formats[0]["name"],
        arguments=_arguments,
        ignored=_ignored,
        port=port,
        checks_keys=False,
        metrics_port=port,
    )


def _arguments(deployment: LLMDeployment, _: Plan) -> list[str]:
    return list(deployment.spec.engine.extra_args)


def _ignored(spec: LLMDeploymentSpec) -> list[str]:
    defaults, engine = EngineSpec(), spec.engine
    traces = "observability.tracing: the ServingRuntime {} is not Slipway's; have it traced by its own settings."
    wishes = [
        f"engine.{info.alias}: how the ServingRuntime {engine.name} takes it isn't known; write it into extraArgs."
        for field, info in EngineSpec.model_fields.items()
        if field not in UNDERSTOOD and getattr(engine, field) != getattr(defaults, field)
    ]
    return [*wishes, *([traces.format(engine.name)] if spec.observability.tracing else [])]
