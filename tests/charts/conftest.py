"""What the charts are looked at with is there before the first test, which would have to wait for it: minutes, once."""

from __future__ import annotations

import pytest
from support.charts import helm, kubeconform


def pytest_sessionstart(session: pytest.Session) -> None:
    """Where tests run side by side, this is in those who run them, too, and finds all there."""
    if not session.config.option.collectonly:
        helm()
        kubeconform()
