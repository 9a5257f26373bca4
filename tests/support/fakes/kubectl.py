"""A kubectl for tests of programs that call it: it answers from objects in a file, and records its arguments.

It knows `get --raw`, `config view`, `logs`, `patch` and dry runs of `apply`. What a real one
does is tested on a cluster.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slipway.objects.kinds import kind_of
from slipway_cli.cluster.kubectl import Kubectl, error_of

from support.builders.objects import Object
from support.fakes.kubectl_program import answer

PROGRAM = Path(__file__).with_name("kubectl_program.py")


@dataclass
class FakeKubectl:
    """`failures`: what it writes on stderr, by the start of a path or of its arguments. `logs`: by POD/CONTAINER.
    `then`: what watches report soon after they start. `service`: what the model's Service answers: `status`, `type`,
    `parts`, and a `pause` in seconds after each part. `metrics`: of pods, by the path."""

    folder: Path
    objects: list[Object] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    logs: dict[str, str] = field(default_factory=dict)
    then: list[Object] = field(default_factory=list)
    service: list[Object] = field(default_factory=list)
    metrics: dict[str, str] = field(default_factory=dict)
    namespace: str = "chat"

    @property
    def world(self) -> dict[str, Any]:
        """What the answers are made from."""
        return {
            "objects": [_listed(each) for each in self.objects],
            "then": [_listed(each) for each in self.then],
            "failures": self.failures,
            "logs": self.logs,
            "service": self.service,
            "metrics": self.metrics,
            "namespace": self.namespace,
        }

    @property
    def env(self) -> dict[str, str]:
        """With which a program finds it; writes the files."""
        (self.folder / "world.json").write_text(json.dumps(self.world))
        program = self.folder / "kubectl"
        program.write_text(f"#!{sys.executable} -SE\n{PROGRAM.read_text()}")  # without site-packages it starts faster
        program.chmod(0o755)
        return {"PATH": f"{self.folder}:{os.environ['PATH']}"}

    def inside(self) -> type[Kubectl]:
        """The same without a process, for tests that run a command in their own."""
        fake = self

        class Inside(Kubectl):
            def __init__(self, flags: Sequence[str] = (), namespace: str = "") -> None:
                self._flags, self._namespace = tuple(flags), namespace

            def run(
                self,
                *arguments: str,
                given: str | None = None,
                seconds: float | None = None,
                warnings: list[str] | None = None,
            ) -> str:
                with (fake.folder / "calls").open("a") as calls:
                    calls.write(f"{json.dumps([*self._flags, *arguments])}\n")
                code, said = answer(fake.world, list(arguments), given or "")
                if code:
                    raise error_of(said)
                return said

        return Inside

    @property
    def calls(self) -> list[list[str]]:
        file = self.folder / "calls"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    @property
    def requests(self) -> list[Any]:
        """Those to the Service."""
        file = self.folder / "requests"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    @property
    def patches(self) -> list[Any]:
        """What was to be patched, without dry runs."""
        found = [each for each in self.calls if each[0] == "patch" and "--dry-run=server" not in each]
        return [json.loads(each[each.index("--patch") + 1]) for each in found]


def _listed(thing: Object) -> Object:
    """With the list that has it."""
    kind = kind_of(thing)
    return {"list": f"{kind.api_path} {kind.plural}", "object": thing}
