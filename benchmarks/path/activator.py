"""The activator's data path alone, with one deployment, as a separate program.

It prints its port. A line `ready PORT` on its input makes a replica on that port ready; an empty line none.
"""

from __future__ import annotations

import gc
from dataclasses import replace

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

BENCH = ModelKey("bench", "llama")
LIMITS = HoldLimits(max_requests=1024, timeout=600.0)


async def main() -> None:
    deployments = ModelStates()
    known = ModelState(key=BENCH, port=0, limits=LIMITS)
    deployments.update(known)
    async with serve(deployments, Demand(), limits=GlobalLimits(), host="127.0.0.1", grace=0) as listeners:
        print(await listeners.port(BENCH), flush=True)
        async for words in lines():
            replicas = tuple(Replica("127.0.0.1", int(port), 4096) for port in words[1:])
            deployments.update(replace(known, replicas=replicas))
            print("told", flush=True)


if __name__ == "__main__":
    gc.freeze()  # as the program itself does
    garbage_collection.collect_young_objects_only()
    uvloop.run(main())
