"""A failure, as far as a command is chosen by it, and the forms of commands. Pure.

A command can be run as it is. A value that only a person can know is in it as `<what it must be>`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from slipway.objects.kinds import INFERENCE_SERVICE, SERVING_RUNTIME, Object

from slipway_cli.cluster.calls import sentence_with_flags, with_flags
from slipway_cli.cluster.world import World

TOOL = "kubectl llm"
ENGINE = "kserve-container"
PLACEHOLDER = re.compile(r"<[a-z][^<>]*>")


@dataclass(frozen=True)
class Next:
    """`fixes`: it should heal the model as it is. Otherwise it shows more, is worth a try, or has values that a person
    has to fill in."""

    command: str
    why: str
    fixes: bool = False

    @property
    def values(self) -> tuple[str, ...]:
        """What a person has to fill in."""
        return tuple(dict.fromkeys(PLACEHOLDER.findall(self.command)))

    def on(self, flags: Sequence[str]) -> Next:
        """The same on the cluster that these flags of kubectl name: without them it would act on another one."""
        return replace(self, command=with_flags(self.command, flags), why=sentence_with_flags(self.why, flags))

    def as_members(self) -> dict[str, Any]:
        return {"command": self.command, "why": self.why, "fixes": self.fixes, "values": list(self.values)}


@dataclass(frozen=True)
class Case:
    """What a command is chosen by."""

    world: World
    message: str
    pod: Object | None

    # --- what it is about --------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        return self.world.name

    @property
    def namespace(self) -> str:
        return self.world.namespace

    @property
    def spec(self) -> Mapping[str, Any]:
        return _mapping(self.world.llm.get("spec"))

    def part(self, name: str) -> Mapping[str, Any]:
        """A part of the spec, such as `engine`."""
        return _mapping(self.spec.get(name))

    @property
    def own_runtime(self) -> Object | None:
        """The ServingRuntime of its pods, if it is one of the namespace: Slipway's own are none of the user's."""
        service = self.world.one(INFERENCE_SERVICE) or {}
        predictor = _mapping(_mapping(service.get("spec")).get("predictor"))
        named = _mapping(predictor.get("model")).get("runtime") or self.part("engine").get("name")
        return self.world.one(SERVING_RUNTIME, str(named)) if named else None

    def container(self) -> tuple[int, Mapping[str, Any]] | None:
        """That of the engine in the ServingRuntime of the namespace, and its index."""
        found = _mapping((self.own_runtime or {}).get("spec")).get("containers") or []
        named = (each for each in enumerate(found) if each[1].get("name") == ENGINE)
        return next(named, (0, found[0])) if found else None

    # --- the forms of commands ---------------------------------------------------------------------------------------

    def patch(self, spec: Object) -> str:
        """A command that changes the spec."""
        return f"kubectl patch llm {self.name} -n {self.namespace} --type=merge -p {quoted({'spec': spec})}"

    def patch_container(self, field: str, value: Any) -> str | None:
        """A command that changes a field of the engine's container in the namespace's ServingRuntime."""
        found, runtime = self.container(), self.own_runtime
        if found is None or runtime is None:
            return None
        operation = {"op": "add", "path": f"/spec/containers/{found[0]}/{field}", "value": value}
        name = runtime["metadata"]["name"]
        return f"kubectl patch servingruntime {name} -n {self.namespace} --type=json -p {quoted([operation])}"

    def ours(self, verb: str) -> str:
        return f"{TOOL} {verb} {self.name} -n {self.namespace}"

    def planned(self) -> Next:
        """Plans what the cluster has."""
        command = f"kubectl get llm {self.name} -n {self.namespace} -o yaml | {TOOL} plan - --all"
        return Next(command, "shows what would fit")

    def describe(self, kind: str, name: str, *, namespaced: bool = True) -> str:
        return f"kubectl describe {kind} {name}" + (f" -n {self.namespace}" if namespaced else "")


@dataclass(frozen=True)
class Blank:
    """A value that a person fills in: `text` is `<what it must be>`, and what is around it stays."""

    text: str
    before: str = ""
    after: str = ""
    is_string: bool = True


def quoted(value: Any) -> str:
    """JSON as one word of a shell. Of strings, which a tenant may have written, it has no letter that acts on a
    terminal, and none that would make a placeholder."""
    return "'" + _json(value).replace("'", "'\\''") + "'"


def _json(value: Any) -> str:
    if isinstance(value, Blank):
        edge = '"' if value.is_string else ""
        return f"{edge}{_json(value.before)[1:-1]}{value.text}{_json(value.after)[1:-1]}{edge}"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_json(str(name))}:{_json(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_json, value)) + "]"
    return json.dumps(value).replace("<", "\\u003c").replace("\x7f", "\\u007f")


def bare(placeholder: str) -> Blank:
    """A placeholder of a whole JSON value, such as a number, and not of a string."""
    return Blank(placeholder, is_string=False)


def literals(entries: Sequence[Any]) -> Iterator[str]:
    """The names of variables whose value is in the spec itself."""
    for each in entries:
        if isinstance(each, dict) and "value" in each:
            yield str(each.get("name"))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
