"""A model that is ill, healed by what `kubectl llm why` says."""

from __future__ import annotations

import asyncio
from typing import Any

from support.builders.llmdeployments import NAME
from support.cluster.command_line import llm, shell
from support.cluster.kube import Kube
from support.cluster.llmdeployments import conditions, until_settled
from support.faults.healing import Healing, filled

WITHIN = 150  # seconds, on a busy machine


async def healed_by_why(kube: Kube, failure: Healing) -> list[str]:
    """Waits until the failure is there, runs the one command that `why` prints, and waits until the model is well.
    Returns the commands, of which there is one, unless the failure needs more steps."""
    commands: list[str] = []
    for _ in range(failure.steps):
        commands.append(await run_what_why_says(kube, failure.reason, timeout=failure.timeout))
        if await _is_well(kube, failure, last=len(commands) == failure.steps):
            return commands
    raise AssertionError(f"{failure.name} is still ill after {commands}")


async def run_what_why_says(kube: Kube, reason: str, *, timeout: float = 60) -> str:
    """Waits until `why` names the reason, and runs its command as a person completes it; returns that."""
    found = await named_by_why(kube, reason, timeout=timeout)
    command = filled(found["next"]["command"], found["next"]["values"])
    ran = await shell(kube, command)
    assert ran.code == 0, f"{command}: {ran.err}"
    return command


async def named_by_why(kube: Kube, reason: str, name: str = NAME, *, timeout: float = 60) -> dict[str, Any]:
    """What `why` says, once it names the reason: the status is watched, since each `why` takes a while."""
    await kube.wait_for("llmdeployment", name, lambda it: reason in _reasons(it), timeout=timeout)
    async with asyncio.timeout(WITHIN):
        while True:
            why = await llm(kube, "why", name, "-o", "json")
            if why.document.get("reason") == reason:
                assert why.code == 1
                assert why.document["next"], why.document
                found: dict[str, Any] = why.document
                return found


def _reasons(deployment: dict[str, Any]) -> set[str]:
    return {reason for kind, (_, reason) in conditions(deployment).items() if kind in ("Ready", "Stalled", "Scaled")}


async def _is_well(kube: Kube, failure: Healing, *, last: bool) -> bool:
    """In its state, and `why` agrees. Before the last step, it may fail again instead."""
    if not last:
        found = await llm(kube, "wait", NAME, "--for=serving", "--timeout=2m", within=150)
        return found.code == 0 and (await llm(kube, "why", NAME)).code == 0
    if failure.healthy != "Waking":
        await until_settled(kube, NAME, failure.healthy, timeout=WITHIN)
    async with asyncio.timeout(WITHIN):
        while (await llm(kube, "why", NAME)).code:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(1)
    return True
