"""The order in which the parts of the operator's process start."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from kubernetes.aio.client import Configuration
from slipway.operator.reconciling.flags import OperatorSettings
from slipway.operator.reconciling.main import main as program
from slipway.operator.reconciling.operator import Operator


async def test_no_model_is_reconciled_before_everything_is_read_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what has been read then is never walked through by a garbage collection: it would take the longest step of
    the event loop."""
    settings = OperatorSettings(**program.make_context(program.name, []).params)
    operator: Any = Operator(settings, Configuration(host="http://127.0.0.1:1"))
    done: list[str] = []

    def noted(name: str) -> Any:
        async def note() -> None:
            done.append(name)

        return note

    monkeypatch.setattr(operator._watching, "until_filled", noted("objects"))
    monkeypatch.setattr(operator._site_models, "until_read", noted("a site's models"))
    monkeypatch.setattr(operator._supply, "settle", noted("nodes"))
    monkeypatch.setattr(operator._queue, "run", noted("queue"))
    monkeypatch.setattr(gc, "freeze", lambda: done.append("freeze"))
    await operator._work()
    await operator._connection.close()
    assert done == ["objects", "a site's models", "nodes", "freeze", "queue"]
