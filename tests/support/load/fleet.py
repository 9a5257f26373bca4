"""LLMDeployments at zero replicas, and random changes to them and to their children."""

from __future__ import annotations

import itertools
import random
from collections.abc import Awaitable, Callable

from support.builders.llmdeployments import fleet_model
from support.builders.objects import Object
from support.cluster.kube import Kube

CONTEXT_LENGTHS = (512, 1024, 2048, 4096)


class Fleet:
    """Draws what it changes, and how, from `chance`."""

    def __init__(self, kube: Kube, chance: random.Random) -> None:
        self._kube, self._chance = kube, chance
        self._numbers = itertools.count(1)
        self.names: list[str] = []

    async def create(self, count: int = 1) -> None:
        names = [f"model-{next(self._numbers)}" for _ in range(count)]
        await self._kube.apply(*map(fleet_model, names))
        self.names += names

    async def change(self) -> str:
        """Makes one random change; returns a description."""
        deeds: list[Callable[[str], Awaitable[None]]] = [
            self.change_spec, self.change_label, self.delete, self.replace, self.delete_child, self.change_child,
        ]  # fmt: skip
        deed, name = self._chance.choice(deeds), self._chance.choice(self.names)
        await deed(name)
        if deed == self.delete:
            await self.create()
        return f"{deed.__name__} {name}"

    async def change_everything(self) -> None:
        """Changes the spec of each."""
        length = self._chance.randrange(512, 8192)
        engine = {"name": "llamacpp", "contextLength": length, "maxConcurrency": 2}
        await self._kube.apply(*(fleet_model(name, engine=engine) for name in self.names))

    # --- what people do ---------------------------------------------------------------------------------------------

    async def change_spec(self, name: str) -> None:
        change = {"spec": {"engine": {"contextLength": self._chance.choice(CONTEXT_LENGTHS)}}}
        await self._kube.patch("llmdeployment", name, change)

    async def change_label(self, name: str) -> None:
        """Changes a label, which concerns none of the children."""
        await self._kube.patch("llmdeployment", name, {"metadata": {"labels": {"of": str(self._chance.random())}}})

    async def delete(self, name: str) -> None:
        await self._kube.delete("llmdeployment", name)
        self.names.remove(name)

    async def replace(self, name: str) -> None:
        """Replaces it by another one of the same name, while the children of the first may still exist."""
        await self._kube.delete("llmdeployment", name)
        await self._kube.apply(fleet_model(name))

    async def delete_child(self, name: str) -> None:
        await self._kube.delete(self._chance.choice(["service", "networkpolicy", "inferenceservice"]), name)

    async def change_child(self, name: str) -> None:
        """Changes a field that the operator has set."""
        change: Object = {"spec": {"selector": {"slipway.dev/llmdeployment": "another"}}}
        await self._kube.patch("service", name, change)

    async def apply_as_a_rival(self, name: str) -> None:
        """Takes fields of a child, and the status, from the operator."""
        service: Object = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name},
            "spec": {"selector": {"slipway.dev/llmdeployment": "another"}},
        }
        await self._kube.apply(service)
        status = {"state": "Failed", "message": "says a rival", "conditions": []}
        await self._kube.patch("llmdeployment", name, {"status": status}, subresource="status")
