"""The activator's view of the port table, and what its listeners derive from it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from slipway.activator.tracking.listener_ports import ListenerPorts
from slipway.api.model_key import ModelKey
from slipway.objects.kinds import Object
from slipway.observing.porttable import Claim

LLAMA, GEMMA = Claim("chat", "llama", "1"), Claim("chat", "gemma", "2")


class Tables:
    """The ConfigMaps as they are now."""

    def __init__(self) -> None:
        self._now: dict[str, Object] = {}
        self.ports = ListenerPorts("activator", self._now.get)

    def apply(self, data: Mapping[str, str] | None, *, name: str = "activator-ports-00") -> list[ModelKey]:
        before = self._now.pop(name, None)
        if data is not None:
            self._now[name] = {"metadata": {"name": name}, "data": dict(data)}
        return list(self.ports.concerns(self._now.get(name) or before or {}))


def test_a_port_belongs_to_this_very_object() -> None:
    tables = Tables()
    assert tables.apply({"20001": str(LLAMA)}) == [ModelKey("chat", "llama")]
    assert tables.ports.port_of(LLAMA) == 20001
    assert tables.ports.port_of(LLAMA._replace(uid="created again")) is None


def test_the_table_of_another_activator_is_ignored() -> None:
    tables = Tables()
    assert tables.apply({"20001": str(LLAMA)}, name="other-ports-00") == []
    assert tables.ports.port_of(LLAMA) is None


def test_a_deployment_that_loses_a_port_is_refreshed_before_the_one_that_gets_it() -> None:
    tables = Tables()
    tables.apply({"20001": str(GEMMA)})
    assert tables.apply({"20001": str(LLAMA)}) == [ModelKey("chat", "gemma"), ModelKey("chat", "llama")]


def test_without_the_table_no_deployment_has_a_port() -> None:
    tables = Tables()
    tables.apply({"20001": str(LLAMA)})
    assert tables.apply(None) == [ModelKey("chat", "llama")]
    assert tables.ports.port_of(LLAMA) is None


def test_of_two_ports_one_is_opened_and_that_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    tables = Tables()
    tables.apply({"20001": str(LLAMA), "20002": str(LLAMA)})
    assert tables.ports.port_of(LLAMA) == 20001
    assert "only 20001 is opened" in caplog.text
