"""Restores logging after each test."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from slipway.process import logs


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    others = {name: logging.getLogger(name).level for name in logs.QUIETER}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, own in others.items():
        logging.getLogger(name).setLevel(own)
