"""An engine that Slipway doesn't build in, as its ServingRuntime describes it: by its ports and its annotations.

It gets the model, the hardware, the fields of the spec for which the annotations name an option, and then `extraArgs`.
For every field that isn't carried out, and for everything that doesn't work with this engine, the object says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from slipway.api import engine_notes
from slipway.api.engine import EngineSpec
from slipway.api.engine_notes import NoteError, Notes
from slipway.api.llmdeployment import LLMDeployment, LLMDeploymentSpec
from slipway.api.reasons import Reason
from slipway.contract.pod import ENGINE_PORT
from slipway.objects.kinds import Object
from slipway.operator.planning import Plan
from slipway.operator.planning.resources import parallelism
from slipway.operator.rendering.desired import UnrenderableError
from slipway.operator.rendering.engines.engine import RenderedEngine
from slipway.operator.rendering.runtimes import engine_container

WRITTEN_OTHERWISE = {"name", "extra_args", "parallelism"}
PAGE = "docs/engines.md"


def engine(name: str, serving_runtime: Object, spec: LLMDeploymentSpec) -> RenderedEngine:
    formats = serving_runtime["spec"].get("supportedModelFormats") or []
    if not formats:
        raise UnrenderableError(
            f"The ServingRuntime {name} has no supportedModelFormats, so KServe gives it no model: add one to it.",
            Reason.RUNTIME_MISSING,
        )
    container = engine_container(serving_runtime)
    ports = [each["containerPort"] for each in container.get("ports") or [] if "containerPort" in each]
    port = ports[0] if ports else ENGINE_PORT
    notes = _notes(name, serving_runtime, spec)
    return RenderedEngine(
        name=name,
        model_format=formats[0]["name"],
        arguments=partial(_arguments, notes),
        environment=partial(_environment, notes),
        ignored=partial(_remarks, name, notes, ports),
        port=port,
        checks_keys=False,
        metrics_port=notes.metrics.port or port,
        metrics_path=notes.metrics.path,
        readiness_port=_readiness_port(container) or port,
        in_flight=notes.metrics.words.in_flight if notes.names_words else (),
        drains_for=notes.drains_for,
    )


def _notes(name: str, serving_runtime: Object, spec: LLMDeploymentSpec) -> Notes:
    """The annotations as the pods get them: in KServe, those of the spec win over those of the runtime."""
    on_pods = {**(serving_runtime["spec"].get("annotations") or {}), **spec.pod.annotations}
    try:
        return engine_notes.read(on_pods)
    except NoteError as error:
        raise UnrenderableError(
            f"What the ServingRuntime {name} says of its engine can't be read: {error} (see {PAGE}).",
            Reason.RUNTIME_MISSING,
        ) from None


def _readiness_port(container: Object) -> int | None:
    port = ((container.get("readinessProbe") or {}).get("httpGet") or {}).get("port")
    named = {each.get("name"): each.get("containerPort") for each in container.get("ports") or []}
    found = named.get(port, port)
    return found if isinstance(found, int) else None


# --- what it is given ------------------------------------------------------------------------------------------------


def _arguments(notes: Notes, deployment: LLMDeployment, _: Plan) -> list[str]:
    given = _options(notes, deployment)
    flags = [f"{option}={value}" for option, value in given.items() if option.startswith("-")]
    return [*flags, *deployment.spec.engine.extra_args]


def _environment(notes: Notes, deployment: LLMDeployment) -> dict[str, str]:
    given = _options(notes, deployment)
    return {option: value for option, value in given.items() if not option.startswith("-")}


def _options(notes: Notes, deployment: LLMDeployment) -> dict[str, str]:
    """The values of the spec, by the option that carries each."""
    engine, (tensor, pipeline) = deployment.spec.engine, parallelism(deployment.spec)
    wanted = {
        engine_notes.SERVED_NAME: deployment.served_name,
        engine_notes.CONTEXT_LENGTH: engine.context_length,
        engine_notes.MAX_CONCURRENCY: engine.max_concurrency,
        engine_notes.TENSOR: tensor if tensor > 1 else None,
        engine_notes.PIPELINE: pipeline if pipeline > 1 else None,
    }
    return {option: str(wanted[field]) for field, option in notes.options.items() if wanted[field] is not None}


# --- what doesn't work ----------------------------------------------------------------------------------------------


def _remarks(name: str, notes: Notes, ports: Sequence[int], spec: LLMDeploymentSpec) -> list[str]:
    return [*_of_wishes(name, notes, spec), *_of_use(name, notes, spec), *_of_the_rest(name, notes, ports, spec)]


def _of_wishes(name: str, notes: Notes, spec: LLMDeploymentSpec) -> Iterator[str]:
    defaults, engine = EngineSpec(), spec.engine
    wished = [
        f"engine.{info.alias}"
        for field, info in EngineSpec.model_fields.items()
        if field not in WRITTEN_OTHERWISE and getattr(engine, field) != getattr(defaults, field)
    ]
    for field in [*wished, *([engine_notes.SERVED_NAME] if spec.model.served_name else [])]:
        if field not in notes.options:
            yield (
                f"{field}: the ServingRuntime {name} doesn't say by which option it takes this; write it into "
                "extraArgs."
            )
    for field, count in zip((engine_notes.TENSOR, engine_notes.PIPELINE), parallelism(spec), strict=True):
        if count > 1 and field not in notes.options:
            yield (
                f"{field}: a replica gets devices for {count}, but the ServingRuntime {name} doesn't say by which "
                "option it takes this; write it into extraArgs."
            )
    if spec.observability.tracing:
        yield f"observability.tracing: the ServingRuntime {name} isn't Slipway's; set up tracing in its own settings."


def _of_use(name: str, notes: Notes, spec: LLMDeploymentSpec) -> Iterator[str]:
    """Sleeping and scaling depend on the metrics that are known."""
    words, scaling = notes.metrics.words, spec.scaling
    if scaling.autoscaler == "None" or scaling.max_replicas == scaling.min_replicas:
        return
    if not notes.names_words:
        yield (
            f"scaling: the ServingRuntime {name} doesn't say which metrics show its requests. Those of vLLM and "
            f"llama.cpp are recognized; with others, its replicas count as used and never sleep (see {PAGE})."
        )
    elif not words.in_flight:
        yield (
            f"scaling.target: the ServingRuntime {name} names no metric of its running requests, so the number of "
            "replicas follows only the requests that are held."
        )
    elif not words.progress:
        yield (
            f"scaling.idleAfter: the ServingRuntime {name} names no metric of finished work, so a request that ends "
            "within two seconds may go unnoticed."
        )


def _of_the_rest(name: str, notes: Notes, ports: Sequence[int], spec: LLMDeploymentSpec) -> Iterator[str]:
    port = notes.metrics.port
    if notes.drains_for is None:
        yield (
            f"rollout.drainTimeout: the ServingRuntime {name} doesn't say whether it finishes its requests after "
            f"SIGTERM (see {PAGE})."
        )
    if spec.observability.monitor and port and port not in ports:
        yield (
            f"observability.monitor: the container of the ServingRuntime {name} lists no port {port}, so Prometheus "
            "can't find its metrics; add the port there."
        )
