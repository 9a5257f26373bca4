"""`restart`: says which pods a rollout would replace and what happens to requests meanwhile, asks, and does it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from slipway_cli.cluster.options import names, on_cluster, target_of
from slipway_cli.commands.acting import annotate, ask
from slipway_cli.commands.wait import is_hopeless, seconds_of
from slipway_cli.output import screen
from slipway_cli.problems import NOT_WELL, Problem
from slipway_cli.visible import visible

if TYPE_CHECKING:
    from slipway_cli.cluster.kubectl import Kubectl
    from slipway_cli.cluster.world import World


@click.command(short_help="Replace the pods of a model by new ones, as a rollout.")
@click.argument("name", shell_complete=names)
@click.option("--yes", "-y", is_flag=True, help="Don't ask.")
@click.option("--dry-run", is_flag=True, help="Only say what it would do; the API server checks the request.")
@click.option("--wait", is_flag=True, help="End when the new pods are ready.")
@click.option("--timeout", default="10m", show_default=True, metavar="TIME", help="With --wait: how long.")
@on_cluster
@click.pass_context
def command(ctx: click.Context, /, name: str, *, yes: bool, dry_run: bool, wait: bool, **given: Any) -> None:
    """Replace the pods of a model by new ones that are made in the same way, as spec.rollout says.

    It says which pods these are and what happens to requests meanwhile, and asks first. At zero replicas there is
    nothing to do. Exit codes with --wait: 0: the new pods are ready, or the model went to zero replicas meanwhile; 1:
    they won't be ready, because a person has to act first or the model was deleted; 3: the time is over.
    """
    from datetime import UTC, datetime

    from slipway_cli.cluster.acting import restart
    from slipway_cli.cluster.kubectl import Kubectl
    from slipway_cli.cluster.reading import read_world
    from slipway_cli.cluster.state import State

    longest = seconds_of("timeout", given.pop("timeout"))
    target = target_of(given)
    kubectl = Kubectl(target.flags, target.namespace)
    world = read_world(kubectl, name, kubectl.place().namespace, only=_kinds())
    state = State(world.llm)
    change = restart(state, datetime.now(UTC))
    if change.useless:
        screen.paragraph(f"Nothing to do: {change.useless}")
        return
    screen.paragraph(f"{world.namespace}/{name} is {state.word}: {state.message}")
    _preview(world, change.effect)
    if not (yes or dry_run):
        ask("Restart it?")
    annotate(kubectl, state.llm, change, dry_run=dry_run)
    click.echo(f"llmdeployment.slipway.dev/{name} is asked to restart{' (dry run)' if dry_run else ''}")
    if wait and not dry_run and not _wait(kubectl, world, str(change.annotation[1]), longest):
        ctx.exit(NOT_WELL)


def _kinds() -> frozenset[Any]:
    from slipway.objects.kinds import POD

    return frozenset({POD})


def _preview(world: World, effect: str) -> None:
    from slipway.objects.kinds import POD

    from slipway_cli.cluster.rolling import replacing
    from slipway_cli.cluster.state import age_of, is_ready
    from slipway_cli.cluster.world import owner_of

    screen.paragraph(effect)
    for pod in world.of(POD):
        if owner_of(pod) == world.name:
            node = (pod.get("spec") or {}).get("nodeName") or "no node yet"
            ready = "ready" if is_ready(pod) else "not ready"
            click.echo(f"  {pod['metadata']['name']}  {ready}, {age_of(pod, world.now)}, {node}")
    for line in replacing(world.llm, world.status):
        screen.paragraph(line)
    for gap in world.gaps():
        screen.paragraph(gap, indent="  ", first="! ", paint=screen.uncertain)


def _wait(kubectl: Kubectl, world: World, at: str, longest: float) -> bool:
    from slipway.objects.kinds import LLM_DEPLOYMENT, POD

    from slipway_cli.cluster.rolling import is_at_zero, is_restarted
    from slipway_cli.cluster.state import State
    from slipway_cli.cluster.watching import LASTING, Lasting, Live
    from slipway_cli.cluster.world import path_of, path_of_replicas

    name, namespace = world.name, world.namespace
    wanted = {LLM_DEPLOYMENT: path_of(name, namespace), POD: path_of_replicas(name, namespace)}
    said, hopeless = "", Lasting()
    with Live(kubectl, wanted) as live:
        for now_there in live.worlds(longest):
            if now_there is None:
                screen.paragraph(f"{namespace}/{name} has been deleted.", paint=screen.bad)
                return False
            if (word := now_there.unreadable.get(POD)) in LASTING:
                raise Problem(f"Pods can't be read ({word}), so --wait can't see when the new ones are ready.")
            if POD not in now_there.objects:
                continue
            state = State(now_there.llm)
            if (now := f"{state.word}: {state.message}") != said:
                said = now
                click.echo(visible(now), err=True)
            if is_restarted(state, now_there.of(POD), at):
                click.echo(f"llmdeployment.slipway.dev/{name} has restarted")
                return True
            if is_at_zero(state, now_there.of(POD)):
                click.echo(f"llmdeployment.slipway.dev/{name} is at zero replicas: its next start makes new pods")
                return True
            if hopeless.is_so(is_hopeless(state)):
                screen.paragraph(f"{name} won't restart before a person acts: {kubectl.ours('why', name, namespace)}.")
                return False
    raise Problem(f"{name} had not restarted within {longest:.0f} s: {said or 'nothing is known of it'}")
