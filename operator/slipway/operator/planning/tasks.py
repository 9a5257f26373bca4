"""What a model is for, as far as it is known before it runs, and which targets have no meaning for it. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from slipway.api.llmdeployment import LLMDeploymentSpec
from slipway.api.tasks import NOT_GENERATING
from slipway.contract.engines import LLAMACPP
from slipway.contract.tasks import Task, paths_of
from slipway.models.facts import Model
from slipway.operator.planning.engine_flags import has

AUTO = "Auto"
CHANGE_IT = ("runner", "convert", "hf-overrides", "pooler-config", "model-impl")
"""Flags by which vLLM makes a model for another task of the files."""


def task_of(spec: LLMDeploymentSpec, model: Model | None) -> str:
    """The spec's, else that of the model's architecture; empty if neither says it."""
    if spec.model.task != AUTO:
        return spec.model.task
    is_known = model is not None and (model.architecture or "task" in model.evidence)
    is_changed = any(has(spec.engine.extra_args, flag) for flag in CHANGE_IT)
    return model.task if model is not None and is_known and not is_changed else ""


def cannot_do(spec: LLMDeploymentSpec, model: Model | None) -> str:
    """Why the engine can't serve such a model, with the remedy; empty if it can."""
    task = task_of(spec, model)
    if spec.engine.name != LLAMACPP.name or not task or paths_of(Task(task), LLAMACPP.name):
        return ""
    return f"llamacpp can't serve a model whose task is {task}: set engine.name to vllm, or correct model.task."


def without_meaning(spec: LLMDeploymentSpec, task: str) -> Iterator[str]:
    """A sentence for each target that no request will ever miss or meet. The API refuses them where the spec itself
    has the task."""
    if task not in NOT_GENERATING:
        return
    target, slo = spec.scaling.target, spec.slo
    does = Task(task).does
    if target and (target.ttft_p95 or target.tpot_p95):
        yield f"scaling.target: this model {does}, and has no times of tokens: set inFlight instead."
    if slo and (slo.ttft_p95 or slo.tpot_p95):
        yield f"slo: this model {does}, and has no times of tokens: set e2eP99 instead of ttftP95 and tpotP95."
