"""The table of an activator's ports: what a line means, where it is valid, and which models a change concerns."""

from __future__ import annotations

from itertools import chain
from typing import Any

import pytest
from slipway.observing.porttable import (
    PORTS,
    Claim,
    PortTable,
    claims_in,
    lines,
    map_name,
    map_of,
    number_in,
    ports_in,
)

LLAMA, GEMMA = Claim("chat", "llama", "1"), Claim("chat", "gemma", "2")


def config_map(**data: str) -> dict[str, Any]:
    return {"data": {name.removeprefix("p"): line for name, line in data.items()}}


def table(*maps: dict[str, Any]) -> PortTable:
    port_table = PortTable("activator")
    for number, each in enumerate(maps):
        port_table.take(map_name("activator", number), each)
    return port_table


def test_each_port_has_its_place_in_one_of_the_maps() -> None:
    numbers = range(map_of(PORTS[-1]) + 1)
    assert list(chain.from_iterable(map(ports_in, numbers))) == list(PORTS)
    assert all(map_of(port) == number for number in numbers for port in ports_in(number))
    assert [number_in(map_name("activator", number), "activator") for number in numbers] == list(numbers)


def test_a_written_table_is_parsed_back() -> None:
    claims = {20000: LLAMA, 20007: GEMMA}
    assert claims_in({"data": lines(claims)}, 0) == claims


@pytest.mark.parametrize(
    "name",
    [
        "activator-ports-1",
        "activator-ports-99",
        "activator-ports-x",
        "other-ports-00",
        "activator",
        "activator-ports-\u0660\u0660",
    ],
)
def test_a_config_map_with_another_name_is_not_part_of_the_table(name: str) -> None:
    port_table = PortTable("activator")
    assert port_table.take(name, config_map(p20000="chat/llama 1")) == []
    assert port_table.owner_of(20000) is None


@pytest.mark.parametrize(
    ("port", "line"),
    [
        ("20256", "chat/llama 1"),  # belongs to the next map
        ("80", "chat/llama 1"),
        ("-20001", "chat/llama 1"),
        ("020001", "chat/llama 1"),
        ("20001", "chat/llama"),
        ("20001", "llama 1"),
        ("20001", "/llama 1"),
        ("20001", ""),
    ],
)
def test_an_unreadable_line_or_one_in_the_wrong_map_assigns_no_port(port: str, line: str) -> None:
    assert claims_in({"data": {port: line}}, 0) == {}


def test_a_port_in_two_maps_belongs_to_the_line_in_the_map_of_its_range() -> None:
    port_table = table(config_map(p20000="chat/llama 1"), config_map(p20000="chat/gemma 2"))
    assert port_table.owner_of(20000) == LLAMA
    assert port_table.ports_of(GEMMA) == []


def test_a_line_means_the_object_with_its_uid() -> None:
    port_table = table(config_map(p20000="chat/llama 1"))
    assert port_table.ports_of(LLAMA) == [20000]
    assert port_table.ports_of(LLAMA._replace(uid="another")) == []
    assert port_table.ports_of(LLAMA._replace(namespace="evil")) == []


def test_if_an_object_has_two_ports_the_lowest_counts() -> None:
    assert table(config_map(p20007="chat/llama 1", p20003="chat/llama 1")).ports_of(LLAMA) == [20003, 20007]


def test_a_change_concerns_only_the_owners_of_changed_ports_and_the_losers_first() -> None:
    name = map_name("activator", 0)
    port_table = table(config_map(p20000="chat/llama 1", p20001="chat/qwen 3"))
    assert port_table.take(name, config_map(p20000="chat/gemma 2", p20001="chat/qwen 3")) == [LLAMA, GEMMA]
    assert port_table.ports_of(LLAMA) == []
    assert port_table.take(name, None) == [GEMMA, Claim("chat", "qwen", "3")]
    assert port_table.ports_of(GEMMA) == []
