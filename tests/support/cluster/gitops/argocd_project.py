"""What an AppProject of Argo CD allows, by the same rules as Argo CD.

The rules are those of version 3.5 (pkg/apis/application/v1alpha1/app_project_types.go):

- A destination allows a target if its server and its namespace both match. Either may be a pattern; a pattern that
  starts with `!` matches whatever the rest doesn't match.
- A destination whose server or namespace starts with `!` and doesn't match forbids the target, whatever else allows it.
- Without a whitelist, namespaced kinds are allowed and cluster-scoped kinds are not. A blacklist forbids.
- The namespace that counts is the object's own, then the one of its Application.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

IN_CLUSTER = "https://kubernetes.default.svc"


@dataclass(frozen=True)
class Project:
    spec: Mapping[str, Any]

    def allows(self, group: str, kind: str, namespace: str, *, server: str = IN_CLUSTER) -> bool:
        """`namespace` is empty for cluster-scoped kinds."""
        if not namespace:
            return self._listed("cluster", group, kind, otherwise=False)
        return self._listed("namespace", group, kind, otherwise=True) and self.allows_destination(namespace, server)

    def allows_destination(self, namespace: str, server: str = IN_CLUSTER) -> bool:
        allowed = False
        for each in self.spec["destinations"]:
            of_server, of_namespace = each.get("server", ""), each.get("namespace", "")
            there, inside = _matches(of_server, server), _matches(of_namespace, namespace)
            allowed = allowed or (there and inside)
            if (not there and of_server.startswith("!")) or (not inside and of_namespace.startswith("!")):
                return False
        return allowed

    def allows_source(self, repository: str) -> bool:
        return any(_matches(each, repository) for each in self.spec["sourceRepos"])

    def _listed(self, of: str, group: str, kind: str, *, otherwise: bool) -> bool:
        allowed, forbidden = (self.spec.get(f"{of}Resource{color}") for color in ("Whitelist", "Blacklist"))
        is_allowed = otherwise if allowed is None else _is_among(allowed, group, kind)
        return is_allowed and not _is_among(forbidden or (), group, kind)


def _is_among(listed: Sequence[Mapping[str, str]], group: str, kind: str) -> bool:
    return any(fnmatchcase(group, each["group"]) and fnmatchcase(kind, each["kind"]) for each in listed)


def _matches(pattern: str, value: str) -> bool:
    if pattern.startswith("!"):
        return not fnmatchcase(value, pattern[1:])
    return fnmatchcase(value, pattern)
