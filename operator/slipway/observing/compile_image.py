"""Whether the image with compiled code keeps a replica from running, by what the kubelet says. Pure.

The kubelet reports an image that it can't pull for a volume as if it were the container's own; the name in its message
shows which one it is. A node that can't mount images says so in other words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta

from slipway.objects.kinds import Object
from slipway.objects.metadata import uid_of
from slipway.objects.times import parse_time
from slipway.observing import words
from slipway.observing.cache_claim import MOUNTED_WITHIN, Doubt, Trouble, failures_of_volumes, is_about_store
from slipway.observing.pods import Pod
from slipway.observing.snapshot import Snapshot

GONE = "ImageGone"  # from the registry
PULLED_WITHIN = timedelta(seconds=60)  # after the first failure; a registry that restarts is back by then
CANT_PULL = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ImageInspectError", "RegistryUnavailable")
CANT_MOUNT = re.compile(r'failed to mkdir "": mkdir|image mounts? (?:is|are) not supported|no volume plugin matched')
"""What containerd before 2.1 says, CRI-O before 1.31, and a kubelet without the feature."""


def fails_to_pull(pod: Object) -> bool:
    """Any image: only the message says which one."""
    status = pod.get("status") or {}
    statuses = (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ()))
    waiting = ((each.get("state") or {}).get("waiting") or {} for each in statuses)
    return any(each.get("reason") in CANT_PULL for each in waiting)


def trouble_with(image: str, snapshot: Snapshot) -> Trouble | None:
    """Why no replica can run with this image, which its pods mount."""
    return next((each.trouble for each in _doubts(image, snapshot) if each.until <= snapshot.now), None)


def next_moment(image: str, snapshot: Snapshot) -> datetime | None:
    """When time alone makes it trouble."""
    return min((each.until for each in _doubts(image, snapshot) if each.until > snapshot.now), default=None)


def _doubts(image: str, snapshot: Snapshot) -> Iterator[Doubt]:
    for pod in (Pod(raw, snapshot) for raw in snapshot.pods):
        if pod.is_on_its_way and pod.node:
            yield from _not_pulled(pod, image)
            yield from _not_mounted(pod)


def _not_pulled(pod: Pod, image: str) -> Iterator[Doubt]:
    for container in pod.containers():
        said = str(container.waiting.get("message") or "")
        if container.waiting.get("reason") in CANT_PULL and image in said:
            message = f"the node can't pull the image {image}: {words.unwrapped(said)}"
            failed = pod.snapshot.failed_pulls_at.get(uid_of(pod.raw), pod.snapshot.now)
            within = timedelta() if words.pull_is_hopeless(said) else PULLED_WITHIN
            reason = GONE if words.image_is_missing(said) else "ImagePullFailed"
            yield Doubt(failed + within, Trouble(reason, message))


def _not_mounted(pod: Pod) -> Iterator[Doubt]:
    for container in pod.containers():
        said = str(container.waiting.get("message") or "")
        if CANT_MOUNT.search(said):
            yield Doubt(_since(pod), _no_images(said))
    for event in failures_of_volumes(pod):
        if is_about_store(event.message):
            within = timedelta() if CANT_MOUNT.search(event.message) else MOUNTED_WITHIN
            yield Doubt(_since(pod) + within, _no_images(event.message))


def _no_images(said: str) -> Trouble:
    return Trouble("ImageNotMounted", f"the node can't mount an image as a volume: {words.shorten(said)}")


def _since(pod: Pod) -> datetime:
    """Since when it has its node."""
    conditions: list[Object] = (pod.raw.get("status") or {}).get("conditions") or []
    times = (each.get("lastTransitionTime") for each in conditions if each.get("type") == "PodScheduled")
    return parse_time(next(times, None)) or pod.created or pod.snapshot.now
