"""`spec.engine.extraArgs`: which arguments are refused, as CEL for the API server and as the same check in Python.

Rendering applies the Python version, because the API server doesn't check again what an older CRD accepted.
"""

from __future__ import annotations

import re

from slipway.api.schema import Checked, Rule, cel
from slipway.contract.flags import DANGEROUS, HARMLESS, REASONS

# An argument's flag: vLLM accepts `_` instead of `-`, and `--flag.key=value` for one key of a JSON value.
_FLAG = "split('=')[0].split('.')[0].replace('_', '-')"
_TWO_IN_ONE = r"^--?[A-Za-z][-A-Za-z_.]*\s"
_NO_FLAG = " is not a flag: write the flag and its value as one item, as in --seed=1"
_VARIABLE = " takes a flag's name from a variable: write the name in full, as in --seed=$(SEED)"
_SHORT = " may be an abbreviation of a flag that is refused: write it in full"
_UNKNOWN = (
    " is not one of the engine's flags that Slipway allows, written in full: leave it out, or name a ServingRuntime of "
    "your own in engine.name"
)

# --- in CEL ----------------------------------------------------------------------------------------------------------

_IS_OURS = f"self.name in {cel(list(HARMLESS))}"
_FLAGS = f"self.extraArgs.filter(arg, arg != '' && !arg.matches({cel(_TWO_IN_ONE)})).map(arg, arg.{_FLAG})"
_IS_HARMLESS = (
    f"({_IS_OURS} ? [flag, flag.replace('--no-', '--', 1)].exists(name, name in {cel(HARMLESS)}[self.name]) : "
    f"!flag.contains('$(') && !(size(flag) > 2 && {cel(DANGEROUS)}.exists(name, name.startsWith(flag))))"
)
_WHY = "".join(f"flag in {cel(names)} ? {cel(' ' + why)} : " for why, names in REASONS.items())
_OTHERWISE = (
    f"flag.contains('$(') ? {cel(_VARIABLE)} : !({_IS_OURS}) ? {cel(_SHORT)} : "
    f"flag.startsWith('-') ? {cel(_UNKNOWN)} : {cel(_NO_FLAG)}"
)

ONE_ARGUMENT = Checked(
    check=lambda argument: re.match(_TWO_IN_ONE, argument) is None,
    rule=f"!self.matches({cel(_TWO_IN_ONE)})",
    message="is two arguments in one item: write '--flag=value'",
)
LET_THROUGH = Rule(
    rule=f"!has(self.extraArgs) || {_FLAGS}.all(flag, {_IS_HARMLESS})",
    message="contains a flag that Slipway doesn't allow: leave it out",
    says=f"[{_FLAGS}.filter(flag, !{_IS_HARMLESS})[0]].map(flag, flag + ({_WHY}{_OTHERWISE}))[0]",
    at=".extraArgs",
    why="FieldValueForbidden",
)

# --- in Python -------------------------------------------------------------------------------------------------------


def why_refused(engine: str, argument: str) -> str | None:
    """The same sentence as in CEL; None for an argument that is allowed."""
    flag = argument.partition("=")[0].partition(".")[0].replace("_", "-")
    if _is_harmless(engine, flag):
        return None
    for why, names in REASONS.items():
        if flag in names:
            return f"{flag} {why}"
    if "$(" in flag:
        return flag + _VARIABLE
    if engine not in HARMLESS:
        return flag + _SHORT
    return flag + (_UNKNOWN if flag.startswith("-") else _NO_FLAG)


def _is_harmless(engine: str, flag: str) -> bool:
    if engine in HARMLESS:
        return not {flag, flag.replace("--no-", "--", 1)}.isdisjoint(HARMLESS[engine])
    return "$(" not in flag and (len(flag) <= len("--") or not any(name.startswith(flag) for name in DANGEROUS))
