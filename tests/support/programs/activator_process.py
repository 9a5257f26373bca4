"""The activator's data path as a process, with models at zero.

`python -m support.programs.activator_process MAX_BYTES` prints their ports; each model is in a namespace of its own. A
line `ready PORT` on its input makes a replica on that port ready for all of them. It answers each line with the bytes
that it accounts for, and with the number of requests that it holds.
"""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import uvloop
from slipway.activator import garbage_collection
from slipway.activator.proxy.admission import GlobalLimits
from slipway.activator.proxy.listeners import serve
from slipway.activator.shared.demand import Demand
from slipway.activator.shared.hold_limits import HoldLimits
from slipway.activator.shared.model_state import ModelState, ModelStates
from slipway.activator.shared.replica import Replica
from slipway.api.model_key import ModelKey

from support.programs.stdin import lines

DEPLOYMENTS = 16
LIMITS = HoldLimits(max_requests=100_000, max_bytes=16 << 30, timeout=600.0)
TESTS = Path(__file__).parents[2]


@dataclass
class ActivatorProcess:
    """The process, for the test that fills it."""

    process: asyncio.subprocess.Process
    ports: list[int]

    async def command(self, line: str) -> tuple[int, int]:
        """Returns the bytes that it accounts for, and how many requests it holds."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(line.encode() + b"\n")
        taken, held = (await self.process.stdout.readline()).split()
        return int(taken), int(held)

    async def accounted(self) -> tuple[int, int]:
        return await self.command("accounted")

    async def ready(self, replica: int) -> None:
        await self.command(f"ready {replica}")

    @property
    def memory(self) -> int:
        """Its memory in bytes, now."""
        return self._status("VmRSS")

    @property
    def peak(self) -> int:
        """The peak of its memory: the kernel's own number, so that nothing between two readings is missed."""
        return self._status("VmHWM")

    def _status(self, what: str) -> int:
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{what}:")) * 1024


@asynccontextmanager
async def started(max_bytes: int) -> AsyncIterator[ActivatorProcess]:
    """Starts it; `max_bytes` is as `--max-bytes` of the activator, and 0 means the default."""
    pipe, environment = asyncio.subprocess.PIPE, os.environ | {"PYTHONPATH": str(TESTS)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __name__, str(max_bytes), stdin=pipe, stdout=pipe, env=environment
    )
    try:
        assert process.stdout
        yield ActivatorProcess(process, [int(port) for port in (await process.stdout.readline()).split()])
    finally:
        process.kill()
        await process.wait()


async def main(max_bytes: int) -> None:
    global_limits, deployments = GlobalLimits(max_bytes=max_bytes) if max_bytes else GlobalLimits(), ModelStates()
    every = [ModelState(key=ModelKey(f"bench-{each}", "llama"), port=0, limits=LIMITS) for each in range(DEPLOYMENTS)]
    for known in every:
        deployments.update(known)
    async with serve(deployments, Demand(), limits=global_limits, host="127.0.0.1", grace=0) as listeners:
        _say(*[await listeners.port(known.key) for known in every])
        async for words in lines():
            if words[0] == "ready":
                for known in every:
                    deployments.update(replace(known, replicas=(Replica("127.0.0.1", int(words[1]), 4096),)))
            _say(global_limits.bytes.taken, global_limits.requests.taken)


def _say(*numbers: int) -> None:
    sys.stdout.write(" ".join(map(str, numbers)) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    gc.freeze()  # as the program itself does
    garbage_collection.collect_young_objects_only()
    uvloop.run(main(int(sys.argv[1])))
