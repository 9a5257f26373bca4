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
    pods = sorted(
        (Pod(raw, snapshot) for raw in snapshot.pods), key=lambda pod: (pod.created or snapshot.now, pod.name)
    )
    for pod in pods:
        is_fetching = any(each.is_init and each.running and _has_volume(each.spec) for each in pod.containers())
        if is_fetching and not pod.is_leaving and (address := address_of(pod.raw)):
            yield FetchingPod(uid_of(pod.raw), pod.name, address)


def _has_volume(container: Object) -> bool:
    return any(each.get("name") == VOLUME for each in container.get("volumeMounts") or [])


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
    predictor = ((inference_service or {}).get("spec") or {}).get("predictor") or {}
    return _folder((predictor.get("model") or {}).get("volumeMounts"))


def _folder(mounts: list[Object] | None) -> str:
    at_model = (each for each in mounts or [] if each.get("name") == VOLUME and each.get("mountPath") == MODEL_FOLDER)
    return str(next(at_model, {}).get("subPath") or "")


def _fetched_version(snapshot: Snapshot, folder: str) -> str | None:
    """As a pod that uses the folder reports; the newest one counts."""
    found = None
    for raw in sorted(snapshot.pods, key=lambda each: str(each["metadata"].get("creationTimestamp"))):
        pod = Pod(raw, snapshot)
        if any(_folder(each.get("volumeMounts")) == folder for each in raw["spec"].get("containers") or []):
            ended = (each for each in pod.containers() if each.spec["name"] == FETCHES_MODEL and each.is_well)
            found = next((version for each in ended if (version := _version_in(each.last_end))), found)
    return found


def _version_in(ended: Object) -> str | None:
    message = str(ended.get("message") or "")
    if not message.startswith(FETCHED_START):
        return None
    try:
        said = json.loads(message.removeprefix(FETCHED_START))
    except (ValueError, RecursionError):
        return None
    version = said.get("version") if isinstance(said, dict) else None
    return version if isinstance(version, str) and VERSION.fullmatch(version) else None
