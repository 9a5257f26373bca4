"""Writes docs/reference/cli.md from the commands themselves, and the screens of docs/cli.md and the README.

A screen is a console block that starts with `$ kubectl llm …` and a command that needs no cluster, or one of RECORDED,
which is shown for objects that were recorded on a real cluster. `| head -N` leaves out the rest.
"""

from __future__ import annotations

import argparse
import inspect
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import click
from click.testing import CliRunner
from slipway_cli.cluster.diagnosing import diagnose
from slipway_cli.cluster.permissions import PERMISSIONS, Permission
from slipway_cli.commands import why
from slipway_cli.main import COMMANDS, cli
from slipway_cli.offline.runbooks import runbook
from support.builders import cli_worlds

DOCS = Path(__file__).parent.parent / "docs"
PAGE, GUIDE, README = DOCS / "reference/cli.md", DOCS / "cli.md", DOCS.parent / "README.md"
SCREEN = re.compile(
    r"(```console\n\$ kubectl llm ((?:plan|init|explain|why)\b[^\n|]*?)(?: \| head -(\d+))?\n).*?```", re.DOTALL
)
RECORDED = {"why model -n chat": "out-of-memory"}
"""Which recorded failure a command shows; the namespace of the recording is called chat."""
TABLE = re.compile(r"(<!-- The permissions, by `make generate`\. -->\n).*?(?=\n\n)", re.DOTALL)
WIDTH = 118
SHARED = ("--kubeconfig", "--context", "--cluster", "--user", "--as", "--namespace")
"""Flags of kubectl, which are described once, of all commands on a cluster."""

EXIT_CODES = (
    (0, "well: it is as it should be"),
    (1, "not well: the answer is no; a model isn't healthy, fits nowhere, or differs (`diff`)"),
    (2, "the command line, or a file that it names, is wrong"),
    (3, "can't tell: no cluster, no permission, no such object, nothing is known of the model, or a bug"),
    (130, "Ctrl-C, or no to a question: nothing more was done"),
    (141, "the reader of its output has ended, as `head` does"),
    (143, "ended by SIGTERM; 129: by SIGHUP"),
)


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    PAGE.write_text("\n".join(_page()))
    GUIDE.write_text(with_permissions(with_screens(GUIDE.read_text())))
    README.write_text(with_screens(README.read_text()))


def with_permissions(page: str) -> str:
    rows = ["| permission | commands | without it |", "|---|---|---|", *map(_row, PERMISSIONS)]
    return TABLE.sub(lambda found: found[1] + "\n".join(rows), page)


def _row(each: Permission) -> str:
    what = ", ".join(f"`{resource}`" for resource in each.resources)
    only = f" named {', '.join(f'`{name}`' for name in each.only)}" if each.only else ""
    where = ", in the whole cluster" if each.is_of_cluster else ""
    commands = ", ".join(f"`{command}`" for command in each.commands)
    return f"| {' and '.join(each.verbs)} {what}{only}{where} | {commands} | {each.without} |"


def with_screens(page: str) -> str:
    """The page, with each screen as it is now."""
    return SCREEN.sub(lambda found: f"{found[1]}{_shown(found[2], found[3])}```", page)


def _shown(command: str, most: str | None) -> str:
    """What the command writes to a terminal of that width, without colours; or into a pipe."""
    with mock.patch("slipway_cli.output.screen.width", return_value=None if most else WIDTH):
        if command in RECORDED:
            output = _diagnosed(RECORDED[command])
        else:
            output = CliRunner().invoke(cli, shlex.split(command), prog_name="kubectl llm").output
    return "".join(output.splitlines(keepends=True)[: int(most) if most else None])


def _diagnosed(failure: str) -> str:
    """What `why` writes of a recorded failure."""
    world = cli_worlds.recorded_world(failure)
    found = diagnose(world)

    @click.command()
    def shown() -> None:
        why.tell(found, runbook(found.reason))

    return CliRunner().invoke(shown).output.replace(world.namespace, "chat")


def _page() -> Iterator[str]:
    yield "# Commands and flags of `kubectl llm`\n"
    yield "<!-- Written by `make generate`; change what it describes instead. -->\n"
    yield "The same program is also called `slipway`. [The guide](../cli.md) shows it at work.\n"
    yield "## Exit codes\n"
    yield "| code | meaning |\n| --- | --- |"
    yield from (f"| {code} | {meaning} |" for code, meaning in EXIT_CODES)
    yield "\n## Flags of kubectl\n"
    yield "Commands on a cluster have these, with kubectl's meaning: `--namespace` (`-n`), `--context`, `--kubeconfig`,"
    yield "`--cluster`, `--user` and `--as`.\n"
    for name, lazy in COMMANDS.items():
        command = cli.get_command(click.Context(cli), name)
        if command is None:
            raise click.UsageError(f"{name} is not a command")
        yield from _of_command(name, lazy.help, command)


def _of_command(name: str, short: str, command: click.Command) -> Iterator[str]:
    with click.Context(command, info_name=f"kubectl llm {name}") as context:
        usage = " ".join(command.collect_usage_pieces(context))
        yield f"## {name}\n"
        yield f"`kubectl llm {name} {usage}`\n"
        yield f"{_paragraphs(command.help or short)}\n"
        options = [each for each in command.params if isinstance(each, click.Option)]
        is_on_cluster = any("--kubeconfig" in each.opts for each in options)
        shared = set(SHARED) if is_on_cluster else set()
        rows = [each.get_help_record(context) for each in options if not set(each.opts) & shared]
        if any(rows):
            yield "| flag | meaning |\n| --- | --- |"
            yield from (f"| `{_cell(row[0])}` | {_cell(row[1])} |" for row in rows if row)
            yield ""


def _paragraphs(text: str) -> str:
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(_verbatim(each) if each.startswith("\b") else " ".join(each.split()) for each in paragraphs)


def _verbatim(text: str) -> str:
    lines = text.removeprefix("\b\n").splitlines()
    return "\n".join(["```text", *(line.strip() for line in lines), "```"])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    main()
