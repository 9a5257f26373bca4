"""What is wrong with one container of a pod: read from its state, its last termination and its pod's events."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from slipway.api.reasons import Reason
from slipway.objects.kinds import Object
from slipway.objects.times import parse_time
from slipway.observing import words
from slipway.observing.cause import Cause
from slipway.observing.snapshot import ObservedEvent

NAMES_NOTHING_THERE = "CreateContainerConfigError"
CRASH_LOOP_STARTS = 3  # terminations: from here on, it is called a loop
TRIES, PATIENT_TRIES = (
    2,
    5,
)  # failed starts until the next one is considered hopeless; downloads may fail for reasons that pass
SAME_MOMENT = timedelta(seconds=5)  # the kubelet's times are in whole seconds, and not all taken at the same moment
LONG_SILENCE = timedelta(seconds=60)  # a container that has run for so long and isn't ready yet doesn't respond
BACK_OFF = re.compile(r"back-off (?:(?P<minutes>\d+)m)?(?P<seconds>\d+)s")


@dataclass(frozen=True)
class Container:
    """A container of a pod: its spec, its status, and the pod's events."""

    spec: Object
    status: Object
    events: tuple[ObservedEvent, ...]
    is_init: bool
    since: datetime | None  # when its pod stopped being ready, or was created
    has_been_ready: bool  # its pod was ready before

    @property
    def waiting(self) -> Object:
        return self._state("waiting")

    @property
    def running(self) -> Object:
        return self._state("running")

    @property
    def has_run(self) -> bool:
        """Now, or at some time before."""
        ended = self._state("terminated") or (self.status.get("lastState") or {}).get("terminated")
        return bool(self.running or ended or self.status.get("started") or self.status.get("containerID"))

    @property
    def is_well(self) -> bool:
        ended_well = self.is_init and self._state("terminated").get("exitCode") == 0
        return ended_well or bool(self.status.get("ready"))

    @property
    def last_end(self) -> Object:
        """Its last termination; empty if it has been ready since."""
        began = parse_time(self.running.get("startedAt"))
        if began and self.since and began < self.since:
            return {}
        before: Object = self.status.get("lastState", {}).get("terminated") or {}
        return self._state("terminated") or before

    @property
    def ends(self) -> int:
        """How often it has terminated so far."""
        return int(self.status.get("restartCount", 0)) + (not self.running)

    @property
    def keeps_ending(self) -> bool:
        """Another start won't help: it has terminated again, and was not ready in between."""
        if self.has_been_ready:
            ended = parse_time(self.last_end.get("finishedAt"))
            return bool(ended and self.since and ended - self.since > SAME_MOMENT)
        return self.ends >= (PATIENT_TRIES if self.is_init else TRIES)

    def end_is_final(self, reason: Reason) -> bool:
        """A container that has served gets another start, whatever terminated it."""
        return self.keeps_ending or (reason.is_final and not self.has_been_ready)

    def cause(self, reason: Reason, message: str, *, final: bool | None = None) -> Cause:
        return Cause(reason, message, self.since, reason.is_final if final is None else final)

    def _state(self, name: str) -> Object:
        found: Object = self.status.get("state", {}).get(name) or {}
        return found


def cause_of_container(container: Container, *, now: datetime) -> Cause | None:
    """The first diagnosis in the table that applies."""
    if container.is_well:
        return None
    found = (diagnosis(container, now) for diagnosis in DIAGNOSES)
    return next((cause for cause in found if cause), None)


# --- the diagnoses ---------------------------------------------------------------------------------------------------


def bad_image(container: Container, _: datetime) -> Cause | None:
    said = words.unwrapped(container.waiting.get("message") or "")
    match container.waiting.get("reason"):
        case "InvalidImageName":
            return container.cause(Reason.IMAGE_NAME_INVALID, said)
        case "ErrImageNeverPull":
            return container.cause(Reason.IMAGE_PULL_FAILED, said, final=True)
        case "ErrImagePull" | "ImagePullBackOff" | "ImageInspectError" | "RegistryUnavailable":
            event = _newest(container, "Failed to pull image") or said
            explanation = said if "fail" in said else words.unwrapped(event)
            return container.cause(Reason.IMAGE_PULL_FAILED, explanation, final=words.pull_is_hopeless(explanation))
    return None


def bad_config(container: Container, _: datetime) -> Cause | None:
    waiting = container.waiting
    if waiting.get("reason") not in (NAMES_NOTHING_THERE, "CreateContainerError"):
        return None
    return container.cause(Reason.POD_CONFIG_ERROR, words.unwrapped(waiting.get("message") or waiting["reason"]))


def could_not_start(container: Container, _: datetime) -> Cause | None:
    end = container.last_end
    if end.get("reason") not in ("StartError", "ContainerCannotRun"):
        return None
    explanation = words.shorten(end.get("message", ""))
    said = words.explain(explanation, words.RUNTIME_COULD_NOT_START)
    return _ended(container, said.reason if said else Reason.ENGINE_CRASHED, explanation)


def out_of_memory(container: Container, _: datetime) -> Cause | None:
    if container.last_end.get("reason") != "OOMKilled":
        return None
    limit = container.spec.get("resources", {}).get("limits", {}).get("memory")
    why = f"at its memory limit of {limit}" if limit else "because the node ran out of memory"
    return _ended(container, Reason.HOST_OUT_OF_MEMORY, f"Container {container.spec['name']} was killed {why}")


def killed_by_a_probe(container: Container, _: datetime) -> Cause | None:
    """The kubelet stopped it, so its exit code means nothing."""
    if not (container.last_end and _newest(container, "startup probe, will be restarted", "liveness probe, will be")):
        return None
    if said := words.explain(container.last_end.get("message", ""), _table(container)):
        return _ended(container, said.reason, said.words, said.remedy)
    starting = _newest(container, "failed startup probe")
    reason = Reason.START_TIMEOUT if starting else Reason.ENGINE_STUCK
    explanation = _newest(container, "Startup probe failed" if starting else "Liveness probe failed") or reason.meaning
    return _ended(container, reason, words.shorten(explanation))


def crashed(container: Container, _: datetime) -> Cause | None:
    end = container.last_end
    if not end or not container.ends:
        return None
    text = end.get("message") or ""
    if said := words.explain(text, _table(container)):
        return _ended(container, said.reason, said.words, said.remedy)
    explanation = words.last_line(text) or f"Container {container.spec['name']} {_ended_how(end)} and wrote no message"
    return _ended(container, _unexplained(container), explanation)


def does_not_answer(container: Container, now: datetime) -> Cause | None:
    """It has started, and its readiness probe keeps failing."""
    began = parse_time(container.running.get("startedAt"))
    silent = _newest(container, "Readiness probe failed", "Readiness probe errored")
    if not (began and silent and container.status.get("started") and now - began >= LONG_SILENCE):
        return None
    return container.cause(Reason.ENGINE_STUCK, words.shorten(silent))


DIAGNOSES: tuple[Callable[[Container, datetime], Cause | None], ...] = (
    bad_image,
    bad_config,
    could_not_start,
    out_of_memory,
    killed_by_a_probe,
    crashed,
    does_not_answer,
)


# --- the words -------------------------------------------------------------------------------------------------------


def _ended(container: Container, reason: Reason, explanation: str, remedy: str = "") -> Cause:
    tries = _tries(container)
    message = words.with_remedy(f"{explanation.rstrip('.')}{tries}" if tries else explanation, remedy)
    return container.cause(reason, message, final=container.end_is_final(reason))


def _table(container: Container) -> words.Table:
    return words.DOWNLOADER if container.is_init else words.ENGINE


def _unexplained(container: Container) -> Reason:
    if container.is_init:
        return Reason.MODEL_DOWNLOAD_FAILED
    return Reason.CRASH_LOOP if container.ends >= CRASH_LOOP_STARTS else Reason.ENGINE_CRASHED


def _tries(container: Container) -> str:
    """How often it has terminated, and when the kubelet restarts it: a time of day, which doesn't change."""
    often = f" ({container.ends} times" if container.ends > 1 else " ("
    back_off = BACK_OFF.search(container.waiting.get("message") or "")
    ended = parse_time(container.last_end.get("finishedAt"))
    if back_off and ended:
        pause = timedelta(minutes=int(back_off["minutes"] or 0), seconds=int(back_off["seconds"]))
        comma = ", " if container.ends > 1 else ""
        return f"{often}{comma}next try at {(ended + pause):%H:%M:%S} UTC)"
    return f"{often})" if container.ends > 1 else ""


def _ended_how(end: Object) -> str:
    return f"ended with exit code {end.get('exitCode')} ({end.get('reason', 'Error')})"


def _newest(container: Container, *texts: str) -> str | None:
    """The newest event about it whose message contains one of these strings."""
    return next((event.message for event in container.events if any(text in event.message for text in texts)), None)
