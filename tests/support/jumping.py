"""The operator on a machine whose clock jumps: each time it asks what time it is, it is up to a day off.

python -m support.jumping SEED FLAGS…
"""

from __future__ import annotations

import asyncio
import random
import sys
from datetime import datetime, timedelta

from slipway.process import logs
from slipway.reconciling.main import operate
from slipway.reconciling.operator import utc_now
from slipway.reconciling.options import parse


def run(seed: str, *flags: str) -> None:
    chance = random.Random(seed)

    def now() -> datetime:
        return utc_now() + timedelta(hours=chance.uniform(-24, 24))

    options = parse(flags)
    logs.set_up(level=options.log_level, format_=options.log_format)
    asyncio.run(operate(options, now=now))


if __name__ == "__main__":
    run(*sys.argv[1:])
