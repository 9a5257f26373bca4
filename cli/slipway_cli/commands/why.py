"""`why`: from an LLMDeployment over its pod to the line of its log and its runbook, and the one command to run next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from slipway_cli.cluster.options import names, on_cluster, target_of
from slipway_cli.output import documents, screen
from slipway_cli.problems import NOT_WELL
from slipway_cli.visible import visible

if TYPE_CHECKING:
    from slipway_cli.cluster.diagnosing import Diagnosis
    from slipway_cli.cluster.kubectl import Kubectl
    from slipway_cli.cluster.world import World
    from slipway_cli.offline.runbooks import Runbook

LINES = 400  # of a log


@click.command(short_help="Say why a model is as it is, and what to run next.")
@click.argument("name", shell_complete=names)
@click.option("--output", "-o", "form", type=click.Choice(["json", "yaml"]), help="Print it in this form.")
@on_cluster
@click.pass_context
def command(ctx: click.Context, /, name: str, form: str | None, **given: Any) -> None:
    """Say why a model is as it is: what the operator reports, what the cluster shows, what the log says, where the
    runbook is, and which one command to run next.

    Exit code 0: nothing is wrong; 1: something is; 3: there is no answer.
    """
    from dataclasses import replace

    from slipway.objects.kinds import SERVING_RUNTIME

    from slipway_cli.cluster.diagnosing import diagnose
    from slipway_cli.cluster.kubectl import Kubectl
    from slipway_cli.cluster.reading import read_world
    from slipway_cli.offline.runbooks import runbook

    target = target_of(given)
    kubectl = Kubectl(target.flags, target.namespace)
    world = read_world(kubectl, name, kubectl.place().namespace, SERVING_RUNTIME)
    log = _log(kubectl, world)
    found = diagnose(world, log)
    if found.reason == "Unschedulable":
        found = diagnose(_with_nodes(kubectl, world), log)
    if found.next:
        found = replace(found, next=found.next.on(target.flags))
    book = None if found.is_well else runbook(found.reason)
    if form:
        members = found.as_members() | {"runbook": _url(found, book) or None}
        documents.write(documents.document("Diagnosis", **members), form)
    else:
        tell(found, book)
    if not found.is_well:
        ctx.exit(NOT_WELL)


def _log(kubectl: Kubectl, world: World) -> list[str]:
    """The end of the culprit's log; nothing where it can't be read, since the chain goes as far as it can."""
    from slipway_cli.cluster.diagnosing import culprit_of
    from slipway_cli.cluster.kubectl import ApiError

    culprit = culprit_of(world)
    if culprit is None:
        return []
    previous = ["--previous"] if culprit.is_previous else []
    where = (f"--namespace={world.namespace}", f"--container={culprit.container}", f"--tail={LINES}")
    try:
        return kubectl.run("logs", culprit.pod, *where, *previous).splitlines()
    except ApiError:
        return []


def _with_nodes(kubectl: Kubectl, world: World) -> World:
    """Few users may read them, so they aren't missed."""
    from dataclasses import replace

    from slipway.objects.kinds import NODE

    from slipway_cli.cluster.reading import read_lists

    nodes, _ = read_lists(kubectl, {NODE: NODE.path()})
    return replace(world, objects={**world.objects, **nodes})


def _url(found: Diagnosis, book: Runbook | None) -> str:
    """Where the installation has its runbooks, if the operator says so."""
    return str(found.state.status.get("runbook") or (book.url if book else ""))


def tell(found: Diagnosis, book: Runbook | None) -> None:
    state = found.state
    mark = screen.good if found.is_well else screen.bad
    screen.paragraph(f"{state.namespace}/{state.name}: {found.message or state.word}", paint=mark)
    click.echo()
    for step in found.steps:
        screen.paragraph(f"{step.place} ({step.evidence}): {step.says}", indent="    ", first="  ")
    for gap in found.gaps:
        screen.paragraph(gap, indent="    ", first="  ! ", paint=screen.uncertain)
    if found.is_well:
        click.echo()
        rest = f" {found.doubt} may pass." if found.doubt else ""
        click.echo(f"Nothing is wrong.{rest}")
        return
    click.echo()
    if url := _url(found, book):
        here = f" (`explain {found.reason}` prints it)" if book else ""
        screen.paragraph(f"Runbook: {url}{here}")
    if found.next:
        does = "This should fix it" if found.next.fixes else "Next"
        yours = f", once you have replaced {' and '.join(found.next.values)}" if found.next.values else ""
        screen.paragraph(f"{does} ({found.next.why}){yours}:")
        click.echo(screen.strong(f"  {visible(found.next.command)}"))
