"""How a command ends: with an exit code that scripts can rely on, and with one sentence if it couldn't do its work."""

from __future__ import annotations

from typing import IO, Any

import click

from slipway_cli.visible import visible

WELL = 0
NOT_WELL = 1  # the answer is "no": it isn't ready, nothing fits
USAGE = 2  # the command line, or a file that it names, is wrong
UNKNOWN = 3  # there is no answer: no cluster, no permission, nothing known of the model


class Problem(click.ClickException):
    """Why there is no answer: one sentence that names what is wrong, its value and the remedy."""

    exit_code = UNKNOWN

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"Error: {visible(self.format_message())}", err=True)


class Misused(Problem):
    """The command line, or a file that it names, is wrong."""

    exit_code = USAGE
