"""`kubectl llm` with the rights that docs/cli.md lists, and with less, as a ServiceAccount of a real API server."""

from __future__ import annotations

import asyncio
import json
import re
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from slipway_cli.cluster.permissions import PERMISSIONS, Permission
from support.builders.llmdeployments import NAME, at_zero, on_own_engine, own_runtime
from support.builders.objects import python
from support.cluster import Kube, Operator, settled
from support.cluster.command_line import Said, llm, shell

COMMANDS = {
    # command: its arguments, and its exit code for a model at zero
    "status": (f"status {NAME}", 0),
    "why": (f"why {NAME}", 0),
    "tree": (f"tree {NAME}", 0),
    "tree --watch": (f"tree {NAME} --watch", 0),
    "timeline": (f"timeline {NAME}", 3),  # it has never started
    "events": (f"events {NAME}", 0),
    "logs": (f"logs {NAME}", 3),  # it has no pod
    "wait": (f"wait {NAME} --for=idle --timeout=30s", 0),
    "top": ("top --interval=1s", 0),
    "diff": ("diff FILE", 0),
    "pause": (f"pause {NAME} --yes", 0),
    "resume": (f"resume {NAME} --yes", 0),
    "sleep": (f"sleep {NAME} --yes", 0),
    "restart": (f"restart {NAME} --yes", 0),
    "wake": (f"wake {NAME} --dry-run", 0),
    "accelerators": ("accelerators", 0),
    "doctor": ("doctor", 1),  # the operator of the tests is a process, and no Deployment
    "support-bundle": ("support-bundle --dry-run", 0),
    "status --all-namespaces": ("status --all-namespaces", 0),
}
ELSEWHERE = ("doctor", "support-bundle", "top")  # they look into other namespaces, too


LESS = [
    (command, missing)
    for missing in PERMISSIONS
    for command in [
        next((each for each in missing.commands if each in COMMANDS and each not in ("support-bundle", "why")), "")
    ]
    if command and not missing.subresource and missing.verbs not in (("watch",), ("create",))
]
"""Each right, and a command that says what it lacks without it. Instead of watching, it lists; the model has no pod,
and isn't a new one."""


class Person:
    """A ServiceAccount with a token, and rules of its own."""

    def __init__(self, kube: Kube, folder: Path) -> None:
        self._kube = kube
        self.name = f"{kube.namespace}-cli"
        self.file = folder / "model.json"
        self.file.write_text(json.dumps(at_zero()))
        self._config = folder / "config.json"

    async def run(self, arguments: str) -> Said:
        mine = replace(self._kube, kubeconfig=self._config)
        return await llm(mine, arguments.replace("FILE", str(self.file)))

    async def may(self, permissions: Sequence[Permission]) -> None:
        """Exactly these; the API server follows a moment later."""
        own = [rule_of(each) for each in permissions if not each.is_of_cluster]
        of_cluster = [rule_of(each) for each in permissions if each.is_of_cluster]
        await self._kube.apply(*self._granted("Role", own), *self._granted("ClusterRole", of_cluster))
        if not self._config.exists():
            await self._log_in()

    async def end(self) -> None:
        await self._run(f"kubectl delete clusterrole,clusterrolebinding {self.name} --ignore-not-found")

    async def _log_in(self) -> None:
        await self._kube.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": self.name}})
        token = (await self._run(f"kubectl create token {self.name} -n {self._kube.namespace}")).strip()
        config = json.loads(await self._run("kubectl config view --raw --minify --output=json"))
        config["users"][0]["user"] = {"token": token}
        config["contexts"][0]["context"]["namespace"] = self._kube.namespace
        self._config.write_text(json.dumps(config))

    async def _run(self, command: str) -> str:
        done = await shell(self._kube, command)
        assert done.code == 0, done.err
        return done.out

    def _granted(self, kind: str, rules: list[Any]) -> Iterator[dict[str, Any]]:
        group = "rbac.authorization.k8s.io"
        subject = {"kind": "ServiceAccount", "name": self.name, "namespace": self._kube.namespace}
        metadata = {"name": self.name}
        yield {"apiVersion": f"{group}/v1", "kind": kind, "metadata": metadata, "rules": rules}
        yield {
            "apiVersion": f"{group}/v1",
            "kind": f"{kind}Binding",
            "metadata": metadata,
            "roleRef": {"apiGroup": group, "kind": kind, "name": self.name},
            "subjects": [subject],
        }


def rule_of(permission: Permission) -> dict[str, Any]:
    rule: dict[str, Any] = {
        "apiGroups": sorted({kind.group for kind in permission.kinds}),
        "resources": list(permission.resources),
        "verbs": list(permission.verbs),
    }
    return rule | ({"resourceNames": list(permission.only)} if permission.only else {})


def needed_by(command: str) -> list[Permission]:
    """Also what it needs without its flags."""
    return [each for each in PERMISSIONS if {command, command.split(maxsplit=1)[0]} & set(each.commands)]


@pytest.fixture
async def person(kube: Kube, tmp_path: Path) -> Any:
    found = Person(kube, tmp_path)
    yield found
    await found.end()


def lacks(found: Said) -> bool:
    """It says that something can't be seen or done."""
    text = found.out + found.err
    return any(word in text for word in ("can't be read", "may not", "Forbidden", "forbidden"))


@pytest.mark.parametrize("command", COMMANDS)
async def test_a_command_works_with_exactly_the_rights_that_are_listed_for_it(
    slipway: Operator, kube: Kube, person: Person, command: str
) -> None:
    arguments, code = COMMANDS[command]
    await settled(kube, at_zero())
    if command == "resume":
        await llm(kube, f"pause {NAME} --yes")
    await person.may(needed_by(command))
    found = await _once(person, arguments, lambda found: found.code == code and not lacks(found))
    assert found.code == code, found.out + found.err
    if command not in ELSEWHERE:
        assert not lacks(found), found.out + found.err


@pytest.mark.parametrize(("command", "missing"), LESS, ids=lambda each: getattr(each, "resources", each))
async def test_without_one_of_them_it_says_so_and_shows_the_rest(
    slipway: Operator, kube: Kube, person: Person, command: str, missing: Permission
) -> None:
    await settled(kube, at_zero())
    await person.may([each for each in needed_by(command) if each is not missing])
    found = await _once(person, COMMANDS[command][0], lacks)
    assert "Traceback" not in found.err
    assert lacks(found), found.out + found.err


async def test_a_log_is_shown_with_exactly_the_rights_that_are_listed_for_it(
    slipway: Operator, kube: Kube, weights: None, python_image: str, person: Person
) -> None:
    speaks = python("print('the engine says', flush=True); import time; time.sleep(3600)")
    await kube.apply(own_runtime(image=python_image, command=speaks))
    await settled(kube, on_own_engine(), "Serving")
    rights = needed_by("logs")
    await person.may([each for each in rights if each.subresource != "log"])
    without = await _once(person, f"logs {NAME}", lacks)
    assert lacks(without), without.out + without.err
    assert "the engine says" not in without.out
    await person.may(rights)
    found = await _once(person, f"logs {NAME}", lambda found: found.code == 0 and not lacks(found))
    assert (found.code, "the engine says" in found.out) == (0, True), found.out + found.err


async def test_without_the_right_to_change_models_nothing_is_changed(
    slipway: Operator, kube: Kube, person: Person
) -> None:
    await settled(kube, at_zero())
    await person.may([each for each in PERMISSIONS if each.role == "view"])
    before = await kube.get("llmdeployment", NAME)
    found = await _once(person, f"pause {NAME} --yes", lambda found: "annot patch" in found.err)
    assert (found.code, "annot patch" in found.err) == (3, True), found.err
    after = await kube.get("llmdeployment", NAME)
    assert after["metadata"].get("annotations") == before["metadata"].get("annotations")
    assert after["spec"] == before["spec"]


async def test_a_user_without_any_right_gets_one_sentence(slipway: Operator, kube: Kube, person: Person) -> None:
    await settled(kube, at_zero())
    await person.may([])
    for command, (arguments, _) in COMMANDS.items():
        if command in ("doctor", "diff"):
            continue  # doctor lists what it may not read; the API server refuses diff's file
        found = await person.run(arguments)
        assert found.code == 3, f"{command}: {found.out}{found.err}"
        assert found.err.count("\n") == 1, found.err
        assert re.match(r"Error: You (may|can't|need)", found.err), found.err


async def test_a_support_bundle_of_a_real_cluster_has_no_secret_of_it(
    slipway: Operator, kube: Kube, tmp_path: Path
) -> None:
    """A Secret, and the same string wherever a tenant could put it."""
    secret = "q8Zt3LmX0vRb7KdY2wNs"  # noqa: S105
    key = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hub"}, "stringData": {"token": secret}}
    thing = at_zero(pod={"annotations": {"note.example.com/mine": secret}, "labels": {"mine": secret}})
    thing["metadata"]["annotations"] = {"note.example.com/mine": secret, "slipway.dev/note": f"password={secret}"}
    await kube.apply(key)
    await settled(kube, thing)
    file = tmp_path / "bundle.tar.gz"
    found = await llm(kube, f"support-bundle --yes --output={file}", within=200)
    assert found.code == 0, found.err
    with tarfile.open(file) as tar:
        opened = {each.name: tar.extractfile(each) for each in tar.getmembers()}
        files = {name: content.read().decode() for name, content in opened.items() if content}
    names = {name.removeprefix("slipway-support/") for name in files}
    assert names >= {"README.txt", "doctor.json", "installation.json", "cluster/nodes.json"}
    assert f"models/{kube.namespace}/inferenceservices.json" in names
    assert any(name.startswith("programs/kserve/logs/") for name in names)
    assert not [name for name, content in files.items() if secret in content]
    assert "***" in files[f"slipway-support/models/{kube.namespace}/llmdeployments.json"]


async def _once(person: Person, arguments: str, is_so: Callable[[Said], bool]) -> Said:
    """The API server's authorizer sees a changed role a moment later."""
    for _ in range(3):
        found = await person.run(arguments)
        if is_so(found):
            break
        await asyncio.sleep(1)
    return found
