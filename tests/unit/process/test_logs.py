"""Lines of the log as text and as JSON."""

from __future__ import annotations

import io
import json
import logging

import pytest
from slipway.process import logs


def written(format_: str, level: str = "info") -> tuple[logging.Logger, io.StringIO]:
    stream = io.StringIO()
    logs.set_up(level=level, format_=format_, stream=stream)
    return logging.getLogger("slipway.test"), stream


def test_a_line_of_text_names_the_object_first() -> None:
    logger, stream = written("console")
    logger.info("%s created", "Service", extra={"key": "chat/llama"})
    assert stream.getvalue().split(" ", 1)[1] == "info    chat/llama: Service created\n"


def test_a_line_of_json_is_one_object() -> None:
    logger, stream = written("json")
    logger.warning("two\nlines", extra={"key": "chat/llama", "reason": "Waking"})
    [line] = stream.getvalue().splitlines()
    entry = json.loads(line)
    assert entry.pop("time")
    assert entry == {
        "level": "warning",
        "logger": "slipway.test",
        "message": "two\nlines",
        "key": "chat/llama",
        "reason": "Waking",
    }


@pytest.mark.parametrize("format_", ["console", "json"])
def test_an_error_is_logged_with_its_traceback(format_: str) -> None:
    logger, stream = written(format_)
    try:
        raise KeyError("poison")
    except KeyError:
        logger.exception("failed")
    assert "Traceback" in stream.getvalue()
    assert "poison" in stream.getvalue()


def test_libraries_log_less_unless_the_level_is_debug() -> None:
    _, stream = written("console")
    logging.getLogger("kopf").error("expected, and logged by the caller")
    assert stream.getvalue() == ""


def test_records_below_the_level_are_not_written() -> None:
    logger, stream = written("console", level="error")
    logger.warning("no")
    logging.getLogger("aiohttp").error("yes")
    assert "no" not in stream.getvalue()
    assert "yes" in stream.getvalue()
