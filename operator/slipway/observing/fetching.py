"""Which pods of a model fetch its files, and which version has come: `status.model`. Pure.

A version is the tenant's word, who may run anything in a pod: it is bounded here, and only the LLMDeployment that the
pod belongs to ever gets it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

from slipway.contract.pod import FETCHED_START, MODEL_FOLDER
from slipway.objects.kinds import Object
from slipway.objects.metadata import uid_of
from slipway.observing.measured import address_of
from slipway.observing.pods import Pod
from slipway.observing.snapshot import Snapshot

VOLUME = "slipway-weights"
FETCHES_MODEL = "storage-initializer"
"""KServe adds its own container of this name, unless the pod has one; and it shows why that one has failed."""
FETCHES_DRAFT, FETCHES_ADAPTER = "fetch-draft", "fetch-adapter-"

VERSION = re.compile(r"[\w.:@/+= -]{1,200}")


class FetchingPod(NamedTuple):
    """A pod in which a fetcher runs."""

    uid: str
    name: str
    address: str


def fetching_pods(snapshot: Snapshot) -> Iterator[FetchingPod]:
    """The oldest first."""
    if all(each.get("name") != VOLUME for each in _predictor(snapshot.inference_service).get("volumes") or []):
        return  # a container of that name is KServe's
    pods = sorted(
        (Pod(raw, snapshot) for raw in snapshot.pods), key=lambda pod: (pod.created or snapshot.now, pod.name)
    )
    for pod in pods:
        is_fetching = any(each.is_init and each.running and _fetches(each.spec["name"]) for each in pod.containers())
        if is_fetching and not pod.is_leaving and (address := address_of(pod.raw)):
            yield FetchingPod(uid_of(pod.raw), pod.name, address)


def _fetches(container: str) -> bool:
    return container in (FETCHES_MODEL, FETCHES_DRAFT) or container.startswith(FETCHES_ADAPTER)


def with_fetch(status: Object, snapshot: Snapshot) -> Object:
    """With the version that the pods have, and how far one is that has yet to get it. The version stays known while the
    model sleeps, as long as its pods would use the same folder."""
    known, folder = (snapshot.status or {}).get("model") or {}, folder_of_model(snapshot.inference_service)
    version = _fetched_version(snapshot, folder) or (known.get("version") if known.get("folder") == folder else None)
    found = {
        **{name: value for name, value in (status.get("model") or {}).items() if name not in ("version", "folder")},
        **({"version": version, "folder": folder} if folder and version else {}),
    }
    found.pop("fetch", None)
    if snapshot.fetching:
        found["fetch"] = snapshot.fetching.as_status()
    others = {name: value for name, value in status.items() if name != "model"}
    return {**others, **({"model": found} if found else {})}


def folder_of_model(inference_service: Object | None) -> str:
    """In the volume; empty: it isn't fetched by us."""
    mounts = (_predictor(inference_service).get("model") or {}).get("volumeMounts") or []
    folders = (
        str(each.get("subPath") or "")
        for each in mounts
        if each.get("name") == VOLUME and each.get("mountPath") == MODEL_FOLDER
    )
    return next(folders, "")


def _predictor(inference_service: Object | None) -> Object:
    return ((inference_service or {}).get("spec") or {}).get("predictor") or {}


def _fetched_version(snapshot: Snapshot, folder: str) -> str | None:
    """As a pod reports that has fetched into this folder; the newest one counts."""
    found = None
    for raw in sorted(snapshot.pods, key=lambda each: str(each["metadata"].get("creationTimestamp"))):
        containers = Pod(raw, snapshot).containers()
        ended = (each.last_end for each in containers if each.spec["name"] == FETCHES_MODEL and each.is_well)
        found = next((version for each in ended if (version := _version_in(each, folder))), found)
    return found


def _version_in(ended: Object, folder: str) -> str | None:
    message = str(ended.get("message") or "")
    if not message.startswith(FETCHED_START):
        return None
    try:
        said = json.loads(message.removeprefix(FETCHED_START))
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict) or said.get("folder") != folder:
        return None
    version = said.get("version")
    return version if isinstance(version, str) and VERSION.fullmatch(version) else None
