"""What the API server would say to an object of Slipway's kinds: its validation errors and warnings."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.error import HTTPError
from urllib.request import Request, urlopen
from urllib.response import addinfourl

from support.builders.llmdeployments import llmdeployment
from support.builders.objects import Object
from support.cluster.kube import Kube

LLMDEPLOYMENTS = "/apis/slipway.dev/v1alpha1/namespaces/default/llmdeployments"

# --- a cluster that knows the types ----------------------------------------------------------------------------------

# Text that the API server adds around the sentence of a rule, and the form of some values in it.
_STRICT = re.compile(r"^.*?strict decoding error: ")
_VALUE = re.compile(r'Invalid value: ("[^"]*"|null|-?\d+): ')
_UNCHECKED = "some validation rules were not checked"


@dataclass(frozen=True)
class Answer:
    """The API server's answer to a dry run."""

    body: Object
    warnings: list[str]

    @property
    def accepted(self) -> bool:
        return bool(self.body["kind"] != "Status")

    @property
    def sentences(self) -> str:
        """The reasons for a refusal: one line per field, without the text that Kubernetes adds."""
        causes = self.body.get("details", {}).get("causes", [])
        fields = [f"{cause['field']}: " if "field" in cause else "" for cause in causes]
        lines = [field + cause["message"] for field, cause in zip(fields, causes, strict=True)] or [
            self.body["message"]
        ]
        return "\n".join(_VALUE.sub("", _STRICT.sub("", line)) for line in lines if _UNCHECKED not in line)


@dataclass(frozen=True)
class ApiServer:
    """Sends dry runs over HTTP: one kubectl process for each of many requests would take too long."""

    url: str

    def would_create(self, path: str, thing: Object) -> Answer:
        request = Request(
            f"{self.url}{path}?dryRun=All&fieldValidation=Strict",
            data=json.dumps(thing).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urlopen(request, timeout=30) as response:
                return _answer(response)
        except HTTPError as error:
            with error:
                return _answer(error)


@contextmanager
def api_server(kube: Kube) -> Iterator[ApiServer]:
    with subprocess.Popen(kube.command("proxy", "--port=0"), stdout=subprocess.PIPE, text=True) as proxy:
        assert proxy.stdout
        try:
            yield ApiServer("http://" + proxy.stdout.readline().strip().rpartition(" ")[2])
        finally:
            proxy.kill()


async def policies_in_force(kube: Kube, server: ApiServer) -> None:
    """Waits until all policies written so far take effect: they do so in order, so it writes one more and waits for
    that."""
    name = f"last-{secrets.token_hex(4)}"
    await kube.apply(*_policy_against(name))
    try:
        async with asyncio.timeout(30):
            while not (await asyncio.to_thread(server.would_create, LLMDEPLOYMENTS, llmdeployment(name))).warnings:
                pass
    finally:
        for kind in ("validatingadmissionpolicy", "validatingadmissionpolicybinding"):
            await kube.delete(kind, name)


def _policy_against(name: str) -> list[Object]:
    """A policy that warns about an LLMDeployment of its own name."""
    api = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": name}}
    rule = {"apiGroups": ["slipway.dev"], "apiVersions": ["*"], "resources": ["llmdeployments"], "operations": ["*"]}
    policy = {
        "failurePolicy": "Ignore",
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": f"object.metadata.name != '{name}'", "message": "seen"}],
    }
    binding = {"policyName": name, "validationActions": ["Warn"]}
    return [
        {**api, "kind": "ValidatingAdmissionPolicy", "spec": policy},
        {**api, "kind": "ValidatingAdmissionPolicyBinding", "spec": binding},
    ]


def _answer(response: addinfourl | HTTPError) -> Answer:
    headers = response.headers.get_all("Warning") or []
    warnings = [json.loads(header.removeprefix("299 - ")) for header in headers]
    return Answer(json.load(response), warnings)
