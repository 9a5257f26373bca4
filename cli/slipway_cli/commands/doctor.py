"""`doctor`: whether a cluster has what models need, with a remedy for each line that isn't well."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from slipway_cli.cluster.options import on_cluster, target_of
from slipway_cli.output import documents, screen
from slipway_cli.problems import NOT_WELL

if TYPE_CHECKING:
    from datetime import datetime

    from slipway_cli.cluster.checking import Check, Facts
    from slipway_cli.cluster.kubectl import Kubectl

SIGNS = {"well": "✓", "wrong": "✗", "unknown": "?"}
PAINTS = {"well": screen.good, "wrong": screen.bad, "unknown": screen.uncertain}
RIGHTS = ("get llmdeployments.slipway.dev", "patch llmdeployments.slipway.dev", "get pods", "get pods/log")
"""What the commands of this program do most, in the namespace."""


@click.command(short_help="Check that the cluster has what models need, with a remedy for each line.")
@click.option("--output", "-o", "form", type=click.Choice(["json", "yaml"]), help="Print it in this form.")
@on_cluster
@click.pass_context
def command(ctx: click.Context, /, form: str | None, **given: Any) -> None:
    """Check that the cluster has what models need: types, programs, versions, KEDA's scaler, accelerators, storage
    classes, your rights, and clocks. It only reads.

    Exit code 0: nothing is wrong; 1: something is. What you may not read is unknown, and not wrong.
    """
    from slipway_cli.cluster.checking import checks_of
    from slipway_cli.cluster.kubectl import Kubectl

    target = target_of(given)
    kubectl = Kubectl(target.flags, target.namespace)
    found = checks_of(_facts(kubectl))
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


def _facts(kubectl: Kubectl) -> Facts:
    from datetime import UTC, datetime
    from importlib.metadata import version

    from slipway_cli.cluster.checking import NEEDED, Facts
    from slipway_cli.cluster.reading import read_lists

    server = str(kubectl.get("/version").get("gitVersion") or "")
    objects, unreadable = read_lists(kubectl, NEEDED)
    return Facts(
        objects=objects,
        unreadable=unreadable,
        versions={"server": server, "cli": version("slipway-cli")},
        server_time=_server_time(kubectl),
        now=datetime.now(UTC),
        rights=_rights(kubectl),
    )


def _server_time(kubectl: Kubectl) -> datetime | None:
    """Of a request that stores nothing, and that everyone may make: who am I?"""
    from slipway.objects.times import parse_time

    from slipway_cli.cluster.kubectl import ApiError

    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    try:
        answer = json.loads(kubectl.run("create", "--raw", path, "--filename=-", given=json.dumps(review)))
    except (ApiError, ValueError):
        return None
    return parse_time((answer.get("metadata") or {}).get("creationTimestamp"))


def _rights(kubectl: Kubectl) -> dict[str, bool]:
    from slipway_cli.cluster.kubectl import ApiError

    namespace = f"--namespace={kubectl.place().namespace}"
    found = {}
    for each in RIGHTS:
        verb, resource = each.split()
        try:
            found[each] = kubectl.run("auth", "can-i", verb, resource, namespace).strip() == "yes"
        except ApiError:
            found[each] = False
    return found
