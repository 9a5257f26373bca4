"""Builds the tools of the chart tests before the first test, which would otherwise wait for them: minutes, once."""

from __future__ import annotations

import pytest
from support.charts.helm import helm, kubeconform


def pytest_sessionstart(session: pytest.Session) -> None:
    """With parallel tests, this also runs in each worker, and finds everything built."""
    if not session.config.option.collectonly:
        helm()
        kubeconform()
