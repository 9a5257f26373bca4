"""The operator as a separate process: started as in a pod, measured from outside, ended as Kubernetes ends it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

PROGRAM = Path(sys.executable).parent / "slipway-operator"
READS = ("get", "list", "discover")
LEASE = "Lease"
SAMPLE_EVERY = 1.0  # seconds
READY_WITHIN, ENDED_WITHIN = 120.0, 20.0

Calls = Counter[tuple[str, str]]


class OperatorFailedError(Exception):
    """The benchmark can't go on; the message holds the end of the operator's log."""


@dataclass(frozen=True)
class Reading:
    """The operator's own metrics at one moment, as sums since its start."""

    at: float = 0.0
    calls: Calls = field(default_factory=Calls)  # by verb and kind
    refused: Calls = field(default_factory=Calls)  # by code and kind, from 400 on
    reconciles: Counter[str] = field(default_factory=Counter)  # by how they went
    queue_depth: float = 0.0
    queue_oldest: float = 0.0
    cpu_seconds: float = 0.0
    rss: int = 0  # bytes
    rss_peak: int = 0

    def writes(self) -> Calls:
        """Without the Lease, which is renewed every few seconds however many deployments there are."""
        return Calls({call: n for call, n in self.calls.items() if call[0] not in READS and call[1] != LEASE})

    def reads(self) -> Calls:
        return Calls({call: n for call, n in self.calls.items() if call[0] in READS and call[1] != LEASE})


class OperatorProcess:
    """`oldest` is the longest that an object has waited for a worker since it was last reset."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, session: aiohttp.ClientSession) -> None:
        self._process, self._url, self._session = process, f"http://127.0.0.1:{port}", session
        self.oldest = 0.0

    @property
    def pid(self) -> int:
        return self._process.pid

    async def read(self) -> Reading:
        async with self._session.get(f"{self._url}/metrics") as response:
            reading = reading_of(await response.text(), self.pid)
        self.oldest = max(self.oldest, reading.queue_oldest)
        return reading

    async def is_ready(self) -> bool:
        try:
            async with self._session.get(f"{self._url}/readyz") as response:
                return response.status == 200
        except aiohttp.ClientConnectionError:
            return False

    async def keep_sampling(self) -> None:
        while True:
            await asyncio.sleep(SAMPLE_EVERY)
            await self.read()


@asynccontextmanager
async def operator(
    kubeconfig: Path, *, namespace: str, log: Path, resync: str, ports: int
) -> AsyncIterator[OperatorProcess]:
    """An operator that is ready when the block starts. `ports`: how many of the activator's one namespace may have."""
    port = _free_port()
    arguments = [f"--kubeconfig={kubeconfig}", f"--namespace={namespace}", f"--management-port={port}"]
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *(str(PROGRAM), *arguments, f"--resync={resync}", f"--ports-per-namespace={ports}"),
            stdout=output,
            stderr=output,
        )
    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        running = OperatorProcess(process, port, session)
        try:
            await _until_ready(running, process, log)
            sampling = asyncio.create_task(running.keep_sampling())
            try:
                yield running
            finally:
                sampling.cancel()
        finally:
            await _end(process)


async def _until_ready(running: OperatorProcess, process: asyncio.subprocess.Process, log: Path) -> None:
    deadline = time.monotonic() + READY_WITHIN
    while not await running.is_ready():
        if process.returncode is not None or time.monotonic() > deadline:
            told = await asyncio.to_thread(log.read_text)
            raise OperatorFailedError(f"the operator is not ready:\n{told[-4000:]}")
        await asyncio.sleep(0.1)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(ENDED_WITHIN):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# --- reading ---------------------------------------------------------------------------------------------------------


def reading_of(metrics: str, pid: int) -> Reading:
    calls, refused, reconciles = Calls(), Calls(), Counter[str]()
    gauges: dict[str, float] = {}
    for family in text_string_to_metric_families(metrics):
        for name, labels, value, *_ in family.samples:
            match name:
                case "slipway_api_calls_total":
                    calls[labels["verb"], labels["kind"]] += int(value)
                    if labels["code"] >= "400":  # "none", where no answer came, as well
                        refused[labels["code"], labels["kind"]] += int(value)
                case "slipway_reconciles_total":
                    reconciles[labels["result"]] += int(value)
                case "slipway_queue_depth" | "slipway_queue_oldest_seconds":
                    gauges[name] = value
    return Reading(
        at=time.monotonic(),
        calls=calls,
        refused=refused,
        reconciles=reconciles,
        queue_depth=gauges["slipway_queue_depth"],
        queue_oldest=gauges["slipway_queue_oldest_seconds"],
        cpu_seconds=cpu_seconds(pid),
        rss=_memory(pid, "VmRSS"),
        rss_peak=_memory(pid, "VmHWM"),
    )


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory(pid: int, what: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{what}:"))
