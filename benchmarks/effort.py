"""What an answer cost vLLM: the time of its two main threads, and the steps that the engine core made."""

from __future__ import annotations

import http.client
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from machine import family

STEPS = "vllm:iteration_tokens_total_count"
CORE, OF_THE_ENGINE = b"VLLM::EngineCore", b"VLLM::"


@dataclass(frozen=True)
class Effort:
    """Of one load. What takes nearly all of the time is what limits the rate."""

    core: float  # the share of the time in which the main thread was on a processor
    server: float
    server_per_token: float  # µs of a processor
    tokens_per_step: float

    def __str__(self) -> str:
        shares = f"core {self.core:.0%}, server {self.server:.0%} ({self.server_per_token:.0f} µs a token)"
        return f"{shares}, {self.tokens_per_step:.1f} tokens a step"


@dataclass(frozen=True)
class SoFar:
    core: float  # seconds
    server: float
    steps: float

    def since(self, before: SoFar, seconds: float, tokens: int) -> Effort:
        server, steps = self.server - before.server, self.steps - before.steps
        return Effort((self.core - before.core) / seconds, server / seconds, server / tokens * 1e6, tokens / steps)


@dataclass(frozen=True)
class Server:
    pid: int
    metrics: int  # the port

    def so_far(self) -> SoFar:
        members = family(self.pid)
        [core] = [pid for pid in members if _name(pid).startswith(CORE)]
        return SoFar(_of_main_thread(core), _of_main_thread(_server(members)), sum(self._steps()))

    def keep_apart(self, processor: int, others: set[int]) -> None:
        """The server's main thread on that processor, and all else on others: how busy they are is no matter to it."""
        members = family(self.pid)
        server = _server(members)
        for pid in members:
            for thread in Path(f"/proc/{pid}/task").iterdir():
                os.sched_setaffinity(int(thread.name), {processor} if int(thread.name) == server else others)

    def _steps(self) -> Iterator[float]:
        connection = http.client.HTTPConnection("127.0.0.1", self.metrics, timeout=30)
        connection.request("GET", "/metrics")
        for line in connection.getresponse().read().decode().splitlines():
            if line.startswith(STEPS):
                yield float(line.rpartition(" ")[2])
        connection.close()


def _server(members: set[int]) -> int:
    """Whatever has worked most of what is no part of the engine."""
    return max((pid for pid in members if not _name(pid).startswith(OF_THE_ENGINE)), key=_of_main_thread)


def _name(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def _of_main_thread(pid: int) -> float:
    return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[0]) / 1e9
