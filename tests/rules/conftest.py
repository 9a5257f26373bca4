"""Fetches Prometheus' programs before the first test, which would otherwise wait for them."""

from __future__ import annotations

import pytest
from slipway_devcluster.errors import Refusal
from support.monitoring.promtool import promtool


def pytest_sessionstart(session: pytest.Session) -> None:
    if session.config.option.collectonly:
        return
    try:
        promtool()
    except Refusal as refusal:
        pytest.exit(f"tests/rules: {refusal}", returncode=pytest.ExitCode.USAGE_ERROR)
