"""`tree`: the objects of a model with their states, live with `--watch`, and the cause at the one that fails."""

from __future__ import annotations

import sys
import textwrap
from typing import TYPE_CHECKING, Any

import click

from slipway_cli.cluster.options import names, on_cluster, target_of
from slipway_cli.output import documents, screen
from slipway_cli.problems import NOT_WELL
from slipway_cli.visible import visible

if TYPE_CHECKING:
    from slipway_cli.cluster.kubectl import Kubectl
    from slipway_cli.cluster.tree import Line, Node
    from slipway_cli.cluster.world import World

PAINTS = {"good": screen.good, "bad": screen.bad, "waiting": screen.uncertain, "idle": screen.faint}
REDRAW = "\x1b[{lines}F\x1b[J"


@click.command(short_help="Show the objects of a model, live with --watch, and the cause at the one that fails.")
@click.argument("name", shell_complete=names)
@click.option("--watch", "-w", is_flag=True, help="Go on until the model is ready, or a person has to act.")
@click.option("--forever", is_flag=True, help="With --watch: go on until Ctrl-C.")
@click.option("--output", "-o", "form", type=click.Choice(["json", "yaml"]), help="Print it in this form.")
@on_cluster
@click.pass_context
def command(ctx: click.Context, /, name: str, form: str | None, *, watch: bool, forever: bool, **given: Any) -> None:
    """Show the objects of a model as a tree, each with its state, and the cause at the one that fails.

    With --watch it is drawn again at each change, and ends when a request would be answered by a replica, when the
    model is at zero, or when waiting doesn't help. In a pipe, each change is printed as a tree of its own.
    """
    from slipway_cli.cluster.kubectl import Kubectl
    from slipway_cli.cluster.reading import read_world
    from slipway_cli.cluster.state import State
    from slipway_cli.cluster.tree import tree_of

    target = target_of(given)
    kubectl = Kubectl(target.flags, target.namespace)
    namespace = kubectl.place().namespace
    if watch and not form:
        is_well = _watch(kubectl, name, namespace, forever=forever)
    else:
        world = read_world(kubectl, name, namespace)
        is_well = State(world.llm).is_well
        if form:
            documents.write(documents.document("Tree", root=_members(tree_of(world))), form)
        else:
            _print(_drawn(world))
    if not is_well:
        ctx.exit(NOT_WELL)


def _members(node: Node) -> dict[str, Any]:
    found: dict[str, Any] = {"object": node.label, "says": node.says, "mark": node.mark}
    if node.cause:
        found["cause"] = node.cause
    if node.children:
        found["children"] = [_members(each) for each in node.children]
    return found


def _drawn(world: World) -> list[str]:
    from slipway_cli.cluster.tree import lines_of, tree_of

    wide = screen.width()
    lines = [line for each in lines_of(tree_of(world)) for line in _line(each, wide)]
    gaps = [
        part for gap in world.gaps() for part in ([f"! {gap}"] if wide is None else textwrap.wrap(f"! {gap}", wide))
    ]
    return [*lines, *map(screen.uncertain, gaps)]


def _line(line: Line, wide: int | None) -> list[str]:
    from slipway_cli.cluster.tree import SIGNS

    paint = PAINTS[line.mark]
    start = f"{line.frame}  " if line.is_cause else f"{line.frame}{SIGNS[line.mark]} {line.label}  "
    room, says = None if wide is None else max(20, wide - len(start)), visible(line.says)
    parts = [says] if room is None else textwrap.wrap(says, room) or [""]
    follow = "".join(letter if letter == "│" else " " for letter in line.frame.replace("├─", "│ ").replace("└─", "  "))
    indent = follow + " " * (len(start) - len(follow))
    if line.is_cause:
        return [paint(f"{start if at == 0 else indent}{part}") for at, part in enumerate(parts)]
    first = f"{line.frame}{paint(SIGNS[line.mark])} {screen.strong(line.label)}  {parts[0]}"
    return [first.rstrip(), *(f"{indent}{part}" for part in parts[1:])]


def _print(lines: list[str]) -> None:
    for line in lines:
        click.echo(line)


def _watch(kubectl: Kubectl, name: str, namespace: str, *, forever: bool) -> bool:
    from slipway.objects.kinds import LLM_DEPLOYMENT

    from slipway_cli.cluster.reading import NotThereError, read_one
    from slipway_cli.cluster.state import State
    from slipway_cli.cluster.watching import Lasting, Live
    from slipway_cli.cluster.world import path_of, paths_of

    read_one(kubectl, name, namespace)  # a sentence, if there is none
    with Live(kubectl, {LLM_DEPLOYMENT: path_of(name, namespace), **paths_of(name, namespace)}) as live:
        before: list[str] = []
        hopeless = Lasting()
        for world in live.worlds(None):
            if world is None:
                raise NotThereError(f"{namespace}/{name} has been deleted.")
            before = _redraw(before, _drawn(world))
            state = State(world.llm)
            is_there = state.is_current and state.word in ("Serving", "Idle") and not state.is_stalled
            if not forever and (is_there or hopeless.is_so(state.is_current and state.is_stalled)):
                return state.is_well
    return False


def _redraw(before: list[str], now: list[str]) -> list[str]:
    """In a terminal in place; in a pipe as a further tree, if something but an age has changed."""
    if now == before:
        return before
    if sys.stdout.isatty():
        if before:
            click.echo(REDRAW.format(lines=len(before)), nl=False)
    elif before:
        if _without_ages(now) == _without_ages(before):
            return before
        click.echo()
    _print(now)
    return now


def _without_ages(lines: list[str]) -> list[str]:
    return [line.rpartition(", ")[0] if " pod/" in line or line.startswith("pod/") else line for line in lines]
