"""What to run next where the cause is in the cluster, and not in the model. Pure."""

from __future__ import annotations

import re

from slipway.objects.kinds import SCALED_OBJECT

from slipway_cli.cluster.remedies.case import TOOL, Case, Next

CONTROLLER = re.compile(r"controller ([\w.-]+)/([\w.-]+) ")


def doctor(case: Case) -> Next:
    return Next(f"{TOOL} doctor", "checks the installation, with a remedy for each line")


def down(case: Case) -> Next:
    """Of a controller that is scaled to zero, or whose pods don't run."""
    found = CONTROLLER.search(case.message)
    if found is None:
        return doctor(case)
    namespace, name = found.groups()
    if "is scaled to 0 replicas" in case.message:
        return Next(f"kubectl scale deployment {name} -n {namespace} --replicas=1", "starts it again", fixes=True)
    command = f"kubectl rollout undo deployment {name} -n {namespace}"
    return Next(command, "returns to its version before, if the last change broke it; else describe its pods")


def taken(case: Case) -> Next:
    """The other object may be in use."""
    found = re.search(r"\b(\w+) ([\w.-]+) exists already and (.*?)\.?(?:;|$)", case.message)
    if found is None:
        return Next(f"kubectl get all -n {case.namespace}", "shows which object has its name")
    whose = "" if found[3].startswith("isn't ours") else f"; it {found[3]}, which may make it again"
    command = f"kubectl delete {found[1].lower()} {found[2]} -n {case.namespace}"
    return Next(command, f"deletes the object of another owner: only if no one needs it{whose}")


def no_metrics(case: Case) -> Next:
    if case.world.unreadable.get(SCALED_OBJECT) == "NoKind":
        return doctor(case)
    return Next(case.patch({"scaling": {"autoscaler": "KEDA"}}), "scales it by KEDA, which needs no metrics API", True)


def paused(case: Case) -> Next:
    return Next(f"{case.ours('resume')} --yes", "lets it scale again, if what it was paused for is over")


def scaling_paused(case: Case) -> Next:
    found = re.search(r"annotation (autoscaling\.keda\.sh/[a-z-]+) of ScaledObject ([\w.-]+)", case.message)
    if found is None:
        return Next(case.describe("scaledobject", case.name), "shows the annotation, and what KEDA says")
    command = f"kubectl annotate scaledobject {found[2]} -n {case.namespace} {found[1]}-"
    return Next(command, "lets KEDA scale it again, if what it was paused for is over")
