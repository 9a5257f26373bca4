"""Reads from a cluster what `doctor` checks."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from importlib.metadata import version

from slipway.objects.times import parse_time

from slipway_cli.cluster.checking import NEEDED, Facts
from slipway_cli.cluster.kubectl import ApiError, Kubectl
from slipway_cli.cluster.reading import BASIC, read_lists

RIGHTS = ("get llmdeployments.slipway.dev", "patch llmdeployments.slipway.dev", "get pods", "get pods/log")
"""What the commands of this program do most, in the namespace."""


def read_facts(kubectl: Kubectl) -> Facts:
    objects, unreadable = read_lists(kubectl, NEEDED)
    return Facts(
        objects=objects,
        unreadable=unreadable,
        versions={"server": _version(kubectl), "cli": version("slipway-cli")},
        server_time=_server_time(kubectl),
        now=datetime.now(UTC),
        rights=_rights(kubectl),
    )


def _version(kubectl: Kubectl) -> str:
    try:
        return str(kubectl.get("/version").get("gitVersion") or "")
    except ApiError as error:
        if error.word in BASIC:
            raise
        return ""


def _server_time(kubectl: Kubectl) -> datetime | None:
    """Of a request that stores nothing, and that everyone may make: who am I?"""
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    try:
        answer = json.loads(kubectl.run("create", "--raw", path, "--filename=-", given=json.dumps(review)))
    except (ApiError, ValueError):
        return None
    return parse_time((answer.get("metadata") or {}).get("creationTimestamp"))


def _rights(kubectl: Kubectl) -> dict[str, bool]:
    namespace = f"--namespace={kubectl.place().namespace}"
    found = {}
    for each in RIGHTS:
        verb, resource = each.split()
        try:
            found[each] = kubectl.run("auth", "can-i", verb, resource, namespace).strip() == "yes"
        except ApiError:
            found[each] = False
    return found
