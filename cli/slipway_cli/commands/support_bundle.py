"""`support-bundle`: what a maintainer needs to see of an installation, in one file, without credentials."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from slipway_cli.cluster.options import everywhere, on_cluster, target_of
from slipway_cli.commands.acting import ask
from slipway_cli.commands.wait import seconds_of
from slipway_cli.output import screen
from slipway_cli.output.table import Cell, Column
from slipway_cli.problems import Misused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slipway_cli.cluster.bundle import Bundle


@click.command(short_help="Collect what a maintainer needs to help, without credentials.")
@click.option(
    "--output",
    "-o",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write.  [default: slipway-support-TIME.tar.gz]",
)
@click.option("--since", default="24h", show_default=True, metavar="TIME", help="How far back logs go, as 30m or 24h.")
@click.option("--dry-run", is_flag=True, help="Only show what would be in it.")
@click.option("--yes", "-y", is_flag=True, help="Don't ask.")
@everywhere
@on_cluster
def command(file: Path | None, since: str, *, dry_run: bool, yes: bool, **given: Any) -> None:
    """Write an archive for a maintainer: the checks of `doctor`; versions, flags, logs and events of Slipway, KServe
    and KEDA; nodes, accelerators and runtimes; and of the models of the namespace, or of all, their objects, events
    and logs.

    Secrets are not read, and credentials elsewhere are replaced by ***. It shows the files and what was replaced, and
    asks before it writes. What you may not read is left out, and said.
    """
    from datetime import UTC, datetime

    from slipway_cli.cluster.collecting import Scope, collect
    from slipway_cli.cluster.kubectl import Kubectl

    seconds = seconds_of("since", since)
    now = datetime.now(UTC)
    file = file or Path(f"slipway-support-{now:%Y%m%dT%H%M%SZ}.tar.gz")
    if os.path.lexists(file):
        raise Misused(f"{file} exists already: choose another file by --output.")
    target = target_of(given)
    kubectl = Kubectl(target.flags, target.namespace)
    scope = Scope(None if target.everywhere else kubectl.place().namespace, seconds)
    bundle = collect(kubectl, scope)
    bundle.add_text(("README.txt",), "\n".join(_readme(bundle, scope.namespace, since, f"{now:%Y-%m-%d %H:%M} UTC")))
    _show(bundle)
    if dry_run:
        return
    if not yes:
        ask(f"Write {file}?")
    _write(bundle, file)


def _show(bundle: Bundle) -> None:
    """Before anything is written."""
    table = [Column("FILE"), Column("SIZE", right=True), Column("REPLACED", right=True)]
    rows = [[Cell(each.path), Cell(_size(len(each.content))), Cell(str(each.masked or ""))] for each in bundle.files]
    screen.table(table, rows)
    click.echo()
    screen.paragraph(f"{len(bundle.files)} files, {_size(bundle.size)} in all.")
    for line in _summary(bundle):
        screen.paragraph(line)
    for gap in bundle.gaps:
        screen.paragraph(gap, indent="  ", first="! ", paint=screen.uncertain)


def _summary(bundle: Bundle) -> Iterator[str]:
    found = {kind: count for kind, count in sorted(bundle.masker.found.items()) if count}
    said = "; ".join(f"{kind}: {count}" for kind, count in found.items())
    replaced = f"Replaced by ***: {said}." if said else "Nothing looked like a credential."
    yield f"Secrets were not read. {replaced}"
    yield (
        "A credential that looks like an ordinary word can't be recognised, and an engine that logs prompts has them "
        "in its log: look into the files before you send them to anyone."
    )


def _readme(bundle: Bundle, namespace: str | None, since: str, time: str) -> Iterator[str]:
    from importlib.metadata import version

    yield f"Support bundle of Slipway, made by kubectl llm {version('slipway-cli')} at {time}."
    yield f"Models of {f'namespace {namespace}' if namespace else 'all namespaces'}; logs of the last {since}."
    yield ""
    yield from _summary(bundle)
    if bundle.gaps:
        yield "\nWhat is missing:"
        yield from (f"- {gap}" for gap in bundle.gaps)
    yield ""


def _write(bundle: Bundle, file: Path) -> None:
    """Only for the user, as logs should be; never over another file, nor where a symbolic link leads."""
    from slipway_cli.cluster.bundle import archive_of

    try:
        place = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
        with os.fdopen(place, "wb") as opened:
            opened.write(archive_of(bundle.files))
    except OSError as error:
        raise Misused(f"{file} can't be written ({error.strerror}): choose another file by --output.") from None
    click.echo(f"Written: {file} ({_size(file.stat().st_size)})")


def _size(count: int) -> str:
    if count < 1 << 10:
        return f"{count} B"
    return f"{count / (1 << 10):.1f} KiB" if count < 1 << 20 else f"{count / (1 << 20):.1f} MiB"
