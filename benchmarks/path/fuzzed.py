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

from slipway.activator import garbage_collection
from slipway.activator.http1.channel import Channel
from slipway.activator.proxy.admission import GlobalLimits
from slipway.activator.proxy.config import ProxyConfig
from slipway.activator.proxy.listeners import serve
from slipway.activator.shared.demand import Demand
from slipway.activator.shared.hold_limits import HoldLimits
from slipway.activator.shared.model_state import ModelState, ModelStates
from slipway.activator.shared.replica import Replica
from slipway.activator.tracking.engine_metrics import MetricsReading
from slipway.activator.tracking.metrics_poller import MetricsPoller
from slipway.activator.tracking.poller import PollTarget
from slipway.activator.tracking.readiness_poller import ReadinessPoller
from slipway.api.model_key import ModelKey
from support.programs.stdin import lines

from path.activator import BENCH
from path.stalls import Loop

LIMITS = HoldLimits(max_requests=256, max_bytes=256 << 20, timeout=20.0, heartbeat=0.2)


def _rss() -> float:
    """In MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4 / 1024


async def main(loop: Loop) -> None:
    deployments, global_limits, stalls = ModelStates(), GlobalLimits(), loop.stalls
    known = ModelState(key=BENCH, port=0, limits=LIMITS)
    deployments.update(known)
    scraping, greeting = MetricsPoller(_hear), ReadinessPoller(lambda target: None)
    ticking = asyncio.create_task(stalls.tick())
    looking = asyncio.create_task(garbage_collection.collect_when_quiet(lambda: global_limits.counters.connections))
    config = ProxyConfig(linger=0.5, head_timeout=3.0, body_timeout=5.0)
    async with serve(
        deployments, Demand(), limits=global_limits, config=config, host="127.0.0.1", grace=0
    ) as listeners:
        print(await listeners.port(BENCH), flush=True)
        async for words in lines():
            if words == ["worst"]:
                print(json.dumps({**stalls.told(), "rss": _rss()}), flush=True)
                continue
            ports = [int(port) for port in words[1:]]
            deployments.update(replace(known, replicas=tuple(Replica("127.0.0.1", port, 64) for port in ports)))
            targets = [PollTarget(BENCH, "uid", "127.0.0.1", port) for port in ports]
            scraping.follow(BENCH, targets)
            greeting.follow(BENCH, targets)
            print("told", flush=True)
        ticking.cancel()
        looking.cancel()
        await scraping.close()
        await greeting.close()


def _hear(deployment: ModelKey, uid: str, reading: MetricsReading) -> None:
    """What is read is of no use here."""


if __name__ == "__main__":
    gc.freeze()  # as the activator does
    garbage_collection.collect_young_objects_only()
    with contextlib.closing(Loop()) as loop:
        loop.watch(Channel, "connection_made", "get_buffer", "buffer_updated", "eof_received", "connection_lost")
        loop.watch(Channel, "pause_writing", "resume_writing")
        asyncio.set_event_loop(loop)
        loop.run_until_complete(main(loop))
