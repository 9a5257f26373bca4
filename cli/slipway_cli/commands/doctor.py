"""`doctor`: whether a cluster has what models need, with a remedy for each line that isn't well."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from slipway_cli.cluster.options import on_cluster, target_of
from slipway_cli.output import documents, screen
from slipway_cli.problems import NOT_WELL

if TYPE_CHECKING:
    from slipway_cli.cluster.checking import Check

SIGNS = {"well": "✓", "wrong": "✗", "unknown": "?"}
PAINTS = {"well": screen.good, "wrong": screen.bad, "unknown": screen.uncertain}


@click.command(short_help="Check that the cluster has what models need, with a remedy for each line.")
@click.option("--output", "-o", "form", type=click.Choice(["json", "yaml"]), help="Print it in this form.")
@on_cluster
@click.pass_context
def command(ctx: click.Context, /, form: str | None, **given: Any) -> None:
    """Check that the cluster has what models need: types, programs, versions, KEDA's scaler, accelerators, storage
    classes, your rights, and clocks. It only reads.

    Exit code 0: nothing is wrong; 1: something is. What you may not read is unknown, and not wrong.
    """
    from dataclasses import replace

    from slipway_cli.cluster.checking import checks_of
    from slipway_cli.cluster.checkup import read_facts
    from slipway_cli.cluster.kubectl import Kubectl

    target = target_of(given)
    kubectl = Kubectl(target.flags, target.namespace)
    found = [replace(each, remedy=kubectl.told(each.remedy)) for each in checks_of(read_facts(kubectl))]
    if form:
        items = [{"check": c.name, "mark": c.mark, "says": c.says, "remedy": c.remedy or None} for c in found]
        documents.write(documents.document("Checkup", items=items), form)
    else:
        for each in found:
            _tell(each)
    if any(each.mark == "wrong" for each in found):
        ctx.exit(NOT_WELL)


def _tell(check: Check) -> None:
    screen.paragraph(
        f"{check.name}: {check.says}.", indent="  ", first=f"{SIGNS[check.mark]} ", paint=PAINTS[check.mark]
    )
    if check.remedy:
        screen.paragraph(check.remedy, indent="    ")
