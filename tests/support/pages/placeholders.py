"""The words in capitals for which a reader puts in names of their own, and what a test puts in."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

KNOWN = {
    "NAMESPACE": "the namespace of the LLMDeployment",
    "NAME": "the LLMDeployment",
    "POD": "one of its pods, or of the program that the page is about",
    "NODE": "the node of that pod",
    "CLAIM": "the PersistentVolumeClaim with the model",
    "FOLDER": "the folder in the claim that has the model",
    "VOLUME": "the PersistentVolume behind the claim",
    "SECRET": "a Secret in the namespace",
    "PROFILE": "an AcceleratorProfile",
    "RUNTIME": "a ServingRuntime or ClusterServingRuntime",
    "ENGINE": "an engine's name, such as vllm",
    "IMAGE": "the name of an image",
    "REPOSITORY": "a repository of a registry",
    "JOB": "a Job in the namespace",
    "QUOTA": "a ResourceQuota in the namespace",
    "SERVICE": "a Service in the namespace",
    "KEY": "an API key",
    "VERSION": "a version, such as 0.2.0",
    "CONTEXT": "a context of kubectl, which is a cluster",
    "FILE": "a file on the reader's machine",
    "KEDA_NAMESPACE": "the namespace of KEDA's operator",
    "CONCURRENCY": "requests at a time, of one replica",
    "REPLICAS": "a number of replicas",
    "MEMORY": "an amount of memory, such as 16Gi",
    "BYTES": "a number of bytes",
    "BANDWIDTH": "bytes per second that a device reads, such as 864G",
    "SIZE": "an amount of disk space, such as 1Gi",
    "REQUESTS": "a number of requests",
    "TIMEOUT": "a duration, such as 20m",
    "TOKENS": "a number of tokens",
    "PROBES": "how often a probe may fail",
    "PODS": "a number of pods",
    "PORTS": "a number of ports",
    "AMOUNT": "an amount of money, in the currency of the profiles",
    "ADDRESS": "an IP address",
    "WEBHOOK": "a ValidatingWebhookConfiguration",
    "PRIORITY_CLASS": "a PriorityClass",
    "VARIABLE": "the name of an environment variable",
}
Values = Mapping[str, str | Callable[[], str]]
"""By placeholder: a value, or how to find it at the moment when a command needs it."""

_HARMLESS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]*|/[A-Za-z0-9._/-]+")
_PLACEHOLDER = re.compile(rf"(?<![A-Za-z0-9_])(?:{'|'.join(sorted(KNOWN, key=len, reverse=True))})(?![A-Za-z0-9_])")
_CAPITALS = re.compile(r"(?<![A-Za-z0-9_$.=\"-])[A-Z]{3,}(?![A-Za-z0-9_=.:])")


END_OF_INPUT = "EOF"
"""What ends a here-document."""


class PlaceholderError(Exception):
    """One sentence that names the placeholder, its value and the remedy."""


def checked(values: Values) -> Values:
    """Returns the values; each must be known."""
    for name in values:
        if name not in KNOWN:
            raise PlaceholderError(f"{name} is not a placeholder: use one of {', '.join(KNOWN)}.")
    return values


def value_of(name: str, values: Values) -> str:
    """Returns a value that no shell reads as anything but one word, inside quotes or outside."""
    if name not in values:
        raise PlaceholderError(f"the page uses {name}, and the test has no value for it: add one.")
    value = values[name]
    found = value if isinstance(value, str) else value()
    if not _HARMLESS.fullmatch(found):
        raise PlaceholderError(
            f"the value {found!r} of {name} could change the command: use letters, digits and ._:/@+-."
        )
    return found


def filled(command: str, values: Values) -> str:
    return _PLACEHOLDER.sub(lambda found: value_of(found[0], values), command)


def used_in(text: str) -> set[str]:
    return set(_PLACEHOLDER.findall(text))


def split(text: str) -> list[tuple[str, bool]]:
    """Returns the parts of a text, and of each whether it is a placeholder."""
    parts: list[tuple[str, bool]] = []
    end = 0
    for found in _PLACEHOLDER.finditer(text):
        parts += [(text[end : found.start()], False), (found[0], True)]
        end = found.end()
    return [*parts, (text[end:], False)]


def unknown_in(command: str) -> set[str]:
    """Returns words in capitals that look like placeholders and aren't known; a quoted one is a field's value."""
    return {word for word in _CAPITALS.findall(command) if word not in KNOWN and word != END_OF_INPUT}
