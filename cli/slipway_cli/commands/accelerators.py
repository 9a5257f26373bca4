"""`accelerators`: what the cluster has of each profile, what of it is free, and which models hold it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from slipway_cli.cluster.options import on_cluster, target_of
from slipway_cli.output import documents, screen
from slipway_cli.output.table import Cell, Column

if TYPE_CHECKING:
    from slipway_cli.cluster.accelerators import Stock
    from slipway_cli.cluster.kubectl import Kubectl

UNKNOWN = "-"


@click.command(short_help="Show what the cluster has of each accelerator, what is free, and who holds it.")
@click.option("--all", "everything", is_flag=True, help="Also profiles of which the cluster has nothing.")
@click.option("--output", "-o", "form", type=click.Choice(["json", "yaml", "name"]), help="Print it in this form.")
@on_cluster
def command(form: str | None, *, everything: bool, **given: Any) -> None:
    """Show what the cluster has of each accelerator profile, what of it is free now, and which models hold it.

    Nodes and devices are what the operator reports; the models are those that you may see.
    """
    from slipway_cli.cluster.accelerators import stock_of
    from slipway_cli.cluster.kubectl import Kubectl

    target = target_of(given)
    kubectl = Kubectl(target.flags, target.namespace)
    profiles, llms, gap = _read(kubectl)
    found = stock_of(profiles, llms)
    shown = found if everything or form in ("json", "yaml") else [each for each in found if each.is_there]
    if form in ("json", "yaml"):
        items = [each.as_members() for each in shown]
        documents.write(documents.document("AcceleratorList", items=items, gaps=[gap] if gap else None), form)
        return
    if form == "name":
        for each in shown:
            click.echo(each.name)
        return
    _table(shown)
    if len(shown) < len(found):
        rest = f"Of {len(found) - len(shown)} other profiles the cluster has nothing: --all lists them."
        screen.paragraph(rest, paint=screen.faint)
    if gap:
        screen.paragraph(f"! {gap}", paint=screen.uncertain)


def _read(kubectl: Kubectl) -> tuple[list[Any], list[Any], str]:
    from slipway.objects.kinds import ACCELERATOR_PROFILE, LLM_DEPLOYMENT

    from slipway_cli.cluster.kubectl import ApiError
    from slipway_cli.cluster.reading import NOT_INSTALLED, read_all

    try:
        profiles = kubectl.get(ACCELERATOR_PROFILE.path()).get("items") or []
    except ApiError as error:
        if error.word == "Forbidden":
            needed = "list AcceleratorProfiles of the cluster: ask for the ClusterRole slipway-cli-view there"
            raise ApiError(error.word, f"You may not {needed} ({error.message})") from None
        raise ApiError(error.word, NOT_INSTALLED) if error.word == "NoKind" else error from None
    try:
        return profiles, read_all(kubectl, None), ""
    except ApiError as error:
        if error.word != "Forbidden":
            raise
        namespace = kubectl.place().namespace
        own = kubectl.get(LLM_DEPLOYMENT.path(namespace)).get("items") or []
        return (
            profiles,
            own,
            f"You may not list models of all namespaces, so only those of {namespace} are seen as holders.",
        )


def _table(shown: list[Stock]) -> None:
    table = [
        Column("PROFILE"),
        Column("NODES", right=True, rank=2),
        Column("DEVICES", right=True),
        Column("FREE", right=True),
        Column("ON ONE NODE", right=True, rank=3),
        Column("PER HOUR", right=True, rank=4),
        Column("HELD BY", wraps=True, rank=1),
        Column("MESSAGE", wraps=True, rank=5),
    ]
    rows = []
    for each in shown:
        paint = screen.bad if each.free == 0 else screen.good if each.free else None
        numbers = (each.devices, each.free, each.most_free_on_a_node)
        devices, free, most = (UNKNOWN if number is None else str(number) for number in numbers)
        price = UNKNOWN if each.per_hour is None else f"{each.per_hour:.2f}"
        nodes = UNKNOWN if each.nodes is None else str(each.nodes)
        texts = (nodes, devices)
        held = ", ".join(each.holders)
        rows.append(
            [
                Cell(each.name),
                *map(Cell, texts),
                Cell(free, paint),
                Cell(most),
                Cell(price),
                Cell(held),
                Cell(each.growth or each.message),
            ]
        )
    screen.table(table, rows)
