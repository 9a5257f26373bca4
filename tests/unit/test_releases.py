"""Values of a release that a test changes."""

from __future__ import annotations

from typing import Any

import pytest
from support.cluster import releases


async def test_values_are_as_before_whatever_happens_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    done = []

    async def helm(_: Any, verb: str, *__: str) -> str:
        done.append(verb)
        return ""

    async def rolled_out(_: Any) -> None:
        done.append("rolled out")

    monkeypatch.setattr(releases, "helm", helm)
    monkeypatch.setattr(releases, "rolled_out", rolled_out)
    cluster: Any = None
    with pytest.raises(AssertionError):
        async with releases.with_values(cluster, cluster, "a=b"):
            raise AssertionError
    assert done == ["upgrade", "rolled out", "rollback", "rolled out"]
