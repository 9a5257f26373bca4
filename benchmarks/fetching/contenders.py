"""What is compared: who fetches a model's files, and where they are kept. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from slipway_devcluster.volumes import SHARED_CLASS

Object = dict[str, Any]
NAME, BUCKET, KEYS = "gemma", "models", "keys"
URI = f"s3://{BUCKET}/{NAME}"


@dataclass(frozen=True)
class Contender:
    name: str
    is_ours: bool = True
    """Whether Slipway's fetcher fetches; else KServe's storage initializer does."""
    cache: Mapping[str, str] = field(default_factory=dict)


KSERVE = Contender("KServe's initializer", is_ours=False)
CONTENDERS = (
    KSERVE,
    Contender("fetcher, `None`", cache={"kind": "None"}),
    Contender(
        "fetcher, `PVC`",
        cache={"kind": "PVC", "storageClassName": SHARED_CLASS, "accessMode": "ReadWriteMany"},
    ),
)


def keys(identifier: str, secret: str, endpoint: str) -> Object:
    """For both: KServe reads the endpoint from annotations."""
    annotations = {
        "serving.kserve.io/s3-endpoint": endpoint.removeprefix("http://"),
        "serving.kserve.io/s3-usehttps": "0",
        "serving.kserve.io/s3-region": "us-east-1",
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": KEYS, "annotations": annotations},
        "stringData": {"AWS_ACCESS_KEY_ID": identifier, "AWS_SECRET_ACCESS_KEY": secret},
    }


def model(contender: Contender, endpoint: str) -> Object:
    """The demo's model with one replica."""
    source: Object = {"uri": URI, "credentialsSecret": KEYS}
    if contender.is_ours:
        source |= {"endpoint": endpoint, "cache": dict(contender.cache)}
    return {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "LLMDeployment",
        "metadata": {"name": NAME},
        "spec": {
            "model": source,
            "engine": {"name": "llamacpp", "contextLength": 1024, "maxConcurrency": 2},
            "scaling": {"minReplicas": 1, "maxReplicas": 3, "autoscaler": "None"},
            "pod": {"resources": {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}}},
        },
    }
