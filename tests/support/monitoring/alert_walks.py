"""An alert that a test provokes and whose runbook it follows: the alert fires, the page's commands print what it shows,
its mitigation heals, and the alert ends.

    walk = alert_walk(alerts, shell, kube, "SlipwayAtMaxReplicas", "…what the test did…", NAME="gemma")
    …                                  # the cause
    await walk.fires()
    await walk.diagnoses("1. Replicas and queue", …)
    await walk.mitigates()
    await walk.ends()                  # and is recorded, with RECORD_WALKS=1
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from slipway.api.names import OWNER_LABEL

from support.cluster.kube import Kube
from support.monitoring.firing import WITHIN, Firing
from support.monitoring.on_cluster import ClusterMonitoring
from support.monitoring.programs import Programs
from support.monitoring.prometheus import Monitoring
from support.pages.shell import Shell
from support.pages.walking import Walk, runbook

PROMTOOL = """#!/bin/sh
exec {inside} {promtool} "$@"
"""


@dataclass
class AlertWalk(Walk):
    """The runbook of one alert, followed from its notification to its end."""

    firing: Firing = field(kw_only=True)
    remedied: float = 0.0

    async def fires(self, *, within: float = WITHIN) -> None:
        """Waits for the notification, whose link must lead to this page."""
        fired = await self.firing.fires(within=within)
        assert self.page.name in fired.annotations["runbook_url"]
        self.saw(f"The alert fired: {fired.annotations['summary']}.")

    async def diagnoses(self, *headings: str, within: float = WITHIN) -> None:
        """Runs the commands below these headings of Diagnosis; without any, those directly below it."""
        for heading in headings:
            await self.through("Diagnosis", heading, within=within)
        if not headings:
            await self.through("Diagnosis", within=within)

    async def mitigates(self, *headings: str, within: float = 2 * WITHIN, by_test: str = "") -> None:
        """Does what the page says; a command that shows the healthy state is repeated until it is reached.

        `by_test`: what the test itself did against the cause, which the page can't, such as ending its own load.
        """
        self.remedied = time.monotonic()
        await self.through("Mitigation", *headings, within=within)
        took = f"{time.monotonic() - self.remedied:.0f} s"
        self.saw(
            f"{by_test} The commands of Mitigation took {took}." if by_test else f"Its mitigation healed within {took}."
        )

    async def ends(self, *, within: float = WITHIN) -> None:
        await self.firing.resolves(within=within)
        self.saw("The alert ended.")
        self.record()


def alert_walk(
    alerts: ClusterMonitoring, shell: Shell, kube: Kube | None, alert: str, fault: str, **values: str
) -> AlertWalk:
    """To be made before the cause. `kube`: the namespace of the model NAME; None: the alert is about Slipway itself."""
    labels, named = {}, dict[str, str | Callable[[], str]](values)
    if kube:
        name = values["NAME"]
        labels = {"namespace": kube.namespace, "llmdeployment": name}
        named = {"NAMESPACE": kube.namespace, "POD": lambda: newest_pod(kube, name), **values}
    firing = alerts.expects(alert, cause=fault, remedy="", **labels)
    return AlertWalk(runbook(alert), shell, named, fault, firing=firing)


def newest_pod(kube: Kube, name: str) -> str:
    """The name of the model's newest pod, at the moment when a command needs it."""
    where = [f"--selector={OWNER_LABEL}={name}", "--sort-by=.metadata.creationTimestamp", "--output=name"]
    listed = subprocess.run(kube.command("get", "pods", *where), capture_output=True, text=True, check=True)
    return listed.stdout.split()[-1].removeprefix("pod/")


def asking(shell: Shell, own: Monitoring, programs: Programs) -> Shell:
    """The shell of a reader who has promtool, and Prometheus' address in $PROMETHEUS."""

    promtool = shell.home / "bin/promtool"
    promtool.write_text(PROMTOOL.format(inside=" ".join(own.network.inside), promtool=programs.promtool))
    promtool.chmod(0o755)
    return replace(shell, inside=(*shell.inside, "env", f"PROMETHEUS=http://127.0.0.1:{own.port}"))
