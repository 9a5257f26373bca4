"""`spec.engine.extraArgs`: which arguments are refused, in CEL for the API server and the same in Python.

Python has the last word, in rendering: what was accepted by an older version of the CRD is not looked at again.
"""

from __future__ import annotations

import re

from slipway.api.engine_flags import DANGEROUS, HARMLESS, REASONS, REFUSED
from slipway.api.schema import Checked, Rule, cel

# An argument's flag: vLLM takes `_` for `-`, and `--flag.key=value` for one key of a JSON value.
_FLAG = "split('=')[0].split('.')[0].replace('_', '-')"
_TWO_IN_ONE = r"^--?[A-Za-z][-A-Za-z_.]*\s"
_NO_FLAG = "is no flag: write flag and value as one item, as in --seed=1"
_UNKNOWN = (
    "is none of the engine's flags that Slipway lets through: leave it out, or name a ServingRuntime of your own in "
    "engine.name"
)

# --- in CEL ----------------------------------------------------------------------------------------------------------

_FLAGS = f"self.extraArgs.filter(arg, !arg.matches({cel(_TWO_IN_ONE)})).map(arg, arg.{_FLAG})"
_IS_HARMLESS = (
    f"(self.name in {cel(list(HARMLESS))} ? "
    f"[flag, flag.replace('--no-', '--', 1)].exists(name, name in {cel(HARMLESS)}[self.name]) : "
    f"!(size(flag) > 2 && {cel(DANGEROUS)}.exists(name, name.startsWith(flag))))"
)
_MEANT = (
    f"(self.name in {cel(list(HARMLESS))} ? {cel(REFUSED)} : {cel(DANGEROUS)})"
    ".filter(name, size(flag) > 2 && name.startsWith(flag))"
)
_WHY = f"{cel(REASONS)}.filter(why, names[0] in {cel(REASONS)}[why])[0]"
_SAYS = (
    f"{_FLAGS}.filter(flag, !{_IS_HARMLESS}).map(flag, [{_MEANT}].map(names, flag + ("
    f"!flag.startsWith('-') ? {cel(' ' + _NO_FLAG)} : size(names) == 0 ? {cel(' ' + _UNKNOWN)} : "
    f"(names[0] == flag ? ' ' : ' may be short for ' + names[0] + ', which ') + {_WHY}))[0])[0]"
)

ONE_ARGUMENT = Checked(
    check=lambda argument: re.match(_TWO_IN_ONE, argument) is None,
    rule=f"!self.matches({cel(_TWO_IN_ONE)})",
    message="is two arguments in one: write it as one, '--flag=value'",
)
LET_THROUGH = Rule(
    rule=f"!has(self.extraArgs) || {_FLAGS}.all(flag, {_IS_HARMLESS})",
    message="has a flag that Slipway doesn't let through: leave it out",
    says=_SAYS,
    at=".extraArgs",
    why="FieldValueForbidden",
)

# --- in Python -------------------------------------------------------------------------------------------------------


def why_refused(engine: str, argument: str) -> str | None:
    """The same sentence; None for what is let through."""
    flag = argument.partition("=")[0].partition(".")[0].replace("_", "-")
    if engine in HARMLESS and not {flag, flag.replace("--no-", "--", 1)}.isdisjoint(HARMLESS[engine]):
        return None
    suspects = REFUSED if engine in HARMLESS else DANGEROUS
    meant = [name for name in suspects if len(flag) > 2 and name.startswith(flag)]
    if meant:
        means = "" if meant[0] == flag else f"may be short for {meant[0]}, which "
        return f"{flag} {means}{next(why for why, names in REASONS.items() if meant[0] in names)}"
    if engine not in HARMLESS:
        return None
    return f"{flag} {_UNKNOWN if flag.startswith('-') else _NO_FLAG}"
