"""`status`: the models of a namespace or cluster, or all about one of them with where each value is from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from slipway_cli.cluster.options import everywhere, names, on_cluster, selector, target_of
from slipway_cli.output import documents, screen
from slipway_cli.output.table import Cell, Column
from slipway_cli.problems import NOT_WELL, Misused

if TYPE_CHECKING:
    from datetime import datetime

    from slipway_cli.cluster.kubectl import Kubectl, Object
    from slipway_cli.cluster.state import State


@click.command(short_help="Show models, or all about one of them.")
@click.argument("name", required=False, shell_complete=names)
@click.option(
    "--output", "-o", "form", type=click.Choice(["json", "yaml", "wide", "name"]), help="Print it in this form."
)
@everywhere
@selector
@on_cluster
@click.pass_context
def command(ctx: click.Context, /, name: str | None, form: str | None, selector: str | None, **given: Any) -> None:
    """Show the models of a namespace, or all about one of them, with where each value is from: declared in the spec,
    reported by the operator, observed in the cluster, or computed.

    Exit code 0: all are well; 1: one isn't. A model at zero replicas is well.
    """
    from slipway_cli.cluster.kubectl import Kubectl

    target = target_of(given)
    if name and (target.everywhere or selector):
        raise Misused(f"{name} is one model: leave out --all-namespaces and --selector.")
    kubectl = Kubectl(target.flags, target.namespace)
    is_well = (
        _one(kubectl, name, form)
        if name
        else _all(kubectl, form, everywhere=target.everywhere, selector=selector or "")
    )
    if not is_well:
        ctx.exit(NOT_WELL)


# --- all of them -----------------------------------------------------------------------------------------------------


def _all(kubectl: Kubectl, form: str | None, *, everywhere: bool, selector: str) -> bool:
    from datetime import UTC, datetime

    from slipway_cli.cluster.reading import read_all
    from slipway_cli.cluster.state import State

    namespace = None if everywhere else kubectl.place().namespace
    states = [State(each) for each in read_all(kubectl, namespace, selector)]
    states.sort(key=lambda each: (each.namespace, each.name))
    if form in ("json", "yaml"):
        documents.write(documents.document("StatusList", items=[_members(each) for each in states]), form)
    elif form == "name":
        for each in states:
            click.echo(f"llmdeployment.slipway.dev/{each.name}")
    elif not states:
        where = "the cluster" if everywhere else f"namespace {namespace}"
        click.echo(f"No LLMDeployments in {where}.", err=True)
    else:
        _table(states, datetime.now(UTC), everywhere=everywhere, wide=form == "wide")
    return all(each.is_well for each in states)


def _members(state: State) -> Object:
    return {
        "name": state.name,
        "namespace": state.namespace,
        "state": state.word,
        "reason": state.reason,
        "well": state.is_well,
        "current": state.is_current,
        "message": state.message,
        "ready": state.ready,
        "desired": state.desired,
        "accelerator": state.accelerator,
        "model": state.model,
    }


def _table(states: list[State], now: datetime, *, everywhere: bool, wide: bool) -> None:
    from slipway_cli.cluster.state import age

    table = [
        *([Column("NAMESPACE")] if everywhere else []),
        Column("NAME"),
        Column("STATE"),
        Column("READY", right=True),
        Column("SINCE", right=True, rank=2),
        Column("ACCELERATOR", rank=3),
        *([Column("MODEL", rank=4), Column("PER HOUR", right=True, rank=4)] if wide else []),
        Column("MESSAGE", wraps=True, rank=1),
    ]
    rows = []
    for each in states:
        paint = _paint(each)
        cells = [Cell(each.namespace)] if everywhere else []
        cells += [Cell(each.name), Cell(each.word, paint), Cell(f"{each.ready}/{each.desired}")]
        cells += [Cell(age(each.since, now)), Cell(each.accelerator)]
        if wide:
            cells += [Cell(each.model), Cell("" if each.per_hour is None else f"{each.per_hour:.2f}")]
        rows.append([*cells, Cell(each.message if each.is_current else f"(older spec) {each.message}")])
    screen.table(table, rows)


def _paint(state: State) -> Any:
    if state.is_well:
        return screen.good if state.word == "Serving" else None
    return screen.bad if state.word == "Failed" else screen.uncertain


# --- one of them -----------------------------------------------------------------------------------------------------


def _one(kubectl: Kubectl, name: str, form: str | None) -> bool:
    from slipway_cli.cluster.reading import read_world
    from slipway_cli.cluster.report import as_members, report_of
    from slipway_cli.cluster.state import State

    world = read_world(kubectl, name, kubectl.place().namespace)
    values, state = report_of(world), State(world.llm)
    if form in ("json", "yaml"):
        documents.write(documents.document("Status", **as_members(world, values)), form)
        return state.is_well
    if form == "name":
        click.echo(f"llmdeployment.slipway.dev/{state.name}")
        return state.is_well
    click.echo(screen.strong(f"{state.namespace}/{state.name}"))
    section = ""
    for each in values:
        if each.section != section:
            section = each.section
            click.echo(f"{section}:")
        indent = "  " if section else ""
        screen.paragraph(f"{each.name}: {each.value} ({each.evidence})", indent=f"{indent}  ", first=indent)
    for gap in world.gaps():
        screen.paragraph(gap, indent="  ", first="! ", paint=screen.uncertain)
    if not state.is_well:
        screen.paragraph(f"{kubectl.ours('why', state.name, state.namespace)} says why, and what to do.")
    return state.is_well
