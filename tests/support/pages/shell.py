"""A shell as a reader of a page has it: bash with kubectl and helm for one cluster, and nothing of this process."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

LIMIT = 660.0
"""Longer than the longest `kubectl wait` of a page."""

SYSTEM = "/usr/local/bin:/usr/bin:/bin"
STRICT = ("bash", "--noprofile", "--norc", "-eu", "-o", "pipefail", "-c")


@dataclass(frozen=True)
class Ended:
    """How a command ended; None: it was ended after the time limit. The lines are of both of its outputs."""

    code: int | None
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Shell:
    """`inside`: what comes before each command, such as one that enters a namespace; `home`: its home and place."""

    home: Path
    kubeconfig: Path | None
    inside: Sequence[str] = ()

    @classmethod
    def made(
        cls, home: Path, programs: Mapping[str, Path], kubeconfig: Path | None, inside: Sequence[str] = ()
    ) -> Shell:
        """Creates the folder, with these programs in its `bin` by name."""
        (home / "bin").mkdir(parents=True, exist_ok=True)
        for name, program in programs.items():
            with suppress(FileExistsError):
                (home / "bin" / name).symlink_to(program)
        return cls(home, kubeconfig, inside)

    def run(self, command: str, *, limit: float = LIMIT) -> Ended:
        process = subprocess.Popen(
            [*self.inside, *STRICT, command],
            cwd=self.home,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        code: int | None = None
        try:
            output, _ = process.communicate(timeout=limit)
            code = process.returncode
        except subprocess.TimeoutExpired:
            _kill(process)
            output, _ = process.communicate()
        finally:
            _kill(process)
        return Ended(code, tuple(output.decode(errors="replace").splitlines()))

    def _environment(self) -> dict[str, str]:
        own = {"KUBECONFIG": str(self.kubeconfig)} if self.kubeconfig else {}
        return {
            "HOME": str(self.home),
            "PATH": f"{self.home / 'bin'}:{SYSTEM}",
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            **own,
        }


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Ends what the command left running, such as a port-forward."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
