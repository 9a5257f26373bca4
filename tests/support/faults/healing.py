"""Which provoked failures the command of `kubectl llm why` heals, and why it doesn't heal the others.

A command may have values that only a person knows, such as the right image; a test fills them in.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from support.builders.llmdeployments import NAME, READY_AT_ONCE, at_zero, on_own_engine, own_runtime
from support.builders.objects import PAUSE, Object, manifest, python
from support.faults.model_failures import ACCEPTED, MODEL_FAILURES, ModelFailure
from support.faults.platform_faults import scaled_by_hpa
from support.faults.runbook_faults import CLAIM, GOOD, RUNBOOK_FAULTS, Given, RunbookFault

SLEEPS = json.dumps(python("import time; time.sleep(3600)"))
WEIGHTS = "weights"
"""The claim of models on an engine of the test's own."""

VALUES: Mapping[str, str] = {
    "<the URI of the right model>": f"pvc://{WEIGHTS}/",
    "<the folder of the right model>": GOOD,
    "<the folder of a model that is complete>": GOOD,
    "<the folder of a model that the engine supports>": GOOD,
    "<a folder that all users may read>": GOOD,
    "<a token that may read the model>": ACCEPTED,
    "<a claim that is Bound>": CLAIM,
    "<a claim that exists>": CLAIM,
    "<an image that the nodes can pull>": PAUSE,
    "<its command, as a list>": SLEEPS,
    "<a probe that the engine answers>": json.dumps(READY_AT_ONCE),
    "<the value of region>": "north",
    "<the value of a>": "b",
    "<vllm, llamacpp, or a ServingRuntime that exists>": "llamacpp",
    "<the key of their taint>": "nvidia.com/gpu",
}
"""What a person would fill in, in the namespace of a test."""


@dataclass(frozen=True)
class Healing:
    """A failure that is healed. `healthy`: the state of the model afterwards; `steps`: how many commands at most, each
    by another `why`; `timeout`: seconds until the failure is there."""

    name: str
    reason: str
    objects: Callable[[Given], list[Object]]
    healthy: str = "Serving"
    steps: int = 1
    timeout: float = 170


def _of_model(failure: ModelFailure) -> Healing:
    healthy = "Waking" if failure.name in ON_A_NODE_WITHOUT_KUBELET else "Serving"
    return Healing(failure.name, failure.reason, lambda given: failure.objects(given.image), healthy)


def _of_runbook(fault: RunbookFault) -> Healing:
    return Healing(fault.page, fault.reason, fault.objects, fault.healthy, steps=MORE_STEPS.get(fault.page, 1))


def _reads(key: str) -> Object:
    source = {"configMapKeyRef": {"name": "settings", "key": key}}
    return at_zero(pod={"env": [{"name": "APP_A", "valueFrom": source}]})


def _with_wrong_token(_: Given) -> list[Object]:
    secret = manifest("v1", "Secret", "token", stringData={"HF_TOKEN": "hf_wrong"})
    model = on_own_engine(uri="hf://slipway/gated", model={"credentialsSecret": "token"})
    return [secret, own_runtime(), model]


ON_A_NODE_WITHOUT_KUBELET = ("tainted", "no-such-number-of-devices")
MORE_STEPS = {"HostOutOfMemory": 5}
"""Each command gives it twice the memory."""

NOT_HEALED: Mapping[str, str] = {
    # --- of MODEL_FAILURES
    "starts-never": "its engine never listens, and only its author knows why: more time to start doesn't help",
    "download-failed": "the network or the source has to answer again, as BEYOND says",
    "model-file-missing": "there is no model in the test's folder; the runbook's ModelNotFound is the same with one",
    "out-of-memory": "it takes all memory that there is; the runbook's HostOutOfMemory needs a certain amount",
    "says-why": "a program in place of an engine says that it needs a larger GPU, and no devcluster has one",
    "runtime-explains": "a program in place of an engine says it; the runbook's ModelCorrupt reads real files",
    # --- of RUNBOOK_FAULTS
    "start-takes-long": "nothing is wrong, and `why` says so",
    "PlanMissed": "the model is well, and an event says that it needs another amount of memory than planned",
    "PriceUnknown": "the model is well, and only its cost is unknown",
    "ModelDownloadFailed": "the network or the source has to answer again, as BEYOND says",
    "DriverMismatch": "a program in place of an engine says it, and no devcluster has a GPU",
    "GpuBusy": "a program in place of an engine says it, and no devcluster has a GPU",
    "GpuUnhealthy": "a program in place of an engine says it, and no devcluster has a GPU",
    "QuantizationMismatch": "a program in place of an engine says it of every model; UNTRIED has the real one",
}
"""Provoked failures that no command heals, by their names."""

UNTRIED: Mapping[str, str] = {
    "GpuOutOfMemory": "needs a GPU",
    "QuantizationMismatch": "needs a real engine with a quantized model",
    "Evicted": "Kubernetes replaces the pod by itself, and the replacement is well until it is evicted, too",
    "Preempted": "Kubernetes makes another pod by itself; the cluster's priorities are a person's decision",
    "PodStuck": "the replacement of the pod is well, and another program's finalizer is a person's decision",
    "NotReady": "says that nothing is known to be wrong",
    "Unknown": "says that the cause isn't known",
}
"""Reasons whose command no test runs on a cluster, and why."""

FAILURES: tuple[Healing, ...] = (
    *(_of_model(each) for each in MODEL_FAILURES if each.name not in NOT_HEALED),
    *(_of_runbook(each) for each in RUNBOOK_FAULTS if each.page not in NOT_HEALED),
    Healing("claim-missing", "PodConfigError", lambda _: [at_zero(model={"uri": "pvc://absent/good"})], "Idle"),
    Healing("config-map-missing", "PodConfigError", lambda _: [_reads("a")], "Idle"),
    Healing(
        "key-missing",
        "PodConfigError",
        lambda _: [manifest("v1", "ConfigMap", "settings", data={"b": "b"}), _reads("a")],
        "Idle",
    ),
    Healing("token-wrong", "ModelAccessDenied", _with_wrong_token),
    Healing("metrics-missing", "MetricsMissing", lambda _: scaled_by_hpa()),
)


def filled(command: str, values: list[str]) -> str:
    """The command as a person completes it."""
    for each in values:
        command = command.replace(each, VALUES[each])
    return command


__all__ = ["FAILURES", "NAME", "NOT_HEALED", "UNTRIED", "Healing", "filled"]
