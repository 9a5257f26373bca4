"""`timeline`: the last start of a model, phase by phase, drawn in the terminal or as SVG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from slipway_cli.cluster.options import names, on_cluster, target_of
from slipway_cli.output import documents, screen
from slipway_cli.problems import Misused, Problem

WIDTH_IN_PIPES = 100


@click.command(short_help="Draw the last start of a model, phase by phase.")
@click.argument("name", shell_complete=names)
@click.option("--svg", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write a picture there.")
@click.option("--output", "-o", "form", type=click.Choice(["json", "yaml"]), help="Print it in this form.")
@on_cluster
def command(name: str, svg: Path | None, form: str | None, **given: Any) -> None:
    """Draw the last start of a model from zero, phase by phase, as status.lastColdStart has it. Phases that nothing
    reports are left out.
    """
    from slipway_cli.cluster import timeline
    from slipway_cli.cluster.kubectl import Kubectl
    from slipway_cli.cluster.reading import read_one

    target = target_of(given)
    kubectl = Kubectl(target.flags, target.namespace)
    namespace = kubectl.place().namespace
    start = (read_one(kubectl, name, namespace).get("status") or {}).get("lastColdStart") or {}
    phases = timeline.phases_in(start)
    if not phases:
        wakes = kubectl.ours("wake", name, namespace)
        raise Problem(f"{namespace}/{name} has not started from zero yet: {wakes} starts it.")
    title = f"{namespace}/{name}: {timeline.total_of(phases):.1f} s, pod {start.get('pod') or 'unknown'}"
    if form:
        items = [{"phase": each.name, "startSeconds": each.start, "seconds": each.length} for each in phases]
        documents.write(documents.document("Timeline", name=name, namespace=namespace, phases=items), form)
        return
    if svg:
        try:
            svg.write_text(timeline.svg(phases, title), encoding="utf-8")
        except OSError as error:
            raise Misused(f"{svg} can't be written ({error.strerror}): choose another file.") from None
        click.echo(f"{svg} is written.")
        return
    click.echo(screen.strong(title))
    for line in timeline.bars(phases, screen.width() or WIDTH_IN_PIPES):
        click.echo(line)
    longest = max(phases, key=lambda each: each.length)
    screen.paragraph(f"Longest: {longest.name} ({longest.meaning}).")
