"""Why no other profile, in a few lines: what comes closest first, and many profiles with one reason in one line. Pure.

Each LLMDeployment has these lines in its status, and the operator keeps them in memory: with a line for each of 59
profiles, they were two thirds of a plan.
"""

from __future__ import annotations

from collections.abc import Sequence

from slipway.operator.planning.choosing import Choice
from slipway.operator.planning.fitting import Misfit
from slipway.operator.planning.words import gib, listed

MOST_NEAR = 12  # profiles with a line of their own that fit, too, and as many that almost do
MOST_NAMED = 16  # profiles in one line
MOST_REASONS = 24

Line = tuple[str, str]  # the profile, and what is wrong with it


def rejected(choice: Choice, others: Sequence[Line]) -> tuple[str, ...]:
    """`others`: the profiles that fit, too, in the order in which they would be chosen."""
    misfits = sorted(choice.misfits, key=lambda each: (not _way_out(choice, each), each.missing))
    close = [(each.candidate.name, choice.objections[each.candidate.name]) for each in misfits]
    least = min((each.missing for each in misfits[MOST_NEAR:]), default=0)
    names = {name for name, _ in close}
    ruled_out = [line for line in choice.objections.items() if line[0] not in names]
    nearest = (*_nearest(others, "fits, too"), *_nearest(close, f"needs at least {gib(least)} more"))
    return (*nearest, *_ruled_out(ruled_out))


def _way_out(choice: Choice, misfit: Misfit) -> str:
    """A change of the spec that is enough there, which makes it closer than all where none is."""
    return choice.objections[misfit.candidate.name].partition(": ")[2]


def _nearest(lines: Sequence[Line], reason_of_rest: str) -> tuple[str, ...]:
    """One line for each, the rest in one line."""
    rest = [(name, reason_of_rest) for name, _ in lines[MOST_NEAR:]]
    return tuple(_line(names, reason) for reason, names in _by_reason([*lines[:MOST_NEAR], *rest]).items())


def _ruled_out(lines: Sequence[Line]) -> tuple[str, ...]:
    """Reasons of a single profile say more about it, so they come first."""
    in_order = sorted(_by_reason(lines).items(), key=lambda each: len(each[1]) > 1)
    more = [name for _, names in in_order[MOST_REASONS:] for name in names]
    found = [_line(names, reason) for reason, names in in_order[:MOST_REASONS]]
    return (*found, *([_line(more, "ruled out for further reasons")] if more else []))


def _by_reason(lines: Sequence[Line]) -> dict[str, list[str]]:
    """The profiles of each, in the order of the first ones."""
    profiles: dict[str, list[str]] = {}
    for name, reason in lines:
        profiles.setdefault(reason, []).append(name)
    return profiles


def _line(names: Sequence[str], reason: str) -> str:
    if len(names) == 1:
        return f"{names[0]}: {reason}."
    more = len(names) - MOST_NAMED
    named = [*names[:MOST_NAMED], f"{more} more"] if more > 0 else [*names]
    return f"{listed(named)}: for each, {reason}."
