"""The program of `kubectl.py`. It runs without any package, because tests start it many times."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote

FOLDER = Path(sys.argv[0]).parent
CONNECTION = ("--context=", "--kubeconfig=", "--as=", "--cluster=", "--user=")


def main() -> int:
    world = json.loads((FOLDER / "world.json").read_text())
    with (FOLDER / "calls").open("a") as calls:
        calls.write(f"{json.dumps(sys.argv[1:])}\n")
    if "watch=1" in sys.argv[-1]:
        return watch(world["then"], sys.argv[-1])
    code, said = answer(world, sys.argv[1:])
    (sys.stderr if code else sys.stdout).write(said)
    return code


def answer(world: Any, arguments: list[str]) -> tuple[int, str]:
    """The exit code, and what is written."""
    arguments = [each for each in arguments if not each.startswith(CONNECTION)]
    asked = arguments[2] if arguments[:2] == ["get", "--raw"] else " ".join(arguments)
    for start, said in world["failures"].items():
        if asked.startswith(start):
            return 1, f"{said}\n"
    if arguments[:2] == ["get", "--raw"]:
        return get(world["objects"], asked)
    if arguments[:2] == ["config", "view"]:
        context = {"name": "fake", "context": {"namespace": world["namespace"]}}
        return 0, json.dumps({"contexts": [context], "current-context": "fake"})
    if arguments[0] == "logs":
        container = next(each.partition("=")[2] for each in arguments if each.startswith("--container="))
        return 0, world["logs"].get(f"{arguments[1]}/{container}", "")
    return 0, ""


def watch(then: list[Any], path: str) -> int:
    """Reports each change, and goes on until it is ended."""
    time.sleep(0.3)
    for each in then:
        home, _, plural = each["list"].partition(" ")
        if path.startswith(home) and f"/{plural}?" in path:
            sys.stdout.write(f"{json.dumps({'type': 'MODIFIED', 'object': each['object']})}\n")
            sys.stdout.flush()
    time.sleep(3600)
    return 0


def get(objects: list[Any], path: str) -> tuple[int, str]:
    path, _, query = path.partition("?")
    if path == "/version":
        return 0, json.dumps({"gitVersion": "v1.34.4"})
    found = re.fullmatch(r"(/api/v1|/apis/[^/]+/[^/]+)(?:/namespaces/([^/]+))?/([^/]+)(?:/([^/]+))?", path)
    if found is None:
        raise ValueError(path)
    home, namespace, plural, name = found.groups()
    listed = [each["object"] for each in objects if each["list"] == f"{home} {plural}"]
    listed = [each for each in listed if not namespace or each["metadata"].get("namespace", namespace) == namespace]
    if name:
        named = [each for each in listed if each["metadata"]["name"] == name]
        if not named:
            return 1, f'Error from server (NotFound): {plural} "{name}" not found\n'
        return 0, json.dumps(named[0])
    items = [each for each in listed if is_selected(each, unquote(query))]
    return 0, json.dumps({"kind": "List", "metadata": {"resourceVersion": "1"}, "items": items})


def is_selected(thing: Any, query: str) -> bool:
    for name, value in (part.split("=", 1) for part in query.split("&") if part):
        if name == "fieldSelector" and value.removeprefix("metadata.name=") != thing["metadata"]["name"]:
            return False
        if name == "labelSelector":
            label, *values = re.findall(r"[\w./-]+", value.replace(" in ", " "))
            there = (thing["metadata"].get("labels") or {}).get(label)
            if there is None or (values and there not in values):
                return False
    return True


if __name__ == "__main__":
    sys.exit(main())
