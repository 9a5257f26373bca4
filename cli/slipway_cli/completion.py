"""Completion of commands, flags and names: of `kubectl llm` by kubectl's own completion, of `slipway` by click's."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click
from click.shell_completion import CompletionItem, ShellComplete

from slipway_cli.main import cli

FILES, NO_FILES = ":0", ":4"
"""Directives of cobra, by which kubectl is built: the shell completes file names, or it doesn't."""


def for_kubectl() -> None:
    """The program `kubectl_complete-llm`: kubectl calls it with the words after `kubectl llm`, the last unfinished."""
    for line in completions(sys.argv[1:]):
        click.echo(line)


def completions(words: Sequence[str]) -> list[str]:
    *given, incomplete = words or [""]
    found = ShellComplete(cli, {}, "kubectl llm", "").get_completions(list(given), incomplete)
    lines = [_line(each) for each in found if each.type == "plain"]
    return [*lines, FILES if any(each.type in ("file", "dir") for each in found) else NO_FILES]


def _line(item: CompletionItem) -> str:
    return f"{item.value}\t{item.help}" if item.help else str(item.value)
