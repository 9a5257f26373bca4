"""The options of all tests, and the plugins that they share."""

from __future__ import annotations

import secrets

import pytest
from support.monitoring.idling import LEAST_IDLE, idle_minutes

pytest_plugins = ["support.cluster.fixtures", "support.watchdog"]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("slipway-random", "Slipway: random requests and faults")
    group.addoption(
        "--fuzz-seconds",
        type=float,
        default=10.0,
        metavar="S",
        help="how long each of two tests sends random requests to the guard; slow tests take 30 times as long "
        "(default: %(default)s)",
    )
    group.addoption(
        "--seed",
        type=int,
        default=secrets.randbelow(1_000_000),
        help="the seed of random faults: the same seed draws the same faults (default: a random one)",
    )
    group.addoption(
        "--soak-minutes", type=float, default=3, metavar="N", help="how long random faults last (default: 3)"
    )
    group.addoption(
        "--idle-minutes",
        type=idle_minutes,
        default=60.0,
        metavar="N",
        help=f"how long the model of the story in docs/monitoring.md idles, {LEAST_IDLE} or more (default: 60)",
    )
