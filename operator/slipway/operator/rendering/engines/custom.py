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
from slipway.operator.rendering.desired import UnrenderableError
from slipway.operator.rendering.engines.engine import RenderedEngine, won
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


def _arguments(notes: Notes, deployment: LLMDeployment, plan: Plan) -> list[str]:
    """An engine may refuse an option that is given twice, so one that the spec sets by hand is left out."""
    extra, flags = deployment.spec.engine.extra_args, _flags(notes, deployment.spec, plan, deployment.served_name)
    left_out = {own for _, own in won(extra, flags)}
    return [*(each for each in flags if each not in left_out), *extra]


def _flags(notes: Notes, spec: LLMDeploymentSpec, plan: Plan, served_name: str) -> list[str]:
    given = _options(notes, spec, plan, served_name)
    return [f"{option}={value}" for option, value in given.items() if option.startswith("-")]


def _environment(notes: Notes, deployment: LLMDeployment, plan: Plan) -> dict[str, str]:
    given = _options(notes, deployment.spec, plan, deployment.served_name)
    return {option: value for option, value in given.items() if not option.startswith("-")}


def _options(notes: Notes, spec: LLMDeploymentSpec, plan: Plan, served_name: str) -> dict[str, str]:
    """The values of the spec and of its plan, by the option that carries each."""
    wanted = {
        engine_notes.SERVED_NAME: served_name,
        engine_notes.CONTEXT_LENGTH: plan.context_length or spec.engine.context_length,
        engine_notes.MAX_CONCURRENCY: spec.engine.max_concurrency,
        engine_notes.TENSOR: plan.tensor if plan.tensor > 1 else None,
        engine_notes.PIPELINE: plan.pipeline if plan.pipeline > 1 else None,
    }
    return {option: str(wanted[field]) for field, option in notes.options.items() if wanted[field] is not None}


# --- what doesn't work ----------------------------------------------------------------------------------------------


def _remarks(name: str, notes: Notes, ports: Sequence[int], spec: LLMDeploymentSpec, plan: Plan) -> list[str]:
    return [
        *_of_wishes(name, notes, spec),
        *_of_parallelism(name, notes, plan),
        *_by_hand(notes, spec, plan),
        *_of_use(name, notes, spec),
        *_of_the_rest(name, notes, ports, spec),
    ]


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
    if spec.observability.tracing:
        yield f"observability.tracing: the ServingRuntime {name} isn't Slipway's; set up tracing in its own settings."


def _of_parallelism(name: str, notes: Notes, plan: Plan) -> Iterator[str]:
    for field, count in ((engine_notes.TENSOR, plan.tensor), (engine_notes.PIPELINE, plan.pipeline)):
        if count > 1 and field not in notes.options:
            yield (
                f"{field}: a replica gets devices for {count}, but the ServingRuntime {name} doesn't say by which "
                "option it takes this; write it into extraArgs."
            )


def _by_hand(notes: Notes, spec: LLMDeploymentSpec, plan: Plan) -> Iterator[str]:
    for theirs, own in won(spec.engine.extra_args, _flags(notes, spec, plan, spec.model.served_name or "NAME")):
        yield f"engine.extraArgs: {theirs} replaces {own}."


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
