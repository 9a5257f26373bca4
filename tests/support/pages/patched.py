"""The `kubectl patch` commands of pages, and the objects that they make of valid ones."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from support.builders.llmdeployments import acceleratorprofile, llmdeployment, merged
from support.builders.objects import Object
from support.pages.markdown import Block

LANGUAGES = ("console", "sh", "bash", "shell")
KINDS = {"llm": "LLMDeployment", "llmdeployment": "LLMDeployment", "acceleratorprofile": "AcceleratorProfile"}
"""Of Slipway's own objects, by the words for them in commands."""

EXAMPLES = {
    "ADDRESS": "10.20.3.4",
    "AMOUNT": "100",
    "BANDWIDTH": "864G",
    "BYTES": "246587904",
    "CLAIM": "models",
    "CONCURRENCY": "8",
    "ENGINE": "vllm",
    "FOLDER": "llama",
    "MEMORY": "16Gi",
    "NAME": "model",
    "PRIORITY_CLASS": "interactive",
    "PROFILE": "gpu",
    "REPLICAS": "2",
    "REQUESTS": "1024",
    "SECRET": "keys",
    "SIZE": "1Gi",
    "TIMEOUT": "20m",
    "TOKENS": "8192",
    "VARIABLE": "APP_A",
}
"""A valid value for each placeholder that a patch may have."""


@dataclass(frozen=True)
class Patch:
    place: str
    kind: str
    type: str
    text: str

    def patched(self) -> Object:
        """An object that has what the patch changes, after it."""
        change = json.loads(self.text)
        return merged(_before(self.kind), change) if self.type == "merge" else _changed(_before(self.kind), change)


def patches_in(block: Block) -> Iterator[Patch]:
    """Those of Slipway's objects, with examples for the placeholders."""
    if block.language not in LANGUAGES:
        return
    for at, command in _commands(block):
        words = shlex.split(command, comments=True) if "kubectl" in command and " patch " in command else []
        words = [word for each in words for word in (each.split("=", 1) if each.startswith("--") else [each])]
        kind = next((KINDS[word.rstrip("s")] for word in words if word.rstrip("s") in KINDS), "")
        if kind:
            yield Patch(
                f"{block.page.name}:{at}", kind, _after(words, "--type"), _filled(_after(words, "-p", "--patch"))
            )


def _commands(block: Block) -> Iterator[tuple[int, str]]:
    """Yields the logical lines, each with the number of its first; output has no patch, and does no harm."""
    start, command = block.line, ""
    for at, line in enumerate(block.text.splitlines(), start=block.line):
        start = start if command else at
        command += line.removesuffix("\\")
        if not line.endswith("\\"):
            yield start, command
            command = ""


def _after(words: list[str], *flags: str) -> str:
    return next((words[at + 1] for at, word in enumerate(words[:-1]) if word in flags), "")


def _filled(text: str) -> str:
    for name, value in EXAMPLES.items():
        text = text.replace(name, value)
    return text


def _before(kind: str) -> Object:
    if kind == "AcceleratorProfile":
        return acceleratorprofile()
    return llmdeployment(
        spec={
            "model": {"facts": {"layers": 18}},
            "engine": {"extraArgs": []},
            "access": {"apiKeysSecret": "keys", "allowFrom": []},
            "pod": {
                "env": [{"name": "APP_A", "value": "1"}],
                "nodeSelector": {"a": "b"},
                "volumes": [{"name": "scratch", "emptyDir": {"sizeLimit": "1Mi"}}],
            },
        }
    )


def _changed(before: Object, operations: list[dict[str, Any]]) -> Object:
    """The object after a JSON patch, of which pages use `test`, `remove`, `replace` and `add`."""
    after: Object = json.loads(json.dumps(before))
    for each in operations:
        *path, last = each["path"].strip("/").split("/")
        holder: Any = after
        for name in path:
            holder = holder[int(name) if isinstance(holder, list) else name]
        at = (len(holder) if last == "-" else int(last)) if isinstance(holder, list) else last
        match each["op"]:
            case "test":
                assert holder[at] == each["value"]
            case "remove":
                del holder[at]
            case "add" if isinstance(holder, list):
                holder.insert(at, each["value"])
            case _:
                holder[at] = each["value"]
    return after
