"""The format of log lines: for people at a terminal, or one JSON object each for programs that collect them."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

FIELDS = ("key", "reason")
"""Fields that a line may have next to its message, for searches."""

QUIETER = {
    "asyncio": logging.WARNING,
    "aiohttp": logging.WARNING,
    "kubernetes": logging.WARNING,
    "kopf": logging.CRITICAL,
}
"""Loggers of libraries, unless the level is debug. kopf warns of its thread and of missing kinds, which are intended;
and when it ends, as it does when a kind disappears, it logs several tracebacks where our own log has one line."""


def set_up(*, level: str, format_: str, stream: TextIO | None = None) -> None:
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines() if format_ == "json" else PlainLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name, least in QUIETER.items() if level != "debug" else ():
        logging.getLogger(name).setLevel(max(least, logging.getLogger().level))


class PlainLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S.%f")[:-3]
        about = f" {record.key}:" if hasattr(record, "key") else ""
        return f"{at} {record.levelname.lower():7}{about} {record.getMessage()}{self._trace(record)}"

    def _trace(self, record: logging.LogRecord) -> str:
        return f"\n{self.formatException(record.exc_info)}" if record.exc_info else ""


class JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **{name: getattr(record, name) for name in FIELDS if hasattr(record, name)},
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)
