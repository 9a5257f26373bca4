"""`wait`: until a model is ready, idle, serving or rolled out; or until it is certain that it won't be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from slipway_cli.cluster.options import names, on_cluster, target_of
from slipway_cli.output import screen
from slipway_cli.problems import NOT_WELL, Misused, Problem
from slipway_cli.visible import visible

if TYPE_CHECKING:
    from slipway_cli.cluster.kubectl import Kubectl
    from slipway_cli.cluster.state import State

GOALS = {
    "ready": "a request would be answered, if necessary after a wake",
    "serving": "a replica answers requests",
    "idle": "no replica runs, and none is needed",
    "rolled-out": "all replicas are those of the newest spec",
}


@click.command(short_help="Wait until a model is ready, idle or rolled out.")
@click.argument("name", shell_complete=names)
@click.option("--for", "goal", type=click.Choice(list(GOALS)), default="ready", show_default=True, help="What for.")
@click.option("--timeout", default="10m", show_default=True, metavar="TIME", help="How long, as 90s or 10m.")
@click.option(
    "--give-up-after", default="30s", show_default=True, metavar="TIME", help="End once it has failed for so long."
)
@on_cluster
@click.pass_context
def command(ctx: click.Context, /, name: str, goal: str, **given: Any) -> None:
    """Wait until a model is ready (a request would be answered, if necessary after a wake), serving (a replica runs),
    idle (at zero replicas) or rolled-out (all replicas are those of the newest spec).

    Exit code 0: it is; 1: it won't be, because a person has to act first; 3: the time is over. After a change of the
    spec, a status can still be about the pods before, which is why it doesn't end at the first failure. `restart`
    changes no spec, so that the status is that of the pods before at first: use `restart --wait` instead.
    """
    from slipway_cli.cluster.kubectl import Kubectl

    longest, patience = (seconds_of(flag, given.pop(flag)) for flag in ("timeout", "give_up_after"))
    target = target_of(given)
    kubectl = Kubectl(target.flags, target.namespace)
    if not _wait(kubectl, name, goal, longest, patience):
        ctx.exit(NOT_WELL)


def seconds_of(name: str, text: str) -> float:
    from slipway.api.units import seconds

    try:
        return seconds(text)
    except ValueError:
        flag = f"--{name.replace('_', '-')}"
        raise Misused(f"{flag} {text} is not a duration: write it as 90s or 10m.") from None


def _wait(kubectl: Kubectl, name: str, goal: str, longest: float, patience: float) -> bool:
    from slipway.objects.kinds import LLM_DEPLOYMENT

    from slipway_cli.cluster.reading import read_one
    from slipway_cli.cluster.state import State
    from slipway_cli.cluster.watching import Lasting, Live
    from slipway_cli.cluster.world import path_of

    namespace = kubectl.place().namespace
    read_one(kubectl, name, namespace)  # a sentence, if there is none
    with Live(kubectl, {LLM_DEPLOYMENT: path_of(name, namespace)}) as live:
        said, hopeless = "", Lasting(patience)
        for world in live.worlds(longest):
            if world is None:
                screen.paragraph(f"{namespace}/{name} has been deleted.", paint=screen.bad)
                return False
            state = State(world.llm)
            if (now := f"{state.word}: {state.message}") != said:
                said = now
                click.echo(visible(now), err=True)
            if is_reached(state, goal):
                click.echo(f"llmdeployment.slipway.dev/{name} is {goal}: {GOALS[goal]}")
                return True
            if hopeless.is_so(is_hopeless(state)):
                screen.paragraph(
                    f"{name} won't be {goal} before a person acts: {kubectl.ours('why', name, namespace)}."
                )
                return False
    raise Problem(f"{name} was not {goal} within {longest:.0f} s: {said or 'nothing is known of it'}")


def is_reached(state: State, goal: str) -> bool:
    if not state.is_current:
        return False
    if goal == "idle":
        return state.word == "Idle"
    if goal == "serving":
        return state.word == "Serving" and state.ready > 0
    if goal == "rolled-out":
        is_moving = state.is_true("Reconciling") and state.condition("Reconciling").get("reason") == "Updating"
        return state.word in ("Serving", "Idle") and not is_moving and not state.is_stalled
    return state.is_true("Ready")


def is_hopeless(state: State) -> bool:
    """The operator says that waiting doesn't help."""
    return state.is_current and state.is_stalled
