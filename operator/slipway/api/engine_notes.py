"""What a ServingRuntime that isn't Slipway's says about its engine: annotations in its `spec.annotations`.

KServe copies these to the pods. So the operator, which renders objects from them, and the activator, which polls a
pod's metrics by them, read the same; and a pod of an older version is still polled as that version said.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from slipway.api.units import seconds
from slipway.contract import pod
from slipway.contract.engines import BUILT_IN

PORT, PATH = pod.PORT_ANNOTATION, pod.PATH_ANNOTATION
IN_FLIGHT, PROGRESS, SILENT = pod.IN_FLIGHT_ANNOTATION, pod.PROGRESS_ANNOTATION, pod.SILENT_ANNOTATION
DRAINS_FOR, OPTIONS = pod.DRAINS_FOR_ANNOTATION, pod.OPTIONS_ANNOTATION

OF_METRICS = (PORT, PATH, IN_FLIGHT, PROGRESS, SILENT)
USUAL_PATH = pod.METRICS_PATH

SERVED_NAME, TENSOR, PIPELINE = "model.servedName", "engine.parallelism.tensor", "engine.parallelism.pipeline"
CONTEXT_LENGTH, MAX_CONCURRENCY = "engine.contextLength", "engine.maxConcurrency"
FIELDS = (SERVED_NAME, CONTEXT_LENGTH, MAX_CONCURRENCY, TENSOR, PIPELINE)

LONGEST = 1024  # characters of one annotation
MOST_SERIES, MOST_LABELS = 16, 4

_SERIES = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{([^{}]+)\})?")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)=("?)([a-zA-Z0-9_.:/-]+)\2')
_PORT = re.compile(r"[1-9][0-9]{0,4}")
A_PATH = re.compile(r"/[a-zA-Z0-9._~/?=&%-]{0,255}")
_OPTION = re.compile(r"--?[a-zA-Z][a-zA-Z0-9_-]*|[A-Z][A-Z0-9_]*")


class Series(NamedTuple):
    """The series of a metric that have all of these labels."""

    name: str
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Words:
    """The metrics that show whether an engine is in use."""

    in_flight: tuple[Series, ...] = ()
    progress: tuple[Series, ...] = ()
    silent_until_used: bool = False  # otherwise, an engine that has none of them isn't understood


OUR_WORDS = Words(
    in_flight=tuple(Series(name) for each in BUILT_IN for name in each.metrics.in_flight),
    progress=tuple(Series(name) for each in BUILT_IN for name in each.metrics.progress),
)
"""Those of the engines that Slipway builds in. They are also looked for in a runtime that names none."""


@dataclass(frozen=True, kw_only=True)
class Exposition:
    """Where an engine's metrics are, and what they are called."""

    port: int | None = None  # None: the runtime doesn't say
    path: str = USUAL_PATH
    words: Words = OUR_WORDS


USUAL = Exposition()


@dataclass(frozen=True, kw_only=True)
class Notes:
    """All that a ServingRuntime says about its engine."""

    metrics: Exposition
    names_words: bool  # otherwise, its metrics are assumed to be those of our own engines
    drains_for: float | None  # seconds; None: the runtime doesn't say
    options: Mapping[str, str]  # by field: a flag, or the name of an environment variable


class NoteError(ValueError):
    """An annotation that can't be read; the message names it, its value and the remedy."""


def read(annotations: Mapping[str, str]) -> Notes:
    return Notes(
        metrics=exposition(annotations),
        names_words=any(annotations.get(name, "").strip() for name in (IN_FLIGHT, PROGRESS)),
        drains_for=_drains_for(annotations),
        options=_options(_text(annotations, OPTIONS)),
    )


def exposition(annotations: Mapping[str, str]) -> Exposition:
    """All that a client has to know to read the metrics."""
    words = Words(_series(annotations, IN_FLIGHT), _series(annotations, PROGRESS), _is_silent(annotations))
    return Exposition(
        port=_port(_text(annotations, PORT)),
        path=_path(_text(annotations, PATH)),
        words=words if words.in_flight or words.progress else OUR_WORDS,
    )


# --- one by one ------------------------------------------------------------------------------------------------------


def _text(annotations: Mapping[str, str], name: str) -> str:
    text = annotations.get(name, "")
    if len(text) > LONGEST:
        raise NoteError(f"{name} has {len(text)} characters: write at most {LONGEST}")
    return text


def _port(text: str) -> int | None:
    if not text:
        return None
    if not _PORT.fullmatch(text) or int(text) > 65535:
        raise NoteError(f"{PORT} is '{text}': write a port's number, such as '8002'")
    return int(text)


def _path(text: str) -> str:
    if text and not A_PATH.fullmatch(text):
        raise NoteError(f"{PATH} is '{text}': write a path, such as '/metrics'")
    return text or USUAL_PATH


def _series(annotations: Mapping[str, str], name: str) -> tuple[Series, ...]:
    found = tuple(_one_series(name, each) for each in _text(annotations, name).split())
    if len(found) > MOST_SERIES:
        raise NoteError(f"{name} names {len(found)} metrics: write at most {MOST_SERIES}")
    return found


def _one_series(note: str, text: str) -> Series:
    found = _SERIES.fullmatch(text)
    labels = [_LABEL.fullmatch(each) for each in (found[2] or "").split(",") if each] if found else []
    if not found or not all(labels) or len(labels) > MOST_LABELS:
        raise NoteError(
            f"{note} names '{text}': write metrics with a space between them, each with at most {MOST_LABELS} labels, "
            "such as 'requests{state=running}'"
        )
    return Series(found[1], tuple((label[1], label[3]) for label in labels if label))


def _is_silent(annotations: Mapping[str, str]) -> bool:
    text = _text(annotations, SILENT)
    if text not in ("", "true", "false"):
        raise NoteError(f"{SILENT} is '{text}': write 'true' or 'false'")
    return text == "true"


def _drains_for(annotations: Mapping[str, str]) -> float | None:
    text = _text(annotations, DRAINS_FOR)
    try:
        return seconds(text) if text else None
    except ValueError as error:
        raise NoteError(f"{DRAINS_FOR}: {error}") from None


def _options(text: str) -> dict[str, str]:
    options = {}
    for each in text.split():
        field, _, option = each.partition("=")
        if field not in FIELDS or not _OPTION.fullmatch(option):
            raise NoteError(
                f"{OPTIONS} has '{each}': write FIELD=--flag or FIELD=VARIABLE, where FIELD is one of "
                f"{', '.join(FIELDS)}, such as 'engine.contextLength=--max-length'"
            )
        options[field] = option
    return options
