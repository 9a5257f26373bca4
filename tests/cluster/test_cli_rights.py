"""`kubectl llm` with the rights that docs/cli.md lists, and with less, as a ServiceAccount of a real API server."""

from __future__ import annotations

import asyncio
import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from slipway_cli.cluster.permissions import PERMISSIONS, Permission
from support.builders.llmdeployments import NAME, at_zero
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
LESS = ("status", "tree", "tree --watch", "why", "wait", "events", "accelerators", "doctor", "support-bundle")


ELSEWHERE = ("doctor", "support-bundle", "top")  # they look into other namespaces, too


class Person:
    """A ServiceAccount with a token, and rules of its own."""

    def __init__(self, kube: Kube, folder: Path) -> None:
        self._kube, self._folder = kube, folder
        self.name = f"{kube.namespace}-cli"
        self.file = folder / "model.json"
        self.file.write_text(json.dumps(at_zero()))

    async def run(self, kube: Kube, arguments: str) -> Said:
        return await llm(kube, arguments.replace("FILE", str(self.file)))

    async def may(self, permissions: list[Permission]) -> Kube:
        """kubectl for it, once it has exactly these permissions."""
        own = [rule_of(each) for each in permissions if not each.is_of_cluster]
        of_cluster = [rule_of(each) for each in permissions if each.is_of_cluster]
        await self._kube.apply(
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": self.name}},
            *self._granted("Role", own),
            *self._granted("ClusterRole", of_cluster),
        )
        token = (await self._run(f"kubectl create token {self.name} -n {self._kube.namespace}")).strip()
        config = json.loads(await self._run("kubectl config view --raw --minify --output=json"))
        config["users"][0]["user"] = {"token": token}
        config["contexts"][0]["context"]["namespace"] = self._kube.namespace
        file = self._folder / f"{self.name}.json"
        file.write_text(json.dumps(config))
        return replace(self._kube, kubeconfig=file)

    async def end(self) -> None:
        await self._run(f"kubectl delete clusterrole,clusterrolebinding {self.name} --ignore-not-found")

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


async def test_each_command_works_with_exactly_the_rights_that_are_listed_for_it(
    slipway: Operator, kube: Kube, person: Person
) -> None:
    await settled(kube, at_zero())
    for command, (arguments, code) in COMMANDS.items():
        alone = await person.may(needed_by(command))
        found = await _once_granted(person, alone, arguments, code)
        assert found.code == code, f"{command}: {found.out}{found.err}"
        if command not in ELSEWHERE:
            assert not lacks(found), f"{command}: {found.out}{found.err}"


async def test_without_one_of_them_it_says_so_and_shows_the_rest(slipway: Operator, kube: Kube, person: Person) -> None:
    await settled(kube, at_zero())
    for command in LESS:
        arguments, _ = COMMANDS[command]
        for missing in needed_by(command):
            less = await person.may([each for each in needed_by(command) if each is not missing])
            found = await person.run(less, arguments)
            assert "Traceback" not in found.err
            is_instead = missing.verbs == ("watch",) or missing.subresource
            is_elsewhere = command in (*ELSEWHERE, "accelerators") and missing.kinds[0].namespaced
            if not is_instead and not is_elsewhere:
                assert lacks(found), f"{command} without {missing.resources}: {found.out}{found.err}"


async def test_without_the_right_to_change_models_nothing_is_changed(
    slipway: Operator, kube: Kube, person: Person
) -> None:
    await settled(kube, at_zero())
    alone = await person.may([each for each in PERMISSIONS if each.role == "view"])
    before = await kube.get("llmdeployment", NAME)
    for verb in ("pause", "wake"):
        found = await llm(alone, f"{verb} {NAME} --yes")
        assert (found.code, "annot patch" in found.err) == (3, True), found.err
    assert (await kube.get("llmdeployment", NAME))["metadata"] == before["metadata"]


async def test_a_user_without_any_right_gets_one_sentence(slipway: Operator, kube: Kube, person: Person) -> None:
    await settled(kube, at_zero())
    alone = await person.may([])
    for command, (arguments, _) in COMMANDS.items():
        found = await person.run(alone, arguments)
        if command == "doctor":
            continue  # it lists what it may not read
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


async def _once_granted(person: Person, kube: Kube, arguments: str, code: int) -> Said:
    """The API server's authorizer sees a new role a moment later."""
    for _ in range(5):
        found = await person.run(kube, arguments)
        if found.code == code and not lacks(found):
            break
        await asyncio.sleep(0.5)
    return found
