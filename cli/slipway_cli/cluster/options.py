"""The flags of kubectl that every command on a cluster has, and completion of what the cluster has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from slipway_cli.problems import Problem

Function = TypeVar("Function", bound=Callable[..., Any])

CONNECTION = (
    ("--kubeconfig", "FILE", "The kubeconfig to use."),
    ("--context", "NAME", "The context of the kubeconfig to use."),
    ("--cluster", "NAME", "The cluster of the kubeconfig to use."),
    ("--user", "NAME", "The user of the kubeconfig to use."),
    ("--as", "NAME", "The user to impersonate."),
)


@dataclass(frozen=True)
class Target:
    """Which cluster, and which namespace of it."""

    flags: tuple[str, ...]
    namespace: str  # empty: that of the kubeconfig
    everywhere: bool = False


def target_of(given: dict[str, Any]) -> Target:
    """Takes these flags out of what a command was given."""
    named = {flag: given.pop(_name(flag), None) for flag, _, _ in CONNECTION}
    flags = tuple(f"{flag}={value}" for flag, value in named.items() if value)
    return Target(flags, given.pop("namespace", None) or "", bool(given.pop("all_namespaces", False)))


def _name(flag: str) -> str:
    return {"--as": "as_user"}.get(flag, flag.lstrip("-"))


def on_cluster(function: Function) -> Function:
    """Adds the flags."""
    for flag, value, text in reversed(CONNECTION):
        function = click.option(flag, _name(flag), metavar=value, help=text)(function)
    namespace = click.option("--namespace", "-n", shell_complete=namespaces, help="The namespace to use.")
    return namespace(function)


everywhere = click.option("--all-namespaces", "-A", is_flag=True, help="Look in all namespaces.")
selector = click.option("--selector", "-l", metavar="LABELS", help="Only objects with these labels.")


# --- completion ------------------------------------------------------------------------------------------------------


def names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """LLMDeployments of the namespace."""
    from slipway.objects.kinds import LLM_DEPLOYMENT

    from slipway_cli.cluster.kubectl import Kubectl

    target = target_of(dict(ctx.params))
    try:
        kubectl = Kubectl(target.flags, target.namespace)
        found = kubectl.get(LLM_DEPLOYMENT.path(kubectl.place().namespace)).get("items") or []
    except Problem:
        return []
    states = {each["metadata"]["name"]: (each.get("status") or {}).get("state", "") for each in found}
    return [CompletionItem(name, help=state) for name, state in states.items() if name.startswith(incomplete)]


def namespaces(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from slipway.objects.kinds import NAMESPACE

    from slipway_cli.cluster.kubectl import Kubectl

    try:
        found = Kubectl(target_of(dict(ctx.params)).flags).get(NAMESPACE.path()).get("items") or []
    except Problem:
        return []
    return [CompletionItem(name) for each in found if (name := each["metadata"]["name"]).startswith(incomplete)]
