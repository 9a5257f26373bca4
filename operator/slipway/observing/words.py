"""What logs and messages of other programs mean: of engines, downloaders, registries and the scheduler.

An exit code says little: every start of vLLM that fails ends with 1. The log has the cause, in sentences that can be
recognized. Those of engines are in runtime-image/contract/sentences.yaml, because slipway-runtime reads them, too; the
other tables are here. `slipway.contract.explain` decides which line counts, whatever the table.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from slipway.api.reasons import Reason
from slipway.contract import explain as contract
from slipway.contract.explain import SENTENCES, Sentence
from slipway.contract.lines import last_words
from slipway.observing.cause import reason_named
from slipway.observing.redacting import redacted

LONGEST = 600  # characters of another program's words that a message has room for


class Said(NamedTuple):
    """What another program's words mean, the part of them that says so, and what to do."""

    reason: Reason
    words: str
    remedy: str = ""


def with_remedy(message: str, remedy: str) -> str:
    """Both, one after the other; if there is too little room, the message is cut, not the remedy."""
    if not remedy:
        return message
    remedy = shorten(remedy, LONGEST // 2)
    return f"{shorten(message, LONGEST - len(remedy) - 2).rstrip('.')}. {remedy}"


Table = tuple[Sentence, ...]


def table(*rows: tuple[str, Reason]) -> Table:
    """A table whose sentences are matched in upper and lower case alike."""
    return tuple(Sentence(f"(?i:{pattern})", reason) for pattern, reason in rows)


ENGINE: Table = SENTENCES

DOWNLOADER = table(
    (r"GatedRepoError|Access to model .* is restricted", Reason.MODEL_ACCESS_DENIED),
    (r"\b40[13] Client Error|AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch", Reason.MODEL_ACCESS_DENIED),
    (r"Unauthorized|Forbidden|AuthenticationError|permission denied", Reason.MODEL_ACCESS_DENIED),
    (r"RepositoryNotFoundError|RevisionNotFoundError|EntryNotFoundError", Reason.MODEL_NOT_FOUND),
    (r"NoSuchBucket|NoSuchKey|404 Client Error|Failed to fetch model\. No model found", Reason.MODEL_NOT_FOUND),
    (r"The path or model .* does not exist", Reason.MODEL_NOT_FOUND),
)

RUNTIME_COULD_NOT_START = table(
    (r"nvidia-container-cli|libcuda|could not select device driver", Reason.DRIVER_MISMATCH),
    (r"no such file or directory|executable file not found|permission denied", Reason.BAD_ENGINE_ARGUMENTS),
)

SCHEDULER: tuple[tuple[str, Reason, str], ...] = (
    (r"persistentvolumeclaim .* not found", Reason.POD_CONFIG_ERROR, "A volume that the pod names isn't there"),
    (r"device class (?P<what>\S+) does not exist", Reason.UNSCHEDULABLE, "The cluster has no DeviceClass {what}"),
    (r"unbound immediate PersistentVolumeClaims", Reason.VOLUME_NOT_READY, "A volume has no storage yet"),
    (r"volume node affinity conflict", Reason.UNSCHEDULABLE, "The pod's volume is on other nodes"),
    (r"Insufficient (?P<what>[\w.-]+/[\w.-]+)", Reason.UNSCHEDULABLE, "No node has enough {what} free"),
    (r"Insufficient (?P<what>cpu|memory|ephemeral-storage)", Reason.UNSCHEDULABLE, "No node has enough {what} free"),
    (r"cannot allocate all claims", Reason.UNSCHEDULABLE, "No node has enough devices free for the claim"),
    (r"Too many pods", Reason.UNSCHEDULABLE, "No node has room for one more pod"),
    (r"match Pod's.*untolerated taint", Reason.UNSCHEDULABLE, "No node is both of the right kind and open to all"),
    (r"didn't match Pod's node affinity/selector", Reason.UNSCHEDULABLE, "No node is of the right kind"),
    (r"untolerated taint", Reason.UNSCHEDULABLE, "The nodes are kept for others by a taint"),
)
"""The first row that fits counts: a node that nearly fits says more than nodes of another kind."""

PASSING_PULL = r"\b(?:429|5\d\d)\b|toomanyrequests|timeout|timed out|connection (?:refused|reset)|no such host"
FINAL_PULL = r"\b40[134]\b|not found|does not exist|manifest unknown|unauthorized|authorization failed|denied|forbidden"


MISSING_IMAGE = r"\b404\b|not found|manifest unknown|name unknown"
NOT_ALLOWED = r"\b40[13]\b|unauthorized|authorization|denied|forbidden"
"""Registries answer so, too, where an image exists that may not be read."""


def image_is_missing(text: str) -> bool:
    """Whether the registry says that it doesn't have the image."""
    found = (re.search(each, text, re.IGNORECASE) for each in (MISSING_IMAGE, PASSING_PULL, NOT_ALLOWED))
    is_missing, passes, is_not_allowed = map(bool, found)
    return is_missing and not passes and not is_not_allowed


def pull_is_hopeless(text: str) -> bool:
    """Whether the registry's answer means that no later pull will succeed."""
    return not re.search(PASSING_PULL, text, re.IGNORECASE) and bool(re.search(FINAL_PULL, text, re.IGNORECASE))


_WRAPPED_IN = re.compile(
    r"^(?:rpc error: code = \w+ desc = "
    r'|Back-off pulling image "[^"]*": |Failed to pull image "[^"]*": '
    r"|(?:ErrImagePull|ImagePullBackOff): )"
)
_GENERATED_NAME = re.compile(
    r'^(?:\(combined from similar events\): )?(?:Error creating: )?(?:[\w.-]+ "[^"]*" is forbidden: )?'
)


def explain(text: str, table: Table) -> Said | None:
    """What the text means; a failure that slipway-runtime itself reports in it comes before any table."""
    found = contract.explain(text.splitlines(), table)
    return Said(reason_named(found.reason), shorten(found.line), found.remedy) if found else None


def last_line(text: str) -> str:
    """The last exception, or the last line that says something on its own."""
    return shorten(last_words(text.splitlines()))


def explain_scheduler(text: str) -> Said:
    """Why the pod has no node: a short reading of the scheduler's message, followed by the message."""
    told = re.split(r" no new claims to deallocate| preemption:", text)[0].removesuffix(" not found").rstrip(". ,")
    for pattern, reason, reading in SCHEDULER:
        if found := re.search(pattern, told):
            return Said(reason, f"{reading.format(**found.groupdict())}: {shorten(told)}")
    return Said(Reason.UNSCHEDULABLE, shorten(told))


def unwrapped(text: str) -> str:
    """The text without the prefix that wraps it, which differs from one try to the next."""
    while found := _WRAPPED_IN.match(text):
        text = text[found.end() :]
    return shorten(_GENERATED_NAME.sub("", text, count=1))


def shorten(text: str, most: int = LONGEST) -> str:
    """The text in one line that fits a message, without credentials. Everything that is quoted goes through here."""
    line = redacted(" ".join(text.split()))
    return line if len(line) <= most else f"{line[: most - 1]}…"
