"""The activator's data path alone, with one deployment, as a separate program.

It prints its port. A line `ready PORT` on its input makes a replica on that port ready; an empty line none.
"""

from __future__ import annotations

import gc
from dataclasses import replace

import uvloop
from slipway.activator import garbage
from slipway.activator.demand import Demand, Deployment
from slipway.activator.deployments import Deployments, Known
from slipway.activator.doors import serve
from slipway.activator.holding import House, Limits
from slipway.activator.picking import Replica
from support.told import lines

BENCH = Deployment("bench", "llama")
LIMITS = Limits(max_requests=1024, timeout=600.0)


async def main() -> None:
    deployments = Deployments()
    known = Known(deployment=BENCH, port=0, limits=LIMITS)
    deployments.tell(known)
    async with serve(deployments, Demand(), house=House(), host="127.0.0.1", grace=0) as doors:
        print(await doors.number(BENCH), flush=True)
        async for words in lines():
            replicas = tuple(Replica("127.0.0.1", int(port), 4096) for port in words[1:])
            deployments.tell(replace(known, replicas=replicas))
            print("told", flush=True)


if __name__ == "__main__":
    gc.freeze()  # as the program itself does
    garbage.look_among_the_young_alone()
    uvloop.run(main())
