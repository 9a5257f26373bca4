"""`events`: those of a model and of all that belongs to it, in the order of time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from slipway_cli.cluster.options import names, on_cluster, target_of
from slipway_cli.output import documents, screen
from slipway_cli.output.table import Cell, Column

if TYPE_CHECKING:
    from slipway_cli.cluster.world import World


@click.command(short_help="Show the events of a model and of all that belongs to it, by time.")
@click.argument("name", shell_complete=names)
@click.option("--warnings", is_flag=True, help="Only warnings.")
@click.option("--output", "-o", "form", type=click.Choice(["json", "yaml"]), help="Print it in this form.")
@on_cluster
def command(name: str, form: str | None, *, warnings: bool, **given: Any) -> None:
    """Show the events of a model, of its pods, controllers and autoscalers, in the order of time. The API server keeps
    events for an hour, unless it is set otherwise.
    """
    from slipway.objects.kinds import CORE_EVENT

    from slipway_cli.cluster.kubectl import ApiError, Kubectl
    from slipway_cli.cluster.reading import read_world
    from slipway_cli.cluster.world import events_about

    target = target_of(given)
    kubectl = Kubectl(target.flags, target.namespace)
    world = read_world(kubectl, name, kubectl.place().namespace)
    if CORE_EVENT in world.unreadable:
        raise ApiError(world.unreadable[CORE_EVENT], " ".join(world.gaps()))
    found = [each for each in events_about(world) if not warnings or each.get("type") == "Warning"]
    if form:
        items, gaps = [_members(each) for each in found], list(world.gaps())
        documents.write(documents.document("EventList", items=items, gaps=gaps or None), form)
        return
    if not found:
        click.echo("No events: the API server keeps them for an hour by default.", err=True)
    else:
        _table(world, found)
    for gap in world.gaps():
        screen.paragraph(gap, indent="  ", first="! ", paint=screen.uncertain)


def _members(event: dict[str, Any]) -> dict[str, Any]:
    from slipway_cli.cluster.world import time_of

    about = event.get("involvedObject") or {}
    return {
        "time": time_of(event),
        "type": event.get("type"),
        "reason": event.get("reason"),
        "object": f"{str(about.get('kind')).lower()}/{about.get('name')}",
        "count": event.get("count") or (event.get("series") or {}).get("count") or 1,
        "message": " ".join(str(event.get("message") or "").split()),
    }


def _table(world: World, found: list[dict[str, Any]]) -> None:
    from slipway.objects.times import parse_time

    from slipway_cli.cluster.state import age

    table = [
        Column("AGO", right=True),
        Column("REASON"),
        Column("OBJECT", rank=1),
        Column("COUNT", right=True, rank=2),
        Column("MESSAGE", wraps=True),
    ]
    rows = []
    for each in map(_members, found):
        paint = screen.bad if each["type"] == "Warning" else None
        ago = age(parse_time(each["time"]), world.now)
        rows.append(
            [
                Cell(ago),
                Cell(each["reason"], paint),
                Cell(each["object"]),
                Cell(str(each["count"])),
                Cell(each["message"]),
            ]
        )
    screen.table(table, rows)
