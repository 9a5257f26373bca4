"""The operator on a machine with a jumping clock: each reading is up to a day off.

python -m support.faults.jumping_clock SEED FLAGS…
"""

from __future__ import annotations

import random
import sys
from datetime import datetime, timedelta
from functools import partial

from slipway.operator.reconciling.main import operate
from slipway.operator.reconciling.operator import utc_now
from slipway.process import lifecycle

from support.programs.settings import operator_settings


def run(seed: str, *flags: str) -> None:
    chance = random.Random(seed)

    def now() -> datetime:
        return utc_now() + timedelta(hours=chance.uniform(-24, 24))

    settings = operator_settings(flags)
    work = partial(operate, settings, now=now)
    lifecycle.run(work, log_level=settings.log_level, log_format=settings.log_format)


if __name__ == "__main__":
    run(*sys.argv[1:])
