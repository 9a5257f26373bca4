"""The last word on an engine's own flags: which are allowed, and why the others are not.

The flags of a list are allowed. Every other flag, including those that a newer version of an engine adds, is refused
until a person has judged it. So are abbreviated flags, which an engine would complete. The operator has the same lists.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from slipway_runtime.contract.flags import HARMLESS, REASONS, WRITTEN

ANOTHER_NAME = {
    "-q": "--quantization",
    "-tp": "--tensor-parallel-size",
    "-pp": "--pipeline-parallel-size",
    "-sc": "--speculative-config",
}
WRITTEN_FLAGS = frozenset(flag for flags in WRITTEN.values() for flag in flags)
WHY_REFUSED = {flag: why for why, flags in sorted(REASONS.items()) for flag in sorted(flags)}
UNKNOWN = "is not one of the engine's flags that slipway-runtime allows, written in full"
KEYS_OF_CODE = re.compile(
    r".*(module_path|_plugin|_cls|_class)|trust_remote_code|code_revision|auto_map|inductor_passes"
)
"""Keys in JSON whose values name code to be loaded, or lead to such a name."""
WORDS_OF_CODE = ("custom_class",)


@dataclass(frozen=True)
class Objection:
    """A flag that is refused, and the end of a sentence that starts with it."""

    flag: str
    why: str


def objections(engine: str, words: Sequence[str], allowed: Collection[str] = ()) -> Iterator[Objection]:
    """What is refused among the words. `allowed` are names without dashes that are allowed whatever the lists say."""
    written: set[str] = set()
    for word in words:
        if not _is_flag(word):
            continue
        flag = name_of(word)
        full = ANOTHER_NAME.get(flag, flag)
        if {flag.lstrip("-"), _positive(flag).lstrip("-")} & {*allowed}:
            continue
        if why := _why_not(engine, flag):
            yield Objection(flag, why)
        elif full in written:
            yield Objection(flag, f"is given twice, and the first {WHY_REFUSED[flag]}")
        elif flag in WRITTEN_FLAGS:
            written.add(full)
    yield from _code_in_json(words, allowed)


def name_of(word: str) -> str:
    """The flag of an argument. vLLM takes `_` for `-`, and `--flag.key=value` for one key of a JSON value."""
    return word.partition("=")[0].partition(".")[0].replace("_", "-").rstrip("+")


def _is_flag(word: str) -> bool:
    return word.startswith("-") and not re.fullmatch(r"-[\d.]+", word)


def _why_not(engine: str, flag: str) -> str | None:
    off = _positive(flag) != flag and _positive(flag) in WHY_REFUSED  # turning a danger off is harmless
    if not {flag, _positive(flag)}.isdisjoint(HARMLESS[engine]) or flag in WRITTEN_FLAGS or off:
        return None
    if len(flag) > len("--") and (meant := [name for name in WHY_REFUSED if name.startswith(flag)]):
        means = "" if flag in meant else f"may be short for {meant[0]}, which "
        return means + WHY_REFUSED[flag if flag in meant else meant[0]]
    return UNKNOWN


def _positive(flag: str) -> str:
    return "--" + flag.removeprefix("--no-") if flag.startswith("--no-") else flag


# --- JSON, by which a harmless flag may do the same as a refused one --------------------------------------------------


def _code_in_json(words: Sequence[str], allowed: Collection[str]) -> Iterator[Objection]:
    flag = ""
    for word in words:
        value = word
        if _is_flag(word):
            flag, _, value = word.partition("=")
        keys = [*flag.replace("+", "").split(".")[1:], *_keys(_read(value))]
        named = [key for key in keys if KEYS_OF_CODE.fullmatch(key)] + [key for key in WORDS_OF_CODE if key in value]
        if named and named[0] not in allowed:
            yield Objection(name_of(flag), f"contains {named[0]}, which loads code by name into the engine")


def _read(value: str) -> Any:
    try:
        return json.loads(value) if value.lstrip().startswith(("{", "[")) else None
    except (ValueError, RecursionError):
        return None


def _keys(value: Any) -> Iterator[str]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if isinstance(value, dict):
        yield from value
    for each in inner:
        yield from _keys(each)
