"""What the API server would make of an object, by a dry run: with its defaults, rules and policies, and unchanged."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from slipway_cli.cluster.kubectl import ApiError, Kubectl, Object
from slipway_cli.problems import Misused

OF_THE_FILE = ("Invalid", "BadRequest", "Conflict", "Forbidden")  # Forbidden: also of a policy, a webhook or a quota
_LACKS_A_RIGHT = re.compile(r'is forbidden: User ".*" cannot ')
_DENIED = re.compile(r"denied (?:the )?request")  # by a webhook that gives no reason
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
NOT_COMPARED = ("creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid")


@dataclass(frozen=True)
class Tried:
    llm: Object
    warnings: tuple[str, ...]  # of policies


def tried(kubectl: Kubectl, manifest: Object, namespace: str, how: Sequence[str] = ()) -> Tried:
    """As `kubectl apply` would store it. `how`: further flags of it."""
    name = (manifest.get("metadata") or {}).get("name")
    warnings: list[str] = []
    arguments = ["apply", "--filename=-", "--dry-run=server", "--output=json", f"--namespace={namespace}", *how]
    try:
        found = json.loads(kubectl.run(*arguments, given=json.dumps(manifest), warnings=warnings))
    except ApiError as error:
        if error.word == "Forbidden" and _LACKS_A_RIGHT.search(error.message):
            raise ApiError(
                "Forbidden",
                f"You may not change LLMDeployment {name} in namespace {namespace}, as a dry run does, too: ask for "
                f"the role edit there ({error.message})",
            ) from None
        if error.word in OF_THE_FILE or _DENIED.search(error.message):
            raise Misused(f"The API server refuses LLMDeployment {name}: {error.message}") from None
        raise
    return Tried(found, tuple(each for each in warnings if LAST_APPLIED not in each))


def compared(llm: Object) -> Object:
    """Without what the API server keeps for itself, and without the status."""
    metadata = {name: value for name, value in llm["metadata"].items() if name not in NOT_COMPARED}
    annotations = {name: value for name, value in (metadata.get("annotations") or {}).items() if name != LAST_APPLIED}
    metadata = {name: value for name, value in metadata.items() if name != "annotations"}
    if annotations:
        metadata["annotations"] = annotations
    head: Object = {name: llm[name] for name in ("apiVersion", "kind") if name in llm}
    return {**head, "metadata": metadata, "spec": llm.get("spec") or {}}
