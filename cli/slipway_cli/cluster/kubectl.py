"""Requests to a cluster, each made by kubectl: it knows every way to log in and every proxy, no port is opened that
another user of the machine could use, and nothing of a login passes through this program.

`kubectl get --raw` reads one path of the API server, lists and watches alike. It needs no discovery.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway_cli.cluster.calls import sentence_with_flags
from slipway_cli.problems import Problem

Object = dict[str, Any]
PROGRAM = "kubectl"
SECONDS = 20  # for one request
BEYOND = 10  # seconds that kubectl itself may take besides, such as for a login
WARNING = "Warning: "
INSTALL = "https://kubernetes.io/docs/tasks/tools"
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")  # of the pod that this program runs in


class ApiError(Problem):
    """A request without the answer that was wanted. `word`: as the API server has it, such as Forbidden or NotFound;
    NoKind: it doesn't serve such objects; Unreachable: there was no answer at all."""

    def __init__(self, word: str, message: str) -> None:
        super().__init__(message)
        self.word = word


FAILURES = (
    (r"could not find the requested resource|doesn't have a resource type", "NoKind"),
    (r"You must be logged in|\(Unauthorized\)|getting credentials|no Auth Provider", "Unauthorized"),
    (r" is invalid: ", "Invalid"),
    (r"Error from server \((\w+)\)", ""),
    (r"current-context must exist", "NoCurrentContext"),
    (r"cannot locate context|(context|cluster|auth info) .* does not exist|no context exists", "NoContext"),
    (r"context was not found|stat .*: no such file|error loading config file|invalid configuration", "NoContext"),
    (r"connection .* was refused|Unable to connect|no such host|i/o timeout|deadline exceeded|TLS|x509", "Unreachable"),
)
"""What kubectl writes when it fails, the specific first; without a word, the API server's own."""

REMEDIES = {
    "Unauthorized": "Log in again, or choose another context by --context.",
    "NoContext": "`kubectl config get-contexts` lists the existing ones; choose one by --context or --kubeconfig.",
    "Unreachable": "Check the network and the cluster, or choose another context by --context.",
}


@dataclass(frozen=True)
class Place:
    """Where a command looks: a namespace, and the flags by which kubectl finds the cluster."""

    flags: tuple[str, ...]
    namespace: str
    context: str = ""  # as the kubeconfig calls it; empty: inside of the cluster


class Kubectl:
    """kubectl with the flags of one cluster. `namespace`: of the command line; empty: that of the kubeconfig."""

    def __init__(self, flags: Sequence[str] = (), namespace: str = "") -> None:
        self._flags = tuple(flags)
        self._namespace = namespace
        found = shutil.which(PROGRAM)
        if found is None:
            raise ApiError("NoKubectl", f"kubectl is not on the PATH: install it ({INSTALL}). `plan` needs none.")
        self._program = found
        self._running: set[subprocess.Popen[bytes]] = set()  # those that write lines

    def get(self, path: str) -> Object:
        """The JSON of one path of the API server."""
        said = self.run("get", "--raw", path, f"--request-timeout={SECONDS}s")
        try:
            answer = json.loads(said)
        except ValueError:
            start = " ".join(said.split())[:80]
            remedy = "check that the kubeconfig's server is an API server, and no proxy answers in its place"
            raise ApiError("Unknown", f"The answer to {path} is not JSON ({start!r}): {remedy}.") from None
        return answer if isinstance(answer, dict) else {}

    def run(
        self,
        *arguments: str,
        given: str | None = None,
        seconds: float | None = SECONDS + BEYOND,
        warnings: list[str] | None = None,
    ) -> str:
        """What kubectl writes; raises ApiError if it fails. `warnings` of the API server are added to the list."""
        try:
            done = subprocess.run(
                [self._program, *self._flags, *arguments],
                input=None if given is None else given.encode(),
                capture_output=True,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            said = f"kubectl {arguments[0]} has not answered for {seconds:.0f} s."
            raise ApiError("Unreachable", f"{said} {REMEDIES['Unreachable']}") from None
        said, errors = _text(done.stdout), _text(done.stderr)
        if done.returncode:
            raise error_of(errors or said)
        if warnings is not None:
            warnings += [line.removeprefix(WARNING) for line in errors.splitlines() if line.startswith(WARNING)]
        return said

    @contextlib.contextmanager
    def lines(self, *arguments: str, apart: bool = False) -> Iterator[Iterator[str]]:
        """What kubectl writes, line by line, while it runs; it is ended with the block. `apart`: Ctrl-C in the terminal
        doesn't end it."""
        process = subprocess.Popen(
            [self._program, *self._flags, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0 if apart and os.name == "posix" else None,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0) if apart else 0,
        )
        try:
            if not apart:
                self._running.add(process)
            yield self._lines_of(process)
        finally:
            process.kill()
            process.communicate()
            self._running.discard(process)

    def ours(self, verb: str, name: str, namespace: str) -> str:
        """A command of this program on the same cluster, for a sentence."""
        return self.told(f"`kubectl llm {verb} {name} -n {namespace}`")

    def told(self, sentence: str) -> str:
        """The sentence, with commands in it on the same cluster."""
        return sentence_with_flags(sentence, self._flags)

    def end_all(self) -> None:
        """Ends those that other threads read from: they would outlive this program."""
        for process in tuple(self._running):
            process.kill()

    def _lines_of(self, process: subprocess.Popen[bytes]) -> Iterator[str]:
        if process.stdout is None or process.stderr is None:
            return
        yield from map(_text, process.stdout)
        if process.wait():
            raise error_of(_text(process.stderr.read()))

    def place(self) -> Place:
        """The context and namespace that kubectl would use."""
        try:
            config = json.loads(self.run("config", "view", "--minify", "--output=json"))
        except ApiError as error:
            if error.word != "NoCurrentContext":
                raise
            config = {}
        contexts = config.get("contexts") or [{}]
        own = (contexts[0].get("context") or {}).get("namespace") or _namespace_of_pod() or "default"
        return Place(self._flags, self._namespace or own, str(config.get("current-context") or ""))


def _namespace_of_pod() -> str:
    """That kubectl takes inside of a pod, unless the kubeconfig names one; even with a kubeconfig."""
    is_pod = os.environ.get("KUBERNETES_SERVICE_HOST") and os.environ.get("KUBERNETES_SERVICE_PORT")
    if not is_pod or not (SERVICE_ACCOUNT / "token").is_file():
        return ""
    with contextlib.suppress(OSError):
        return os.environ.get("POD_NAMESPACE") or (SERVICE_ACCOUNT / "namespace").read_text().strip()
    return ""


def _text(said: bytes) -> str:
    """As it is: a line of a log may have carriage returns, which Python's own text streams make lines of."""
    return said.decode("utf-8", errors="replace")


def error_of(said: str) -> ApiError:
    """What kubectl wrote, as one sentence with a remedy."""
    text = " ".join(line for line in said.split("\n") if line.strip() and not re.match(r"[EWI]\d{4} ", line)) or said
    text = " ".join(text.split())
    for pattern, word in FAILURES:
        if found := re.search(pattern, text):
            known = word or found[1]
            return ApiError(known, f"{_sentence(text)} {REMEDIES.get(known, '')}".strip())
    return ApiError("Unknown", _sentence(text or "kubectl failed without a message"))


def _sentence(text: str) -> str:
    text = re.sub(r"^(Error from server(?: \(\w+\))?|error|Error): ", "", text)
    return f"{text[0].upper()}{text[1:].rstrip('.')}." if text else text
