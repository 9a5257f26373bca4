"""The settings of a program for given flags and variables, without starting it:
`operator_settings(["--workers=4"])`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import click
from slipway.activator.flags import ActivatorSettings
from slipway.activator.main import main as activator
from slipway.operator.reconciling.flags import OperatorSettings
from slipway.operator.reconciling.main import main as operator
from slipway.selftest.flags import SelftestSettings
from slipway.selftest.main import main as selftest

PREFIX = "SLIPWAY_"


def operator_settings(arguments: Sequence[str] = (), environment: Mapping[str, str] | None = None) -> OperatorSettings:
    return OperatorSettings(**_given(operator, arguments, environment))


def activator_settings(
    arguments: Sequence[str] = (), environment: Mapping[str, str] | None = None
) -> ActivatorSettings:
    return ActivatorSettings(**_given(activator, arguments, environment))


def selftest_settings(arguments: Sequence[str] = (), environment: Mapping[str, str] | None = None) -> SelftestSettings:
    return SelftestSettings(**_given(selftest, arguments, environment))


@contextmanager
def variables(environment: Mapping[str, str]) -> Iterator[None]:
    """Sets these variables of Slipway, and removes its others."""
    others = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    with patch.dict(os.environ, {**others, **environment}, clear=True):
        yield


def _given(program: click.Command, arguments: Sequence[str], environment: Mapping[str, str] | None) -> dict[str, Any]:
    with variables(environment or {}):
        return program.make_context(program.name, list(arguments)).params
