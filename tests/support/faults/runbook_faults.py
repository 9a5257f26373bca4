"""Faults of models that have a runbook: how to provoke each, and which part of the page remedies it.

Most models run a real llama.cpp with a tiny Llama from the claim `models`; the others run an engine of the test's own,
which prints what real engines print.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from slipway.api.names import PAUSED_ANNOTATION

from support.builders.llmdeployments import (
    NAME,
    acceleratorprofile,
    at_zero,
    llmdeployment,
    merged,
    on_own_engine,
    own_runtime,
)
from support.builders.model_files import LLAMA_GGUF, cut, write_gguf
from support.builders.objects import PAUSE, Object, claim, python, service, serving_runtime
from support.cluster.kube import Kube
from support.cluster.llmdeployments import current_status

CLAIM, GOOD = "models", "good"
"""The claim with a folder for each way in which a model can be wrong, and the folder of the one that isn't."""

FAILED = "SlipwayModelFailed"
NO_HUB = "http://kubernetes.default.svc:443"
"""The API server's port, without TLS."""
SECRET_KEY = {"name": "APP_REGION", "valueFrom": {"secretKeyRef": {"name": "settings", "key": "region"}}}
FACTS: Object = {
    "parameters": 8_030_261_248,
    "layers": 32,
    "attentionHeads": 32,
    "kvHeads": 8,
    "headDim": 128,
    "hiddenSize": 4096,
    "vocabularySize": 128_256,
    "contextLength": 8192,
}
"""Of Llama 3.1 8B, but for the length of its context."""

TINY_FACTS: Object = {
    "parameters": 107_000,
    "layers": 2,
    "attentionHeads": 2,
    "kvHeads": 1,
    "headDim": 32,
    "hiddenSize": 64,
    "vocabularySize": 259,
    "contextLength": 512,
    "weights": "300000000",
}
"""Of the tiny Llama, but for the size of its weights."""

UNPRICED = acceleratorprofile(
    "unpriced", {"vendor": "CPU", "resource": {"name": "cpu", "count": 1}, "memory": "16Gi", "bandwidth": "100G"}
)
EVENTS = "events.v1.events.k8s.io"

VARIABLE = "APP_KERNELS"
ENGINE = """
import http.server, os, sys, time
kernels = os.environ.get("APP_KERNELS", "")
if kernels == "new":
    sys.exit({says!r})
if kernels == "stuck":
    time.sleep(3600)
time.sleep({starts_for})
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.ThreadingHTTPServer(("", 8080), Answer).serve_forever()
"""
"""Serves, unless the spec has a variable with which it crashes or gets stuck."""

ANSWERS: Object = {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}
PROBE: Object = {"tcpSocket": {"port": 8080}, "periodSeconds": 1, "failureThreshold": 3}


@dataclass(frozen=True)
class Given:
    """What is in the cluster: an image with Python, and the name of Slipway's ServingRuntime for llama.cpp."""

    image: str
    runtime: str

    @property
    def values(self) -> dict[str, str]:
        return {"NAME": NAME, "IMAGE": self.image, "RUNTIME": self.runtime}


@dataclass(frozen=True)
class RunbookFault:
    """A fault that a reason's runbook is about, and what a walk of the page needs.

    `objects`: what to apply; `values`: those of the page's placeholders besides NAMESPACE and what is given;
    `diagnosis`: the heading of the part that shows it; `remedy`: the headings of the part that remedies it, none if no
    part does; `is_event`: no condition has the reason, but an event has."""

    page: str
    words: str
    objects: Callable[[Given], list[Object]]
    values: Mapping[str, str] = field(default_factory=dict)
    remedy: tuple[str, ...] = ("Mitigation",)
    alert: str = FAILED
    healthy: str = "Serving"
    diagnosis: str = "Diagnosis"
    shows: str = ""
    is_event: bool = False
    before: str = ""
    """The reason that the status names at first, and so does perhaps the alert."""

    @property
    def reason(self) -> str:
        """What the status names: the name of the page, unless the page is about more than one."""
        return self.shows or self.page


def write_models(folder: Path) -> None:
    """Writes one model that is good, and others that are not."""
    write_gguf(folder / GOOD / "model.gguf")
    (folder / "empty").mkdir()
    cut(write_gguf(folder / "damaged/model.gguf"), to=0.5)
    write_gguf(folder / "unknown/model.gguf", LLAMA_GGUF | {"general.architecture": "hal9000"})
    write_gguf(folder / "private/model.gguf")
    for each in (folder, *folder.rglob("*")):
        each.chmod(0o755 if each.is_dir() else 0o644)  # the pods run as another user
    (folder / "private/model.gguf").chmod(0o600)


# --- the two kinds of model ------------------------------------------------------------------------------------------


def tiny(folder: str = GOOD, **spec: Any) -> Object:
    """The smallest model that a real llama.cpp serves."""
    base: Object = {
        "model": {"uri": f"pvc://{CLAIM}/{folder}"},
        "engine": {"name": "llamacpp", "contextLength": 256, "maxConcurrency": 1},
        "scaling": {"minReplicas": 1, "maxReplicas": 1},
        "pod": {"resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "1Gi"}}},
    }
    return llmdeployment(NAME, merged(base, spec))


def with_tiny(
    page: str, words: str, *others: Object, folder: str = GOOD, spec: Object | None = None, **more: Any
) -> RunbookFault:
    return RunbookFault(page, words, lambda _: [*others, tiny(folder, **(spec or {}))], **more)


def on_own(page: str, words: str, *, spec: Object | None = None, **more: Any) -> RunbookFault:
    """A model on a ServingRuntime of the namespace whose container is as `more` says."""
    known = {name: more.pop(name) for name in {each.name for each in fields(RunbookFault)} & more.keys()}

    def objects(given: Given) -> list[Object]:
        container = {"terminationMessagePolicy": "FallbackToLogsOnError", "image": given.image, **more}
        return [own_runtime(**container), on_own_engine(uri=f"pvc://{CLAIM}/{GOOD}", **(spec or {}))]

    return RunbookFault(page, words, objects, **known)


def engine(says: str = "", starts_for: float = 0) -> Object:
    """The container of an engine of the test's own."""
    program = python(ENGINE.format(says=says, starts_for=starts_for))
    return {"command": program, "readinessProbe": ANSWERS, "ports": [{"containerPort": 8080}]}


def with_variable(page: str, words: str, *, kernels: str = "new", says: str = "", **more: Any) -> RunbookFault:
    """An engine that fails because of a variable in the spec."""
    env = [{"name": VARIABLE, "value": kernels}]
    return on_own(page, words, spec={"pod": {"env": env}}, values={"VARIABLE": VARIABLE}, **{**engine(says), **more})


def only_diagnosed(page: str, sentence: str) -> RunbookFault:
    """What no devcluster has, such as a GPU: the engine of the test ends with the sentence of a real one."""
    words = f"An engine that ends with `{sentence}`, in place of a real one on such a machine."
    return with_variable(page, words, says=sentence, remedy=())


# --- the table -------------------------------------------------------------------------------------------------------

MODEL_IS_ELSEWHERE = {"CLAIM": CLAIM, "FOLDER": GOOD}
OWN_RUNTIME = {"RUNTIME": "own", "IMAGE": PAUSE}

RUNBOOK_FAULTS = (
    # --- those that take long start first
    with_variable(
        "EngineStuck",
        "A variable in the spec with which the engine never answers.",
        kernels="stuck",
        alert="",
    ),
    with_variable(
        "CrashLoop",
        "A variable in the spec with which the engine crashes.",
        says="Segmentation fault",
        before="EngineCrashed",
    ),
    # --- the spec
    on_own(
        "InvalidSpec",
        "`access.apiKeysSecret` for a ServingRuntime of the namespace, which checks no keys.",
        spec={"access": {"apiKeysSecret": "keys"}},
        image=PAUSE,
    ),
    on_own(
        "NoAcceleratorFits",
        "`accelerator.profiles` names a type of GPU of which the cluster has no node.",
        spec={"accelerator": {"profiles": ["mi300x"]}},
        values={"PROFILE": "cpu"},
        image=PAUSE,
    ),
    with_tiny(
        "ProfileMissing",
        "`accelerator.profiles` names an AcceleratorProfile that doesn't exist.",
        spec={"accelerator": {"profiles": ["h300"]}},
        values={"PROFILE": "cpu"},
    ),
    RunbookFault(
        "RuntimeMissing",
        "`engine.name` names a ServingRuntime that doesn't exist.",
        lambda _: [on_own_engine(uri=f"pvc://{CLAIM}/{GOOD}")],
        {"ENGINE": "llamacpp"},
    ),
    RunbookFault(
        "RuntimeShadowed",
        "A ServingRuntime of the namespace has the name of Slipway's own.",
        lambda given: [serving_runtime(given.runtime, {"image": PAUSE}), tiny()],
    ),
    with_tiny(
        "NameTaken",
        "A Service of another program has the model's name.",
        service(NAME, selector={"app": "shop"}),
    ),
    RunbookFault(
        "ContextTooLong",
        "`engine.contextLength` is more than the model was made for.",
        lambda _: [
            at_zero(
                model={"facts": FACTS},
                engine={"name": "vllm", "contextLength": 32768},
                accelerator={"profiles": ["h100-80gb"]},
            )
        ],
        {"TOKENS": "8192"},
        healthy="Idle",
    ),
    # --- the pod
    with_tiny(
        "BadEngineArguments",
        "`engine.extraArgs` has a chat template that ends in the middle.",
        spec={"engine": {"extraArgs": ["--chat-template={% for %}"]}},
    ),
    with_tiny(
        "PodConfigError",
        "`pod.env` takes a variable from a Secret that doesn't exist.",
        spec={"pod": {"env": [SECRET_KEY]}},
        values={"SECRET": "settings"},
    ),
    with_tiny(
        "Unschedulable",
        "`pod.nodeSelector` asks for a label that no node has.",
        spec={"pod": {"nodeSelector": {"disk": "nvme"}}},
        alert="",
    ),
    RunbookFault(
        "VolumeNotReady",
        "The model's claim has a StorageClass that doesn't exist.",
        lambda _: [
            claim("downloads", storage="1Gi", storageClassName="fast"),
            tiny(model={"uri": "pvc://downloads/good"}),
        ],
        MODEL_IS_ELSEWHERE,
        alert="",
    ),
    on_own(
        "ImagePullFailed",
        "The image of a ServingRuntime is at a registry that doesn't answer.",
        image="localhost:1/team/engine:1",
        values=OWN_RUNTIME,
        alert="",
    ),
    on_own(
        "ImageNameInvalid",
        "The image of a ServingRuntime has an invalid name.",
        image="Team/Engine:1",
        values=OWN_RUNTIME,
    ),
    # --- the model
    with_tiny("ModelNotFound", "`spec.model.uri` names an empty folder.", folder="empty", values=MODEL_IS_ELSEWHERE),
    with_tiny(
        "ModelCorrupt", "A GGUF file of which the second half is missing.", folder="damaged", values=MODEL_IS_ELSEWHERE
    ),
    with_tiny(
        "UnsupportedArchitecture",
        "A GGUF file of an architecture that llama.cpp doesn't know.",
        folder="unknown",
        values=MODEL_IS_ELSEWHERE,
    ),
    RunbookFault(
        "ModelAccessDenied",
        "A GGUF file that only root may read.",
        lambda _: [tiny("private")],
        {"CLAIM": CLAIM, "FOLDER": "private"},
        ("Mitigation", "The files on the volume can't be read"),
    ),
    # --- the engine
    with_tiny(
        "HostOutOfMemory",
        "A memory limit of 48Mi.",
        values={"MEMORY": "1Gi"},
        spec={"pod": {"resources": {"requests": {"memory": "32Mi"}, "limits": {"memory": "48Mi"}}}},
    ),
    with_variable(
        "EngineCrashed",
        "A variable in the spec with which the engine lacks a library.",
        says="ImportError: cannot import name 'flash_attn_varlen_func' from 'flash_attn'",
    ),
    on_own(
        "StartTimeout",
        "A startup probe that gives an engine 3 s that needs 15.",
        startupProbe={**PROBE, "terminationGracePeriodSeconds": 1},
        values={"RUNTIME": "own", "PROBES": "120"},
        **engine(starts_for=15),
    ),
    on_own(
        "start-takes-long",
        "An engine that needs 40 s to load.",
        alert="",
        diagnosis="Steps",
        remedy=("Check",),
        shows="LoadingModel",
        **engine(starts_for=40),
    ),
    with_tiny(
        "PlanMissed",
        "`model.facts` with weights that are hundreds of times as large as those in the files.",
        spec={"model": {"facts": TINY_FACTS}},
        alert="",
        is_event=True,
    ),
    with_tiny(
        "PriceUnknown",
        "A budget for a model on an AcceleratorProfile without a price.",
        UNPRICED,
        spec={"accelerator": {"profiles": ["unpriced"]}, "budget": {"perDay": 100}},
        values={"PROFILE": "unpriced", "AMOUNT": "2.5"},
        alert="",
    ),
    RunbookFault(
        "Paused",
        "The annotation `slipway.dev/paused` on a model at zero.",
        lambda _: [merged(at_zero(), {"metadata": {"annotations": {PAUSED_ANNOTATION: "true"}}})],
        alert="",
        healthy="Idle",
    ),
    # --- what a devcluster doesn't have
    RunbookFault(
        "ModelDownloadFailed",
        "An endpoint that isn't a Hub's: it responds to each request with HTTP 400.",
        lambda _: [own_runtime(), on_own_engine(uri="hf://slipway/model", model={"endpoint": NO_HUB})],
        alert="",
        remedy=(),
    ),
    only_diagnosed(
        "DriverMismatch", "RuntimeError: The NVIDIA driver on your system is too old (found version 11040)."
    ),
    only_diagnosed(
        "GpuBusy",
        "ValueError: Free memory on device cuda:0 (1.2/79.1 GiB) on startup is less than desired GPU memory "
        "utilization (0.92, 72.8 GiB).",
    ),
    only_diagnosed("GpuUnhealthy", "RuntimeError: CUDA error: uncorrectable ECC error encountered"),
    only_diagnosed(
        "QuantizationMismatch",
        "ValueError: Quantization method specified in the model config (gptq) does not match the quantization method "
        "specified in the `quantization` argument (awq).",
    ),
)


async def until_named(kube: Kube, fault: RunbookFault, *, timeout: float) -> Object:
    """Waits until a condition of the model has the reason, or an event; returns the model."""

    def is_named(thing: Object) -> bool:
        conditions = current_status(thing).get("conditions") or []
        return any(each["reason"] == fault.reason for each in conditions)

    if fault.is_event:
        await kube.wait_for_any(EVENTS, "", lambda event: bool(event["reason"] == fault.reason), timeout=timeout)
        return await kube.get("llmdeployment", NAME)
    return await kube.wait_for("llmdeployment", NAME, is_named, timeout=timeout)
