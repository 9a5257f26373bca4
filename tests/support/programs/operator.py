"""The operator as a process on this machine: its log, its metrics, and how it ends.

with operator.running(cluster.kubeconfig) as slipway:   # it answers, its caches are filled, and it leads
    slipway.counted("slipway_api_calls_total", verb="apply")
    slipway.says("Service repaired", within=5)
    slipway.send(signal.SIGKILL)
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Self
from urllib.error import HTTPError
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

PROGRAM = (Path(sys.executable).with_name("slipway-operator"),)
NAMESPACE = "slipway-system"
"""The namespace of the Lease of all tests' operators, so that no two of them ever write to one cluster."""

WRITES = ("apply", "apply-status", "scale", "create", "replace", "delete")
EXITS_WITHIN = 10.0
LINES_SHOWN = 60


@dataclass
class Log:
    """The lines that a program writes."""

    lines: list[str] = field(default_factory=list)
    _came: threading.Condition = field(default_factory=threading.Condition)
    has_ended: bool = False

    def follow(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                with self._came:
                    self.lines.append(line.rstrip("\n"))
                    self._came.notify_all()
        with self._came:
            self.has_ended = True
            self._came.notify_all()

    def until(self, text: str, *, within: float, after: int = 0) -> str:
        """Waits for a line with this text, after the first `after` lines; returns it."""

        def found() -> str | None:
            return next((line for line in self.lines[after:] if text in line), None)

        with self._came:
            self._came.wait_for(lambda: found() or self.has_ended, timeout=within)
            line = found()
        assert line, (
            f"{text!r} was not logged within {within:.0f} s{' (the program ended)' if self.has_ended else ''}:\n{self}"
        )
        return line

    def __str__(self) -> str:
        return "\n".join(self.lines[-LINES_SHOWN:])


@dataclass
class Operator:
    """One replica. Its methods block briefly; a test whose event loop must go on calls them in a thread."""

    command: Sequence[str | Path]
    process: subprocess.Popen[str]
    log: Log
    port: int = 0
    _follower: threading.Thread | None = None

    @classmethod
    def start(cls, command: Sequence[str | Path]) -> Self:
        slipway = cls(command, _launched(command), Log())
        slipway._follow()
        return slipway

    def restart(self, *, leads: bool = True) -> None:
        """Starts a new process after the old one has ended, and waits until it leads, or is ready to. The log
        continues."""
        before = len(self.log.lines)
        self.process = _launched(self.command)
        self._follow()
        self.answers(after=before)
        self.is_ready()
        if leads:
            self.leads(after=before)

    def _follow(self) -> None:
        assert self.process.stderr
        self.log.has_ended = False
        self._follower = threading.Thread(target=self.log.follow, args=[self.process.stderr], daemon=True)
        self._follower.start()

    def report_sections(self) -> list[tuple[str, str]]:
        """Returns what a failed test shows of it."""
        return [("log of the operator", str(self.log))]

    # --- its log and its port ---------------------------------------------------------------------------------------

    def says(self, text: str, *, within: float, after: int = 0) -> str:
        """Waits for a line of its log; `after` skips so many lines (`len(log.lines)` at an earlier moment)."""
        return self.log.until(text, within=within, after=after)

    def answers(self, *, within: float = 60, after: int = 0) -> None:
        self.port = int(self.says("answers on port ", within=within, after=after).rpartition(" ")[2])

    def is_ready(self, *, within: float = 30) -> None:
        """Waits until its caches are filled."""
        self.until(lambda: self.get("/readyz")[0] == 200, within=within)

    def leads(self, *, within: float = 30, after: int = 0) -> None:
        self.says(" leads", within=within, after=after)

    def get(self, path: str) -> tuple[int, str]:
        """Returns the status and the text of /livez, /readyz or /metrics."""
        try:
            with urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as error:
            with error:
                return error.code, error.read().decode()

    # --- its metrics ------------------------------------------------------------------------------------------------

    def samples(self, name: str, **labels: str) -> list[Sample]:
        """Returns the samples of a metric that have all these labels."""
        families = text_string_to_metric_families(self.get("/metrics")[1])
        found = (sample for family in families for sample in family.samples if sample.name == name)
        return [sample for sample in found if labels.items() <= sample.labels.items()]

    def counted(self, name: str, **labels: str) -> float:
        return sum(sample.value for sample in self.samples(name, **labels))

    def writes(self) -> dict[tuple[str, str], float]:
        """Counts its writes by verb and kind, without those of its Lease and without those that were rejected."""
        counted: dict[tuple[str, str], float] = {}
        for sample in self.samples("slipway_api_calls_total"):
            verb, kind = sample.labels["verb"], sample.labels["kind"]
            if verb in WRITES and kind != "Lease" and sample.labels["code"].startswith("2"):
                counted[verb, kind] = counted.get((verb, kind), 0) + sample.value
        return counted

    def reconciles(self) -> float:
        """Returns how many reconciles it has made."""
        return self.counted("slipway_reconciles_total")

    def until(self, holds: Callable[[], object], *, within: float = 20) -> None:
        """Polls, since a change of metrics sends no event."""
        give_up_at = time.monotonic() + within
        while not holds():
            assert time.monotonic() < give_up_at, f"the condition did not hold within {within:.0f} s:\n{self.log}"
            time.sleep(0.05)

    # --- how it ends ------------------------------------------------------------------------------------------------

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ended(self, *, within: float = EXITS_WITHIN) -> int:
        """Waits until it has ended; returns its exit code."""
        try:
            return self.process.wait(within)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the operator did not end within {within:.0f} s:\n{self.log}") from None

    def end(self) -> int:
        """Ends it as Kubernetes ends a pod: SIGTERM, then SIGKILL."""
        if self.process.poll() is None:
            self.send(signal.SIGCONT)  # a suspended process receives no other signal
            self.send(signal.SIGTERM)
        try:
            return self.ended()
        finally:
            self.process.kill()
            self.process.wait()
            assert self._follower
            self._follower.join()  # the pipe is closed then


def _launched(command: Sequence[str | Path]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


@contextmanager
def started(
    kubeconfig: Path | None,
    *flags: str,
    namespace: str = NAMESPACE,
    program: Sequence[str | Path] = PROGRAM,
) -> Iterator[Operator]:
    """Runs an operator that answers on its port; its caches may not be filled yet. At the end, it must exit with 0."""
    where = [f"--kubeconfig={kubeconfig}"] if kubeconfig else []
    slipway = Operator.start(
        [*program, *where, f"--namespace={namespace}", "--management-port=0", "--resync=1h", *flags]
    )
    try:
        slipway.answers()
        yield slipway
    finally:
        was_there = slipway.process.poll() is None
        code = slipway.end()
    assert code == 0 or not was_there, f"the operator ended with {code}:\n{slipway.log}"


@contextmanager
def running(
    kubeconfig: Path | None,
    *flags: str,
    namespace: str = NAMESPACE,
    program: Sequence[str | Path] = PROGRAM,
) -> Iterator[Operator]:
    """Runs an operator that leads and has filled its caches. The namespace of its Lease must exist."""
    with started(kubeconfig, *flags, namespace=namespace, program=program) as slipway:
        slipway.is_ready()
        slipway.leads()
        yield slipway
