"""The options of all tests, and the fixtures of those that run on a cluster."""

from __future__ import annotations

import secrets

import pytest

pytest_plugins = ["support.cluster.fixtures", "support.watchdog"]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("slipway", "Slipway: where cluster tests run")
    group.addoption(
        "--cluster",
        choices=["embedded", "kind", "existing"],
        default="embedded",
        help="embedded (default): a devcluster on this machine; kind: made by kind, where Docker answers; "
        "existing: the one of $KUBECONFIG, which must have KServe and KEDA",
    )
    group.addoption(
        "--tester-address",
        metavar="IP",
        help="an address of this machine that pods reach, for tests in which the cluster asks the test something; "
        "embedded clusters need none",
    )
    group.addoption(
        "--python-image",
        metavar="NAME",
        default="docker.io/library/python:3.11-slim-bookworm",
        help="an image with Python that the nodes can pull; embedded clusters need none (default: %(default)s)",
    )
    group.addoption("--cluster-name", default="test", metavar="NAME", help="its name (default: test)")
    group.addoption("--keep-cluster", action="store_true", help="leave the cluster up at the end")
    group.addoption(
        "--fuzz-seconds",
        type=float,
        default=10.0,
        metavar="S",
        help="how long each of two tests asks the guard at random, slow ones 30 times that (default: %(default)s)",
    )
    chaos = parser.getgroup("chaos", "Slipway: faults by chance")
    chaos.addoption(
        "--seed", type=int, default=secrets.randbelow(1_000_000), help="repeats what was drawn with it (default: any)"
    )
    chaos.addoption(
        "--soak-minutes", type=float, default=3, metavar="N", help="how long faults go on by chance (default: 3)"
    )
