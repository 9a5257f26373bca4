"""The activator's data path with many sleeping deployments, each of a namespace of its own, as a program of its own.

It prints their ports. A line `ready PORT` on its input makes a replica on that port ready for all of them; `accounted`
asks how many bytes the activator believes to use.
"""

from __future__ import annotations

import asyncio
import resource
import sys
from collections.abc import AsyncIterator
from dataclasses import replace

import uvloop
from slipway.activator.demand import Demand, Deployment
from slipway.activator.deployments import Deployments, Known
from slipway.activator.doors import serve
from slipway.activator.holding import House, Limits
from slipway.activator.picking import Replica

DEPLOYMENTS = 16
LIMITS = Limits(max_requests=100_000, max_bytes=16 << 30, timeout=600.0)


async def main(max_bytes: int) -> None:
    house, deployments = House(max_bytes=max_bytes) if max_bytes else House(), Deployments()
    every = [
        Known(deployment=Deployment(f"bench-{each}", "llama"), port=0, limits=LIMITS) for each in range(DEPLOYMENTS)
    ]
    for known in every:
        deployments.tell(known)
    async with serve(deployments, Demand(), house=house, host="127.0.0.1", grace=0) as doors:
        print(*[await doors.number(known.deployment) for known in every], flush=True)
        async for words in _lines():
            if words[0] == "ready":
                for known in every:
                    deployments.tell(replace(known, replicas=(Replica("127.0.0.1", int(words[1]), 4096),)))
            print(house.bytes.taken, house.requests.taken, flush=True)


async def _lines() -> AsyncIterator[list[str]]:
    """The words of each line of the input."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        yield line.decode().split()


if __name__ == "__main__":
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    uvloop.run(main(int(sys.argv[1])))
