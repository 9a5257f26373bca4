"""Fetches Prometheus' programs before the first test, which would otherwise wait for them."""

from __future__ import annotations

import pytest
from support.monitoring.promtool import promtool


def pytest_sessionstart(session: pytest.Session) -> None:
    if not session.config.option.collectonly:
        promtool()
