"""`slipway-runtime warm vllm` with a real vLLM on CPUs: one start that compiles, publishes and ends, as a process."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from support.ports import free_port
from support.programs import vllm_environment
from support.programs.processes import kill_all

LIMIT = 1200.0  # seconds, on a busy machine
READY = re.compile(r"Ready after ([\d.]+) s \(.*?\), compile cache (\w+)")
NEW = re.compile(r"but (\d+) files that it lacked were compiled, such as (.*?)\. ")


@dataclass(frozen=True)
class Warmed:
    """How it ended."""

    code: int
    log: str

    @property
    def state(self) -> str:
        """What became of the compile cache, at the moment when the engine was ready."""
        found = READY.search(self.log)
        return found[2] if found else ""

    @property
    def seconds(self) -> float:
        found = READY.search(self.log)
        return float(found[1]) if found else 0.0

    @property
    def compiled(self) -> str:
        """The names of files that were compiled although an entry was read."""
        found = NEW.search(self.log)
        return found[2] if found else ""

    @property
    def reasons(self) -> str:
        return "\n".join(re.findall(r"slipway-runtime: Compile cache: (.*)", self.log))


@dataclass(frozen=True, kw_only=True)
class Warming:
    """A pod of which each start has a folder of its own, as if it was on a node of its own."""

    python: Path
    model: Path
    store: Path
    folder: Path
    variables: Mapping[str, str] = field(default_factory=dict)
    prefix: tuple[str, ...] = ()  # a command that runs it

    def run(self, *options: str, flags: tuple[str, ...] = ()) -> Warmed:
        process, log = self.start(*options, flags=flags)
        try:
            code = process.wait(LIMIT)
        finally:
            end(process)
        return Warmed(code, log.read_text(errors="replace"))

    def killed(self, when: Callable[[], bool], *options: str) -> Warmed:
        """Kills it with everything that it has started, at the moment when a condition holds."""
        process, log = self.start(*options)
        until = time.monotonic() + LIMIT
        while process.poll() is None and not when() and time.monotonic() < until:
            time.sleep(0.001)
        end(process)
        return Warmed(process.wait(), log.read_text(errors="replace"))

    def start(self, *options: str, flags: tuple[str, ...] = ()) -> tuple[subprocess.Popen[bytes], Path]:
        self.folder.mkdir(parents=True, exist_ok=True)
        log = self.folder / f"log-{len(list(self.folder.glob('log-*')))}"
        allowed = [f"--allow={flag.partition('=')[0].lstrip('-')}" for flag in flags]
        with log.open("wb") as file:
            process = subprocess.Popen(
                [
                    *(*self.prefix, str(self.python), "-m", "slipway_runtime", "warm", "vllm"),
                    *(f"--model={self.model}", "--device=cpu", "--host=127.0.0.1", f"--cache={self.store}"),
                    *(f"--port={free_port()}", f"--management-port={free_port()}"),
                    *(f"--termination-log={self.folder}/termination", *allowed, *options, "--", *flags),
                ],
                env={**vllm_environment.environment(self.python), **self._own(), **self.variables},
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return process, log

    def _own(self) -> dict[str, str]:
        """Returns variables by which nothing but the store is shared with other starts."""
        return {"HOME": str(self.folder), "VLLM_CACHE_ROOT": str(self.folder / "vllm")}


def end(process: subprocess.Popen[bytes]) -> None:
    """Leaves nothing of it, whatever it does."""
    if process.poll() is None:
        kill_all(process.pid)
        process.wait()
