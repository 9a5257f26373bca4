"""`wake`, `sleep`, `pause` and `resume`: each says what it would do, asks, and does it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from slipway_cli.cluster.options import names, on_cluster, target_of
from slipway_cli.output import screen
from slipway_cli.problems import NOT_WELL, Misused

if TYPE_CHECKING:
    from slipway_cli.cluster.acting import Change
    from slipway_cli.cluster.kubectl import Kubectl

HELP = {
    "wake": (
        "Wake a model at zero replicas.",
        "It stays awake as after a request, for spec.scaling.idleAfter.",
    ),
    "sleep": (
        "Send a model to sleep now.",
        "It doesn't wait for spec.scaling.idleAfter. A later request wakes it.",
    ),
    "pause": (
        "Leave the number of replicas as it is.",
        "At zero replicas its clients are refused; with replicas it neither sleeps nor grows.",
    ),
    "resume": (
        "Let the number of replicas follow the demand again.",
        "This ends what `pause` has started.",
    ),
}


def _command(verb: str) -> click.Command:
    short, more = HELP[verb]

    @click.command(name=verb, short_help=short, help=f"{short}\n\n{more}\n\nIt says what it would do, and asks first.")
    @click.argument("name", shell_complete=names)
    @click.option("--yes", "-y", is_flag=True, help="Don't ask.")
    @click.option("--dry-run", is_flag=True, help="Only say what it would do; the API server checks the request.")
    @on_cluster
    @click.pass_context
    def command(ctx: click.Context, /, name: str, *, yes: bool, dry_run: bool, **given: Any) -> None:
        from datetime import UTC, datetime

        from slipway_cli.cluster.acting import ACTIONS
        from slipway_cli.cluster.kubectl import Kubectl
        from slipway_cli.cluster.reading import read_one
        from slipway_cli.cluster.state import State

        target = target_of(given)
        kubectl = Kubectl(target.flags, target.namespace)
        namespace = kubectl.place().namespace
        state = State(read_one(kubectl, name, namespace))
        change = ACTIONS[verb](state, datetime.now(UTC))
        if change.useless:
            screen.paragraph(f"Nothing to do: {change.useless}")
            if verb in ("wake", "sleep") and not state.is_well:
                ctx.exit(NOT_WELL)
            return
        screen.paragraph(f"{namespace}/{name} is {state.word}: {state.message}")
        screen.paragraph(change.effect)
        if not (yes or dry_run):
            ask(f"{verb.capitalize()} it?")
        annotate(kubectl, state.llm, change, dry_run=dry_run)
        click.echo(f"llmdeployment.slipway.dev/{name} {DONE[verb]}{' (dry run)' if dry_run else ''}")

    return command


DONE = {"wake": "is asked to wake", "sleep": "is asked to sleep", "pause": "is paused", "resume": "is resumed"}


def ask(question: str) -> None:
    """Ends the command if the user doesn't want it."""
    if not sys.stdin.isatty():
        raise Misused("This asks before it acts, and the standard input is no terminal: give --yes, or --dry-run.")
    click.confirm(question, abort=True, err=True)


def annotate(kubectl: Kubectl, llm: dict[str, Any], change: Change, *, dry_run: bool) -> None:
    from slipway_cli.cluster.acting import patch_of

    kubectl.run(*patch_of(llm, change), *(["--dry-run=server"] if dry_run else []))


wake, sleep, pause, resume = map(_command, ("wake", "sleep", "pause", "resume"))
