"""What a ServingRuntime that isn't Slipway's says of its engine: annotations in its `spec.annotations`.

KServe hands these on to the pods. So what the operator renders by them and what the activator asks a pod for is the
same, and a pod of an older version goes on to be asked in its own words. Port and path have the names that KServe's own
runtimes use.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from slipway.api.names import GROUP
from slipway.api.units import seconds

PORT = "prometheus.kserve.io/port"  # where its metrics are, if not at its own port
PATH = "prometheus.kserve.io/path"
IN_FLIGHT = f"{GROUP}/in-flight"  # gauges: together, the requests that run or wait
PROGRESS = f"{GROUP}/progress"  # counters: any change of one means that the model was used
SILENT = f"{GROUP}/silent-until-used"  # true: before its first request, it has none of these
DRAINS_FOR = f"{GROUP}/drains-for"  # how long it goes on with running requests once it is asked to end
OPTIONS = f"{GROUP}/options"  # how it is told what the spec wants: FIELD=--flag or FIELD=VARIABLE

OF_METRICS = (PORT, PATH, IN_FLIGHT, PROGRESS, SILENT)
USUAL_PATH = "/metrics"

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
    """Those of a metric that have all of these labels."""

    name: str
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Words:
    """By which metrics an engine's use is known."""

    in_flight: tuple[Series, ...] = ()
    progress: tuple[Series, ...] = ()
    silent_until_used: bool = False  # or who tells none of them is not understood


OUR_WORDS = Words(
    in_flight=(
        Series("vllm:num_requests_running"),
        Series("vllm:num_requests_waiting"),
        Series("llamacpp:requests_processing"),
        Series("llamacpp:requests_deferred"),
    ),
    progress=(
        Series("vllm:prompt_tokens_total"),
        Series("vllm:generation_tokens_total"),
        Series("llamacpp:prompt_tokens_total"),
        Series("llamacpp:tokens_predicted_total"),
    ),
)
"""Of the engines that Slipway brings along, and what is understood of a runtime that names none."""


@dataclass(frozen=True, kw_only=True)
class Exposition:
    """Where an engine's metrics are, and what they are called."""

    port: int | None = None  # None: it isn't said
    path: str = USUAL_PATH
    words: Words = OUR_WORDS


USUAL = Exposition()


@dataclass(frozen=True, kw_only=True)
class Notes:
    metrics: Exposition
    names_words: bool  # or they are those of our own engines
    drains_for: float | None  # seconds; None: it isn't said
    options: Mapping[str, str]  # by field: a flag, or the name of an environment variable


class NoteError(ValueError):
    """A note that can't be read: half a sentence with its name, the value and the remedy."""


def read(annotations: Mapping[str, str]) -> Notes:
    return Notes(
        metrics=exposition(annotations),
        names_words=any(annotations.get(name, "").strip() for name in (IN_FLIGHT, PROGRESS)),
        drains_for=_drains_for(annotations),
        options=_options(_text(annotations, OPTIONS)),
    )


def exposition(annotations: Mapping[str, str]) -> Exposition:
    """All that who asks for them has to know."""
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
