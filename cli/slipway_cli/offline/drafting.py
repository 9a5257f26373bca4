"""A good LLMDeployment to start from, as YAML with comments. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

NEVER = "never"


@dataclass(frozen=True, kw_only=True)
class Draft:
    """What a user wants; empty strings and None: not said."""

    name: str
    namespace: str = ""
    uri: str = ""
    hub_token: str = ""  # the Secret
    profiles: tuple[str, ...] = ()
    tensor: int | None = None
    engine: str = ""
    ttft: str = ""
    tpot: str = ""
    idle_after: str = "10m"  # or NEVER
    most_replicas: int = 1
    keys: str = ""  # the Secret
    per_day: float | None = None


def spec_of(draft: Draft) -> dict[str, Any]:
    """The spec that the YAML has."""
    sleeps = draft.idle_after != NEVER
    target = {name: value for name, value in (("ttftP95", draft.ttft), ("tpotP95", draft.tpot)) if value}
    scaling: dict[str, Any] = {"minReplicas": 0 if sleeps else 1, "maxReplicas": draft.most_replicas}
    if sleeps:
        scaling["idleAfter"] = draft.idle_after
    if target:
        scaling["target"] = target
    engine: dict[str, Any] = {"name": draft.engine} if draft.engine else {}
    if draft.tensor:
        engine["parallelism"] = {"tensor": draft.tensor}
    sections: dict[str, Any] = {
        "model": {"uri": draft.uri} | ({"credentialsSecret": draft.hub_token} if draft.hub_token else {}),
        "engine": engine,
        "accelerator": {"profiles": list(draft.profiles)} if draft.profiles else {},
        "scaling": scaling,
        "access": {"apiKeysSecret": draft.keys} if draft.keys else {},
        "budget": {} if draft.per_day is None else {"perDay": draft.per_day, "then": "Alert"},
    }
    return {name: each for name, each in sections.items() if each}


COMMENTS = {
    "revision": "A commit of the repository; without it, the newest one is loaded at each start.",
    "accelerator": "Without this, the operator takes the cheapest of the cluster's on which the model fits.",
    "scaling": {
        0: "At zero replicas it costs nothing; the first request wakes it, and waits.",
        1: "At least one replica always runs.",
    },
    "target": "Further replicas start when these aren't met. 95th percentiles.",
    "access": "Each value of the Secret is a key; clients send one of them.",
    "budget": "In the currency of the profiles' prices. Alert warns; Sleep and Refuse stop the spending.",
}


def written(draft: Draft, remarks: tuple[str, ...]) -> str:
    """The YAML. `remarks`: comments at its start."""
    return "\n".join(_lines(draft, remarks)) + "\n"


def _lines(draft: Draft, remarks: tuple[str, ...]) -> Iterator[str]:
    spec = spec_of(draft)
    yield from (f"# {each}" for each in remarks)
    yield from ("apiVersion: slipway.dev/v1alpha1", "kind: LLMDeployment", "metadata:", f"  name: {draft.name}")
    if draft.namespace:
        yield f"  namespace: {draft.namespace}"
    yield "spec:"
    for section, fields in spec.items():
        yield from _comment(section, spec)
        yield f"  {section}:"
        for line in _dumped(fields):
            if line.startswith("target:"):
                yield f"    # {COMMENTS['target']}"
            yield f"    {line}"
        if section == "model" and draft.uri.startswith("hf://"):
            yield f"    # revision: …   {COMMENTS['revision']}"


def _comment(section: str, spec: dict[str, Any]) -> Iterator[str]:
    comment = COMMENTS.get(section)
    if isinstance(comment, dict):
        yield f"  # {comment[spec['scaling']['minReplicas']]}"
    elif comment:
        yield f"  # {comment}"


def _dumped(fields: dict[str, Any]) -> list[str]:
    return yaml.safe_dump(fields, sort_keys=False, allow_unicode=True, width=118).splitlines()
