"""What an engine is to the rest of rendering, and the words that the engines share."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from slipway.api import names
from slipway.api.engine import EngineSpec
from slipway.api.engine_notes import USUAL_PATH, Series
from slipway.api.llmdeployment import LLMDeployment, LLMDeploymentSpec
from slipway.api.units import seconds
from slipway.operator.planning import Plan
from slipway.operator.rendering.access import KEYS_FOLDER
from slipway.operator.rendering.desired import UnrenderableError


@dataclass(frozen=True, kw_only=True)
class Engine:
    name: str
    model_format: str  # by which KServe checks that the runtime serves the model
    arguments: Callable[[LLMDeployment, Plan], list[str]]  # as the engine's own documentation writes them
    environment: Callable[[LLMDeployment], dict[str, str]] = lambda _: {}
    ignored: Callable[[LLMDeploymentSpec], list[str]] = lambda _: []  # a sentence for each wish that isn't carried out
    port: int = names.ENGINE_PORT
    checks_keys: bool = True  # those of access.apiKeysSecret
    metrics_port: int = names.RUNTIME_PORT  # our runtime's: the engine's metrics and its own in one scrape
    metrics_path: str = USUAL_PATH
    readiness_port: int = names.RUNTIME_PORT
    in_flight: tuple[Series, ...] = ()  # what it calls the requests that it has, where that isn't what our runtime does
    drains_for: float | None = None  # seconds, of one that isn't told how long; None: there is nothing to do about it


def flag(name: str, value: object | None) -> list[str]:
    """`--name=value`, or nothing where there is no value."""
    return [] if value is None else [f"--{name}={value}"]


def of_runtime(deployment: LLMDeployment) -> list[str]:
    """The options of `slipway-runtime serve` that all engines share."""
    spec, tracing = deployment.spec, deployment.spec.observability.tracing
    limit = spec.access.rate_limit
    return [
        *flag("served-name", deployment.served_name),
        *flag("mode", spec.engine.mode if spec.engine.mode != EngineSpec().mode else None),
        *flag("drain-limit", math.ceil(seconds(spec.rollout.drain_timeout))),
        *flag("api-keys", KEYS_FOLDER if spec.access.api_keys_secret else None),
        *flag("requests-per-minute", limit.requests_per_minute if limit else None),
        *flag("tokens-per-minute", limit.tokens_per_minute if limit else None),
        *flag("traces-endpoint", tracing.endpoint if tracing else None),
        *flag("traces-sample-ratio", tracing.sample_ratio if tracing else None),
    ]


def who_traces(deployment: LLMDeployment) -> dict[str, str]:
    """In whose name spans are sent, by our runtime and by the engine alike."""
    if deployment.spec.observability.tracing is None:
        return {}
    metadata = deployment.metadata
    return {
        "OTEL_SERVICE_NAME": metadata.name,
        "OTEL_RESOURCE_ATTRIBUTES": f"service.namespace={metadata.namespace},k8s.namespace.name={metadata.namespace}",
    }


def refuse_unknown(engine: str, spec: EngineSpec, *fields: str) -> None:
    """Refuses wishes that the engine knows nothing of; each field's default is no wish."""
    defaults = EngineSpec()
    wished = [field for field in fields if getattr(spec, field) != getattr(defaults, field)]
    if wished:
        aliases = ", ".join(f"engine.{EngineSpec.model_fields[field].alias}" for field in wished)
        raise UnrenderableError(f"{engine} can't carry out {aliases} here: leave it out, or choose another engine.")
