"""The operator on a machine whose clock jumps: each time it asks what time it is, it is up to a day off.

python -m support.jumping SEED FLAGS…
"""

from __future__ import annotations

import random
import sys
from datetime import datetime, timedelta

from slipway.operator.reconciling.main import operate
from slipway.operator.reconciling.operator import utc_now
from slipway.operator.reconciling.options import parse
from slipway.process import running


def run(seed: str, *flags: str) -> None:
    chance = random.Random(seed)

    def now() -> datetime:
        return utc_now() + timedelta(hours=chance.uniform(-24, 24))

    options = parse(flags)
    running.run(operate(options, now=now), log_level=options.log_level, log_format=options.log_format)


if __name__ == "__main__":
    run(*sys.argv[1:])
