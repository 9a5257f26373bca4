"""The last check before anything is applied: refuses what would be unsafe, wherever it comes from.

The API server refuses most of it by rules of the CRD. But it checks an object when it is written, not when the rules
change, and profiles and runtimes have other writers.
"""

from __future__ import annotations

from collections.abc import Iterator

from slipway.api import arguments, mounts, pod_annotations, variables
from slipway.api.llmdeployment import LLMDeployment, LLMDeploymentSpec
from slipway.api.names import KEDA_S_BEGINNING, OUR_ENDINGS, RESERVED_ENDINGS
from slipway.api.reasons import Reason
from slipway.objects.kinds import Object
from slipway.operator.planning import Plan
from slipway.operator.planning.engines import is_ours
from slipway.operator.rendering.desired import UnrenderableError
from slipway.operator.rendering.engines.engine import RenderedEngine

TEMPLATE = "{{"


def refuse_what_would_be_unsafe(
    deployment: LLMDeployment, plan: Plan, engine: RenderedEngine, serving_runtime: Object
) -> None:
    _refuse_another_ones_name(deployment.metadata.name)
    _refuse_a_shadow(plan, serving_runtime)
    _refuse_missing_guard(deployment.spec, engine)
    for sentence in _wrong_in(deployment.spec):
        raise UnrenderableError(sentence)


def _refuse_another_ones_name(name: str) -> None:
    """KServe, KEDA and Slipway itself would mistake an object of this name for a part of another deployment."""
    givers = {**dict.fromkeys(RESERVED_ENDINGS, "KServe gives"), **dict.fromkeys(OUR_ENDINGS, "Slipway gives")}
    for ending, who in givers.items():
        if name.endswith(ending):
            raise UnrenderableError(
                f"The name {name} is the one that {who} to the {ending[1:]} of {name.removesuffix(ending)}: "
                f"recreate the LLMDeployment under a name that doesn't end in {ending}."
            )
    if name.startswith(KEDA_S_BEGINNING):
        raise UnrenderableError(
            f"The name {name} is the one that KEDA gives to the autoscaler of {name.removeprefix(KEDA_S_BEGINNING)}: "
            f"recreate the LLMDeployment under a name that doesn't start with {KEDA_S_BEGINNING}."
        )


def _refuse_a_shadow(plan: Plan, serving_runtime: Object) -> None:
    """KServe prefers a runtime of the namespace to the cluster's, and its contents are unknown."""
    namespace = serving_runtime["metadata"].get("namespace")
    if namespace and is_ours(plan.engine):
        raise UnrenderableError(
            f"The ServingRuntime {plan.runtime} in namespace {namespace} hides Slipway's own ClusterServingRuntime: "
            "delete it, or rename it and write the new name into engine.name.",
            Reason.RUNTIME_SHADOWED,
        )


def _refuse_missing_guard(spec: LLMDeploymentSpec, engine: RenderedEngine) -> None:
    """A spec with API keys must not get a model that answers without them."""
    if spec.access.api_keys_secret and not engine.checks_keys:
        raise UnrenderableError(
            f"The ServingRuntime {engine.name} is not Slipway's, so nothing in it checks API keys: remove "
            "access.apiKeysSecret and use access.allowFrom, or choose vllm or llamacpp in engine.name."
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
    """Returns it unchanged. KServe expands the resulting container as a Go template, so `{{` in one of its strings
    could rewrite the container, or exhaust KServe's memory."""
    found = next(_templates_in(inference_service), None)
    if found:
        own = next(_templates_in(deployment.spec.model_dump(by_alias=True), "spec"), None)
        source = "" if own else f" It comes from the AcceleratorProfile {plan.profile} or the runtime {plan.runtime}."
        raise UnrenderableError(
            f"{own or 'InferenceService' + found} contains '{TEMPLATE}', which KServe would read as a template: write "
            f"it differently.{source}"
        )
    return inference_service


def _templates_in(value: object, path: str = "") -> Iterator[str]:
    """The path of each string, key or value, that KServe would expand as a template."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _templates_in(key, path)
            yield from _templates_in(each, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        for index, each in enumerate(value):
            yield from _templates_in(each, f"{path}[{index}]")
    elif isinstance(value, str) and TEMPLATE in value:
        yield path
