"""Values of a release that a test changes."""

from __future__ import annotations

from typing import Any

import pytest
from support.cluster import releases


async def test_values_are_restored_whatever_happens_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
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


async def test_older_pods_of_replaced_programs_are_gone_before_the_block_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done = []

    class Home:
        async def select(self, _: str, selector: str) -> list[Any]:
            done.append(selector)
            return [{"metadata": {"name": "older"}}]

        async def run(self, *_: str) -> None:
            pass

        async def wait_gone(self, _: str, name: str, *, timeout: float) -> None:
            done.append(f"{name} is gone")

    async def helm(_: Any, verb: str, *__: str) -> str:
        done.append(verb)
        return ""

    monkeypatch.setattr(releases, "helm", helm)
    cluster: Any = None
    home: Any = Home()
    async with releases.with_values(cluster, home, "a=b", replaced=["slipway-activator"]):
        done.append("block")
    assert done == [
        "app.kubernetes.io/name in (slipway-activator)",
        "upgrade",
        "older is gone",
        "block",
        "rollback",
    ]
