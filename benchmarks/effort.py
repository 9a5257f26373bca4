"""What an answer cost vLLM: the time of its two main threads, and the steps that the engine core made."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from machine import family

STEPS = "vllm:iteration_tokens_total_count"
CORE = b"VLLM::EngineCore"


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
        """The API server is whatever has worked most, besides the core."""
        worked = {pid: _of_main_thread(pid) for pid in family(self.pid)}
        [core] = [worked.pop(pid) for pid in list(worked) if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(CORE)]
        return SoFar(core, max(worked.values()), sum(self._steps()))

    def _steps(self) -> Iterator[float]:
        connection = http.client.HTTPConnection("127.0.0.1", self.metrics, timeout=30)
        connection.request("GET", "/metrics")
        for line in connection.getresponse().read().decode().splitlines():
            if line.startswith(STEPS):
                yield float(line.rpartition(" ")[2])
        connection.close()


def _of_main_thread(pid: int) -> float:
    return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[0]) / 1e9
