"""The activator's data path as a program of its own that watches how long its event loop answers nobody.

It prints its port. A line `ready PORT` makes a pod on that port ready, `ready` none; `worst` prints the longest stalls
since the last time it was asked.
"""

from __future__ import annotations

import asyncio
import gc
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path

import uvloop
from slipway.activator.activity import Reading
from slipway.activator.asking import Target
from slipway.activator.demand import Demand, Deployment
from slipway.activator.deployments import Deployments, Known
from slipway.activator.doors import serve
from slipway.activator.greeting import Greeting
from slipway.activator.holding import House, Limits
from slipway.activator.options import Options
from slipway.activator.picking import Replica
from slipway.activator.scraping import Scraping

from path.activator import BENCH, lines

TICK = 0.001
LIMITS = Limits(max_requests=256, max_bytes=256 << 20, timeout=20.0, heartbeat=0.2)


@dataclass
class Stalls:
    """Between two ticks, in milliseconds: by the clock, and of processor time, which nobody else can take."""

    clock: float = 0.0
    processor: float = 0.0

    async def watch(self) -> None:
        while True:
            clock, processor = time.monotonic(), time.thread_time()
            await asyncio.sleep(TICK)
            self.clock = max(self.clock, (time.monotonic() - clock - TICK) * 1000)
            self.processor = max(self.processor, (time.thread_time() - processor) * 1000)

    def told(self) -> str:
        said = {"clock": self.clock, "processor": self.processor, "rss": _rss()}
        self.clock = self.processor = 0.0
        return json.dumps(said)


def _rss() -> float:
    """In MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4 / 1024


async def main() -> None:
    deployments, stalls = Deployments(), Stalls()
    known = Known(deployment=BENCH, port=0, limits=LIMITS)
    deployments.tell(known)
    scraping, greeting = Scraping(_hear), Greeting(lambda target: None)
    watching = asyncio.create_task(stalls.watch())
    options = Options(linger=0.5, head_timeout=3.0, body_timeout=5.0)
    async with serve(deployments, Demand(), house=House(), options=options, host="127.0.0.1", grace=0) as doors:
        print(await doors.number(BENCH), flush=True)
        async for words in lines():
            if words == ["worst"]:
                print(stalls.told(), flush=True)
                continue
            ports = [int(port) for port in words[1:]]
            deployments.tell(replace(known, replicas=tuple(Replica("127.0.0.1", port, 64) for port in ports)))
            targets = [Target(BENCH, "uid", "127.0.0.1", port) for port in ports]
            scraping.follow(BENCH, targets)
            greeting.follow(BENCH, targets)
            print("told", flush=True)
        watching.cancel()
        await scraping.close()
        await greeting.close()


def _hear(deployment: Deployment, uid: str, reading: Reading) -> None:
    """What is read is of no use here."""


if __name__ == "__main__":
    gc.freeze()  # as the activator does
    uvloop.run(main())
