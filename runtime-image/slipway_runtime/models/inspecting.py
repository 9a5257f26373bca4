"""`slipway-runtime inspect PATH`: the facts of a model, or of an adapter, as JSON; and for a Job, as a report."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from slipway_runtime.contract.reasons import Reason
from slipway_runtime.failure import Failure, write_termination_message
from slipway_runtime.models import report
from slipway_runtime.models.facts import AdapterFacts, Facts
from slipway_runtime.models.files import reading
from slipway_runtime.models.locating import ADAPTER_CONFIG, find_adapter, find_model
from slipway_runtime.models.problem import ModelError
from slipway_runtime.models.reading import read_adapter, read_model

CHECK_THE_URI = "Check spec.model.uri and its path."


def inspect_command(path: Path) -> int:
    """Prints the facts, or why there are none; returns the exit code."""
    try:
        facts = _inspect(path)
    except ModelError as error:
        return _failed(error.failure)
    sys.stdout.write(json.dumps(facts.as_json(), indent=2) + "\n")
    return 0


def report_command(path: Path, file: Path) -> int:
    """Writes the report of a model into the file, which is the pod's termination message; or why there is none."""
    try:
        content = _content(path)
        line = report.encoded(content)
    except ModelError as error:
        failure = _for_the_spec(error.failure)
        write_termination_message(failure, file)
        return _failed(failure)
    except Exception as error:  # whatever happens, the operator must learn why there is no report
        failure = Failure(
            Reason.UNKNOWN, f"The model's files can't be inspected: {type(error).__name__}.", "Report this bug."
        )
        write_termination_message(failure, file)
        _failed(failure)
        raise
    sys.stdout.write(json.dumps(content, indent=2) + "\n")
    _write(file, line)
    return 0


def _inspect(path: Path) -> Facts | AdapterFacts:
    if (path / ADAPTER_CONFIG).is_file():
        return read_adapter(find_adapter(path))
    return read_model(find_model(path))


def _content(path: Path) -> report.Report:
    found = find_model(path)
    with reading(path):
        report.refuse_links_out(found, path)
        return report.content_of(found, read_model(found))


def _for_the_spec(failure: Failure) -> Failure:
    """The folder follows from the model's URI, so that is what can be corrected."""
    if failure.reason is Reason.MODEL_NOT_FOUND and "spec." not in failure.remedy:
        return Failure(failure.reason, failure.message, CHECK_THE_URI)
    return failure


def _failed(failure: Failure) -> int:
    sys.stderr.write(f"slipway-runtime: {failure.message} {failure.remedy}\n")
    return failure.reason.exit_code


def _write(file: Path, line: str) -> None:
    """In one call, into the existing file: a mounted one can't be replaced by renaming."""
    stream = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        os.write(stream, line.encode())
    finally:
        os.close(stream)
