"""The operator's requests as the API server's audit log has them, to compare with what its roles allow."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from slipway.kube.errors import NOT_YET_KNOWN

from support.builders.objects import Object

CREATED, FORBIDDEN = 201, 403
NO_MATTER_OF_RIGHTS = (
    "because it is being terminated",  # a namespace in which nothing may be created any more
    NOT_YET_KNOWN,
)


class Right(NamedTuple):
    """A verb on a resource; a subresource follows a slash, as in roles."""

    verb: str
    group: str
    resource: str

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}{self.group and f'.{self.group}'}"


@dataclass(frozen=True)
class Request:
    """One request and its result."""

    right: Right
    name: str
    code: int
    message: str = ""
    at: str = ""  # when it arrived, as a string that sorts by time

    @property
    def was_refused(self) -> bool:
        return self.code == FORBIDDEN and not any(words in self.message for words in NO_MATTER_OF_RIGHTS)

    @property
    def used(self) -> set[Right]:
        """The rights that it needed: a server-side apply is a patch, and needs the right to create if the object is
        new."""
        created = self.right.verb == "patch" and self.code == CREATED
        return {self.right} | ({self.right._replace(verb="create")} if created else set())


def requests(log: Path, account: str) -> list[Request]:
    """Returns the service account's requests for resources; listing the API's kinds needs no right."""
    begun_before = sorted(log.parent.glob(f"{log.stem}-*{log.suffix}"))  # full logs, which the API server has renamed
    files = [each for each in (*begun_before, log) if each.exists()]
    lines = [line for each in files for line in each.read_text().splitlines()]
    events = [json.loads(line) for line in lines if line.endswith("}")]
    own = [event for event in events if event["user"]["username"].endswith(f":{account}")]
    return [_request(event) for event in own if "resource" in event.get("objectRef", {})]


def used(seen: Iterable[Request]) -> set[Right]:
    return {right for request in seen for right in request.used}


def granted(roles: Iterable[Object]) -> set[Right]:
    """Returns the rights of Roles and ClusterRoles, one by one."""
    return {
        Right(verb, group, resource)
        for role in roles
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def _request(event: Object) -> Request:
    about = event["objectRef"]
    resource = "/".join(part for part in (about["resource"], about.get("subresource")) if part)
    right = Right(event["verb"], about.get("apiGroup", ""), resource)
    answer = event.get("responseStatus", {})
    details = about.get("name", ""), answer.get("code", 0), answer.get("message", "")
    return Request(right, *details, at=event["requestReceivedTimestamp"])
