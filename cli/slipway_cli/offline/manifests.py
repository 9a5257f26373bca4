"""LLMDeployments as YAML for people: only what is set, in the order of the types, with a comment on what to know."""

from __future__ import annotations

from typing import Any

import yaml
from slipway.operator.planning import Plan

from slipway_cli.offline.answering import Answer, headline


def written(answer: Answer) -> str:
    """The LLMDeployment that was planned."""
    deployment = answer.deployment
    manifest = deployment.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude={"status"})
    metadata = {"name": deployment.metadata.name, **(manifest.get("metadata") or {})}
    head = {"apiVersion": deployment.api_version, "kind": deployment.kind, "metadata": metadata}
    return f"{_comments(answer)}{dumped({**head, 'spec': manifest['spec']})}"


def dumped(found: dict[str, Any], *, sort: bool = False) -> str:
    return yaml.safe_dump(found, sort_keys=sort, allow_unicode=True, width=118)


def _comments(answer: Answer) -> str:
    plan = answer.plan
    said = [headline(answer), *(plan.warnings if isinstance(plan, Plan) else ())]
    return "".join(f"# {line}\n" for line in said)
