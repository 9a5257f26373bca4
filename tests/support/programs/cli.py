"""A command of the command-line tool in this process, with a kubectl that answers from objects."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from slipway_cli.main import cli

from support.fakes.kubectl import FakeKubectl
from support.programs.terminal import Ran


def run(kubectl: FakeKubectl, *arguments: str, width: int | None = None, given: str | None = None) -> Ran:
    """A process of Python would start one of kubectl for each request, which takes long. `given`: standard input."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("slipway_cli.cluster.kubectl.Kubectl", kubectl.inside())
        patched.setattr("slipway_cli.output.screen.width", lambda: width)
        found = CliRunner().invoke(cli, arguments, input=given)
    if found.exception and not isinstance(found.exception, SystemExit):
        raise found.exception
    return Ran(found.exit_code, found.stdout, found.stderr)
