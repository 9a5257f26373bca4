"""The last word on an engine's own flags: which are let through, and why the others are not.

What is let through is a list; whatever else there is, or a newer version of an engine brings, is refused until somebody
has judged it. So are shortened flags, which an engine would complete. The lists are the operator's, see flags.json.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ANOTHER_NAME = {
    "-q": "--quantization",
    "-tp": "--tensor-parallel-size",
    "-pp": "--pipeline-parallel-size",
    "-sc": "--speculative-config",
}
UNKNOWN = "is none of the engine's flags that slipway-runtime lets through, in full"
KEYS_OF_CODE = re.compile(
    r".*(module_path|_plugin|_cls|_class)|trust_remote_code|code_revision|auto_map|inductor_passes"
)
"""Keys in JSON whose values are names of code to be loaded, or lead to such."""
WORDS_OF_CODE = ("custom_class",)


@dataclass(frozen=True)
class Objection:
    flag: str
    why: str


@dataclass(frozen=True)
class Lists:
    harmless: Mapping[str, frozenset[str]]
    """Of each engine, those that whoever writes a spec may give."""
    written: frozenset[str]
    """Those that the operator writes, from fields of the spec."""
    refused: Mapping[str, str]
    """The others, and what is said of each."""


@cache
def lists() -> Lists:
    told = json.loads(Path(__file__).with_name("flags.json").read_text())
    harmless = {engine: frozenset(flags) for engine, flags in told["harmless"].items()}
    return Lists(harmless, frozenset(told["written"]), told["refused"])


def objections(engine: str, words: Sequence[str], allowed: Collection[str] = ()) -> Iterator[Objection]:
    """`allowed` are names without dashes that are let through whatever the lists say."""
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
            yield Objection(flag, f"is given twice, and the first {lists().refused[flag]}")
        elif flag in lists().written:
            written.add(full)
    yield from _code_in_json(words, allowed)


def name_of(word: str) -> str:
    """vLLM takes `_` for `-`, and `--flag.key=value` for one key of a JSON value."""
    return word.partition("=")[0].partition(".")[0].replace("_", "-").rstrip("+")


def _is_flag(word: str) -> bool:
    return word.startswith("-") and not re.fullmatch(r"-[\d.]+", word)


def _why_not(engine: str, flag: str) -> str | None:
    known = lists()
    off = _positive(flag) != flag and _positive(flag) in known.refused  # to turn a danger off is none
    if {flag, _positive(flag)} & known.harmless[engine] or flag in known.written or off:
        return None
    if len(flag) > len("--") and (meant := [name for name in known.refused if name.startswith(flag)]):
        means = "" if flag in meant else f"may be short for {meant[0]}, which "
        return means + known.refused[flag if flag in meant else meant[0]]
    return UNKNOWN


def _positive(flag: str) -> str:
    return "--" + flag.removeprefix("--no-") if flag.startswith("--no-") else flag


# --- JSON, in which a harmless flag may do what a refused one does ---------------------------------------------------


def _code_in_json(words: Sequence[str], allowed: Collection[str]) -> Iterator[Objection]:
    flag = ""
    for word in words:
        value = word
        if _is_flag(word):
            flag, _, value = word.partition("=")
        keys = [*flag.replace("+", "").split(".")[1:], *_keys(_read(value))]
        named = [key for key in keys if KEYS_OF_CODE.fullmatch(key)] + [key for key in WORDS_OF_CODE if key in value]
        if named and named[0] not in allowed:
            yield Objection(name_of(flag), f"has {named[0]} in it, which loads code by name into the engine")


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
