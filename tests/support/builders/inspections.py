"""Jobs that read a model's files, their pods and their reports, as the operator sees them."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

from slipway.api.names import COMPONENT_LABEL, INSPECTION, OWNER_LABEL, label_of_inspection
from slipway.contract.pod import REPORT_START
from slipway.objects.kinds import CLUSTER_SERVING_RUNTIME, JOB, PERSISTENT_VOLUME_CLAIM, POD, Object

from support.builders.stored import kube_object

CREATED = "2026-11-21T10:00:00Z"
CONFIG: Object = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "num_hidden_layers": 32,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 131072,
    "vocab_size": 128256,
    "torch_dtype": "bfloat16",
}
TENSORS: Object = {
    "bytes": 16060522496,
    "parameters": 8030261248,
    "embedding": 525336576,
    "head": 525336576,
    "experts": 0,
    "experts_bytes": 0,
    "encoders": 0,
    "encoders_bytes": 0,
    "drafts": 0,
    "by_dtype": {"BF16": 16060522496},
}
CONTENT: Object = {"config": CONFIG, "files": 16060556376, "tensors": TENSORS}
"""What the files of a Llama with 8 billion parameters say."""


def report(content: Any = CONTENT) -> str:
    """The termination message of a pod that has read the files."""
    return report_of(json.dumps(content).encode())


def report_of(text: bytes) -> str:
    return REPORT_START + base64.b85encode(zlib.compress(text)).decode()


def failure(reason: str, message: str, remedy: str = "Check spec.model.uri and its path.") -> str:
    words = {"reason": reason, "message": message, "remedy": remedy, "phase": "", "lines": []}
    return json.dumps(words) + "\n"


def job(name: str = "llama-inspect-1", *, owner: str = "4711", ended: str = "", message: str = "") -> Object:
    """A Job of the LLMDeployment llama. `ended`: Complete or Failed."""
    reference = {"kind": "LLMDeployment", "name": "llama", "uid": owner, "controller": True}
    condition = {"type": ended, "status": "True", "lastTransitionTime": CREATED, "message": message}
    metadata = {
        "labels": {OWNER_LABEL: "llama", COMPONENT_LABEL: INSPECTION},
        "ownerReferences": [reference],
        "creationTimestamp": CREATED,
        "uid": f"uid-of-{name}",
    }
    return kube_object(JOB, name, metadata=metadata, status={"conditions": [condition] if ended else []})


def pod(of: Object, *, phase: str = "Running", state: Object | None = None, **status: Any) -> Object:
    """The pod of a Job. `state`: of its container."""
    owner = {"kind": "Job", "name": of["metadata"]["name"], "uid": of["metadata"]["uid"], "controller": True}
    metadata = {
        "labels": {OWNER_LABEL: label_of_inspection(of["metadata"]["labels"][OWNER_LABEL])},
        "ownerReferences": [owner],
        "creationTimestamp": CREATED,
        "uid": f"pod-of-{of['metadata']['uid']}",
    }
    conditions = [{"type": "PodScheduled", "status": "True", "lastTransitionTime": CREATED}]
    container = {"name": "inspect", "ready": False, "started": False, "restartCount": 0, "state": state or {}}
    found = {"phase": phase, "conditions": conditions, "containerStatuses": [container], **status}
    spec = {"nodeName": "node-1", "containers": [{"name": "inspect"}]}
    return kube_object(POD, f"{of['metadata']['name']}-x", metadata=metadata, spec=spec, status=found)


def ended_pod(of: Object, message: str, *, code: int = 0, reason: str = "") -> Object:
    ended = {"exitCode": code, "message": message, "reason": reason or ("Error" if code else "Completed")}
    return pod(of, phase="Failed" if code else "Succeeded", state={"terminated": {**ended, "finishedAt": CREATED}})


def claim(name: str = "models", *modes: str, phase: str = "Bound") -> Object:
    return kube_object(
        PERSISTENT_VOLUME_CLAIM, name, spec={"accessModes": [*modes] or ["ReadWriteMany"]}, status={"phase": phase}
    )


def runtime(**container: Any) -> Object:
    """The ClusterServingRuntime of llama.cpp, with an image."""
    image = {"name": "kserve-container", "image": "localhost/slipway-llamacpp:1", "imagePullPolicy": "IfNotPresent"}
    spec = {"supportedModelFormats": [{"name": "gguf"}], "containers": [{**image, **container}]}
    return kube_object(CLUSTER_SERVING_RUNTIME, "slipway-llamacpp", spec=spec)
