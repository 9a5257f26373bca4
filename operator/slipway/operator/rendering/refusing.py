"""The last word, before anything is applied: what must not be, however it got here.

The API server refuses most of it with a rule of the CRD. But it looks at an object when it is written, not when the
rules change, and profiles and runtimes have other writers.
"""

from __future__ import annotations

from collections.abc import Iterator

from slipway.api import arguments, mounts, pod_annotations, variables
from slipway.api.llmdeployment import LLMDeployment, LLMDeploymentSpec
from slipway.api.names import KEDA_S_BEGINNING, OUR_ENDINGS, RESERVED_ENDINGS
from slipway.api.reasons import Reason
from slipway.operator.planning import Plan
from slipway.operator.planning.engines import is_ours
from slipway.operator.rendering.desired import Object, Refusal
from slipway.operator.rendering.engines.engine import Engine

TEMPLATE = "{{"


def refuse_what_would_be_unsafe(deployment: LLMDeployment, plan: Plan, engine: Engine, serving_runtime: Object) -> None:
    _refuse_another_ones_name(deployment.metadata.name)
    _refuse_a_shadow(plan, serving_runtime)
    _refuse_missing_guard(deployment.spec, engine)
    for sentence in _wrong_in(deployment.spec):
        raise Refusal(sentence)


def _refuse_another_ones_name(name: str) -> None:
    """Whoever makes the parts of another deployment would take an object of this name for one of them."""
    givers = {**dict.fromkeys(RESERVED_ENDINGS, "KServe gives"), **dict.fromkeys(OUR_ENDINGS, "Slipway gives")}
    for ending, who in givers.items():
        if name.endswith(ending):
            raise Refusal(
                f"The name {name} is the one that {who} to the {ending[1:]} of {name.removesuffix(ending)}: "
                f"make the LLMDeployment anew under a name that doesn't end in {ending}."
            )
    if name.startswith(KEDA_S_BEGINNING):
        raise Refusal(
            f"The name {name} is the one that KEDA gives to the autoscaler of {name.removeprefix(KEDA_S_BEGINNING)}: "
            f"make the LLMDeployment anew under a name that doesn't begin with {KEDA_S_BEGINNING}."
        )


def _refuse_a_shadow(plan: Plan, serving_runtime: Object) -> None:
    """KServe takes the namespace's own runtime before the cluster's, and nobody knows what is in it."""
    namespace = serving_runtime["metadata"].get("namespace")
    if namespace and is_ours(plan.engine):
        raise Refusal(
            f"The ServingRuntime {plan.runtime} in namespace {namespace} hides Slipway's own, which is the cluster's: "
            "delete it, or give it another name and write that into engine.name.",
            Reason.RUNTIME_SHADOWED,
        )


def _refuse_missing_guard(spec: LLMDeploymentSpec, engine: Engine) -> None:
    """Who asks for keys must not get a model that answers without."""
    if spec.access.api_keys_secret and not engine.checks_keys:
        raise Refusal(
            f"The ServingRuntime {engine.name} is not Slipway's, so nothing in it checks API keys: leave "
            "access.apiKeysSecret out and use access.allowFrom, or choose vllm or llamacpp in engine.name."
        )


def _wrong_in(spec: LLMDeploymentSpec) -> Iterator[str]:
    for argument in spec.engine.extra_args:
        if why := arguments.why_refused(spec.engine.name, argument):
            yield f"engine.extraArgs: {why}."
    for variable in spec.pod.env:
        if why := variables.why_refused(spec.engine.name, variable.name):
            yield f"pod.env: {why}."
    for mount in spec.pod.volume_mounts:
        if why := mounts.why_refused(spec.engine.name, mount.mount_path):
            yield f"pod.volumeMounts: {why}."
    for name in spec.pod.annotations:
        if why := pod_annotations.why_refused(spec.engine.name, name):
            yield f"pod.annotations: {why}."


# --- templates -------------------------------------------------------------------------------------------------------


def without_templates(inference_service: Object, deployment: LLMDeployment, plan: Plan) -> Object:
    """As it is. KServe runs the container that it makes of it as a Go template, so that `{{` in any text of it can
    rewrite the container, or take KServe's memory."""
    found = next(_templates_in(inference_service), None)
    if found:
        own = next(_templates_in(deployment.spec.model_dump(by_alias=True), "spec"), None)
        source = "" if own else f" It comes from the AcceleratorProfile {plan.profile} or the runtime {plan.runtime}."
        raise Refusal(
            f"{own or 'InferenceService' + found} contains '{TEMPLATE}', which KServe would read as a template: write "
            f"it differently.{source}"
        )
    return inference_service


def _templates_in(thing: object, path: str = "") -> Iterator[str]:
    """The path of each text within, key or value, that KServe would read as one."""
    if isinstance(thing, dict):
        for key, value in thing.items():
            yield from _templates_in(key, path)
            yield from _templates_in(value, f"{path}.{key}")
    elif isinstance(thing, list | tuple):
        for index, each in enumerate(thing):
            yield from _templates_in(each, f"{path}[{index}]")
    elif isinstance(thing, str) and TEMPLATE in thing:
        yield path
