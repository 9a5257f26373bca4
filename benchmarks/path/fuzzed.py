"""The activator's data path as a separate program that measures what blocks its event loop.

It prints its port. A line `ready PORT` makes a pod on that port ready, `ready` none; `worst` prints the longest stalls
since the last time it was asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
from dataclasses import replace
from pathlib import Path

from slipway.activator import garbage
from slipway.activator.activity import Reading
from slipway.activator.asking import Target
from slipway.activator.demand import Demand, Deployment
from slipway.activator.deployments import Deployments, Known
from slipway.activator.doors import serve
from slipway.activator.greeting import Greeting
from slipway.activator.holding import House, Limits
from slipway.activator.http1.channel import Channel
from slipway.activator.options import Options
from slipway.activator.picking import Replica
from slipway.activator.scraping import Scraping
from support.told import lines

from path.activator import BENCH
from path.stalls import Loop

LIMITS = Limits(max_requests=256, max_bytes=256 << 20, timeout=20.0, heartbeat=0.2)


def _rss() -> float:
    """In MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4 / 1024


async def main(loop: Loop) -> None:
    deployments, house, stalls = Deployments(), House(), loop.stalls
    known = Known(deployment=BENCH, port=0, limits=LIMITS)
    deployments.tell(known)
    scraping, greeting = Scraping(_hear), Greeting(lambda target: None)
    ticking = asyncio.create_task(stalls.tick())
    looking = asyncio.create_task(garbage.keep_looking(lambda: house.tally.connections))
    options = Options(linger=0.5, head_timeout=3.0, body_timeout=5.0)
    async with serve(deployments, Demand(), house=house, options=options, host="127.0.0.1", grace=0) as doors:
        print(await doors.number(BENCH), flush=True)
        async for words in lines():
            if words == ["worst"]:
                print(json.dumps({**stalls.told(), "rss": _rss()}), flush=True)
                continue
            ports = [int(port) for port in words[1:]]
            deployments.tell(replace(known, replicas=tuple(Replica("127.0.0.1", port, 64) for port in ports)))
            targets = [Target(BENCH, "uid", "127.0.0.1", port) for port in ports]
            scraping.follow(BENCH, targets)
            greeting.follow(BENCH, targets)
            print("told", flush=True)
        ticking.cancel()
        looking.cancel()
        await scraping.close()
        await greeting.close()


def _hear(deployment: Deployment, uid: str, reading: Reading) -> None:
    """What is read is of no use here."""


if __name__ == "__main__":
    gc.freeze()  # as the activator does
    garbage.look_among_the_young_alone()
    with contextlib.closing(Loop()) as loop:
        loop.watch(Channel, "connection_made", "get_buffer", "buffer_updated", "eof_received", "connection_lost")
        loop.watch(Channel, "pause_writing", "resume_writing")
        asyncio.set_event_loop(loop)
        loop.run_until_complete(main(loop))
