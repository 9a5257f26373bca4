"""How long the model of the story idles: the value of --idle-minutes."""

from __future__ import annotations

import argparse
import math

LEAST_IDLE = 10
"""Minutes. The first five don't count, and what is left must have some evaluations of the rules."""


def idle_minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = math.nan
    if not math.isfinite(minutes) or minutes < LEAST_IDLE:
        raise argparse.ArgumentTypeError(
            f"{text} is too short or not a number: give {LEAST_IDLE} minutes or more, since the first 5 don't count"
        )
    return minutes
