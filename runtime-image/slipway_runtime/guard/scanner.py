"""Finds a few values in JSON while it passes, each at its own place and nowhere else.

What to find is a tree of dictionaries: names lead to members, None leads to each element of an array, and a word is the
label of the value there. All other values are skipped by looking at strings and brackets only, so no client's text is
ever taken for structure. Nothing is built or kept except the path. The JSON may come in pieces of any size, and the
time for a piece depends on its length, not on its content. Invalid JSON is not detected: what is found in it means
nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from math import inf
from typing import Final, cast

THERE: Final = object()
"""Next to the names of an object's members: the label of the object itself, or of the array."""
STRING: Final = object()
"""Next to them, too: the label of a string in its place."""
EACH: Final = object()
"""And the label of each element of the array, whatever it is."""
LONGEST = 4096  # bytes of a name, or of a string that is found; a longer string is found as LONG
LONG = b'"'
LONGEST_NUMBER = 32
"""For values without quotes. A longer one is found as longer than this, but may have lost its end."""
LARGEST = 1 << 16  # bytes
DEEPEST = 256
"""Nested containers in JSON that others will read: some parsers are recursive, and would overflow their stack."""
SLICE = 1 << 13  # bytes that a caller may feed at a time, so that it takes a few milliseconds at most


class Whole(str):
    """The label of a value that is found with its complete content; as LONG, if it is larger than LARGEST."""

    __slots__ = ()


Tree = dict[object, object]
OnFound = Callable[[str, bytes], None]
"""Called with a value's label and its bytes; for a container, its opening bracket."""

_Match = Callable[[bytes, int], re.Match[bytes]]
"""For patterns that also match nothing, so there is always a match."""
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_SKIPPED = cast(_Match, re.compile(rb'(?s)(?:[^"\[\]{}]++|%b)*+(?:([\[{]++)|([\]}]++))?' % _STRING).match)
_TOKEN = cast(_Match, re.compile(rb'(?s)[\s,:]*+(?:(%b)|([\[{])|([\]}])|([^\s,:"\[\]{}]++))?' % _STRING).match)
_MEMBER = re.compile(rb'(?s)[\s,]*+(%b)\s*+:\s*+(?:(%b)|([^\s,:"\[\]{}]++)(?=.))' % (_STRING, _STRING))
"""A member whose value is complete, and a string, number or literal."""
_REST_OF_STRING = cast(_Match, re.compile(rb'(?s)[^"\\]*+(?:\\.[^"\\]*+)*+').match)


class TooDeep(Exception):  # noqa: N818 - it is what was found
    """The containers are nested deeper than any client needs."""


class Scanner:
    __slots__ = (
        "_closers",
        "_deepest",
        "_found",
        "_in_string",
        "_is_long",
        "_is_name",
        "_kept",
        "_open",
        "_rest",
        "_skipped",
        "_slot",
        "_whole",
        "long_bytes",
    )

    def __init__(self, wanted: Tree, found: OnFound, *, deepest: float = inf) -> None:
        self._found = found
        self._deepest = deepest
        self.long_bytes = 0
        """The bytes of strings that were found as LONG."""
        self._open: list[Tree] = []
        """The part of the tree for each container that we are in."""
        self._closers = bytearray()
        """For each of them, whether it is an object."""
        self._slot: object = wanted
        """The part of the tree for the next value; None if it isn't wanted."""
        self._is_name = False
        """The next string is the name of a member."""
        self._skipped = 0
        """The depth within a container that is being skipped."""
        self._whole: Whole | None = None
        """The label of that container, if it is to be found with its content."""
        self._kept = bytearray()
        """Its content so far."""
        self._in_string = False
        """Inside a string that isn't kept."""
        self._is_long = False
        """That string was found as LONG."""
        self._rest = b""
        """The incomplete end of the last piece."""

    def feed(self, data: bytes) -> None:
        if self._rest:
            data, self._rest = self._rest + data, b""
        at = 0
        while at < len(data):
            begin = at
            if self._in_string:
                at = self._end_of_string(data, at)
            elif self._skipped:
                at = self._skip(data, at)
            else:
                at = self._walk(data, at)
                begin = at
            if (whole := self._whole) is not None:
                self._keep(whole, data, begin, at - len(self._rest))

    def _end_of_string(self, data: bytes, at: int) -> int:
        match = _REST_OF_STRING(data, at)
        if self._is_long:
            self.long_bytes += match.end() - at
        at = match.end()
        if at == len(data):
            return at
        if data[at] == 0x5C:  # a backslash whose escaped character has not arrived
            self._rest = data[at:]
            return len(data)
        self._in_string = self._is_long = False
        return at + 1

    def _skip(self, data: bytes, at: int) -> int:
        depth, match_at = self._skipped, _SKIPPED
        while True:
            match = match_at(data, at)
            at, kind = match.end(), match.lastindex
            if kind == 1:
                depth += at - match.start(1)
                if depth > self._deepest:
                    raise TooDeep
            elif kind == 2:
                depth -= at - match.start(2)
                if depth <= 0:
                    self._skipped = 0
                    return at + depth  # closing brackets beyond it belong to outer containers
            else:
                self._skipped = depth
                return self._begin_string(data, at)

    def _keep(self, whole: Whole, data: bytes, begin: int, end: int) -> None:
        if len(self._kept) <= LARGEST:
            self._kept += data[begin : min(end, begin + LARGEST)]
        if not self._skipped:
            self._whole = None
            kept, self._kept = bytes(self._kept), bytearray()
            self._found(whole, kept if len(kept) <= LARGEST else LONG)

    def _begin_string(self, data: bytes, at: int) -> int:
        if at < len(data):
            self._in_string, at = True, at + 1
        return at

    def _walk(self, data: bytes, at: int) -> int:
        match_at = _TOKEN
        while not self._skipped:
            if self._is_name:
                at = self._members(data, at)
            match = match_at(data, at)
            at, kind = match.end(), match.lastindex
            if kind == 1:
                self._word(match[1])
            elif kind == 2:
                self._enter(match[2])
            elif kind == 3:
                self._leave()
            elif kind == 4 and at < len(data):
                self._word(match[4])
            # it may continue; one byte more than a number has shows that it is none, wherever it is cut
            elif kind == 4:
                self._rest = data[match.start(4) :][: LONGEST_NUMBER + 1]
            elif at < len(data):
                return self._half_a_string(data, at)
            if at == len(data):
                return at
        return at

    def _half_a_string(self, data: bytes, at: int) -> int:
        if (self._is_name or self._slot is not None) and len(data) - at <= LONGEST:
            self._rest = data[at:]
            return len(data)
        self._is_long = not self._is_name and self._wanted(LONG) is not None
        self._word(LONG)
        return self._begin_string(data, at)

    def _word(self, word: bytes) -> None:
        """Handles a complete string, number or literal."""
        if self._is_name:
            self._is_name, self._slot = False, self._open[-1].get(_name(word))
            return
        self._element(word)
        if self._slot is not None and (wanted := self._wanted(word)):
            self._found(wanted, word)
        self._after_value()

    def _members(self, data: bytes, at: int) -> int:
        """Reads members with complete simple values. Most are like that, so this loop makes them fast."""
        here = self._open[-1]
        while match := _MEMBER.match(data, at):
            at, self._slot = match.end(), here.get(_name(match[1]))
            if self._slot is not None and (wanted := self._wanted(word := match[match.lastindex or 0])):
                self._found(wanted, word)
            self._slot = None
        return at

    def _element(self, word: bytes) -> None:
        if self._open and not self._closers[-1] and type(what := self._open[-1].get(EACH)) is str:
            self._found(what, word)

    def _wanted(self, word: bytes) -> str | None:
        """Returns the label of the next value, if it is this one."""
        slot = self._slot
        if isinstance(slot, dict) and word[:1] == b'"':
            slot = slot.get(STRING)
        return slot if isinstance(slot, str) else None

    def _enter(self, bracket: bytes) -> None:
        self._element(bracket)
        slot = self._slot
        if type(slot) is str:
            self._found(slot, bracket)
        elif isinstance(slot, Whole):
            self._whole, self._kept = slot, bytearray(bracket)
        if not isinstance(slot, dict):
            self._after_value()
            self._skipped = 1
            return
        if type(word := slot.get(THERE)) is str:
            self._found(word, bracket)
        self._open.append(slot)
        self._closers.append(bracket == b"{")
        self._is_name = bracket == b"{"
        self._slot = slot.get(None)

    def _leave(self) -> None:
        if self._open:
            self._open.pop()
            self._closers.pop()
        self._after_value()

    def _after_value(self) -> None:
        if not self._open:
            self._is_name, self._slot = False, None
        elif self._closers[-1]:
            self._is_name, self._slot = True, None
        else:
            self._is_name, self._slot = False, self._open[-1].get(None)


def _name(word: bytes) -> bytes:
    """Returns a name without its escapes."""
    if b"\\" not in word:
        return word[1:-1]
    return text_of(word).encode(errors="surrogatepass")


def text_of(word: bytes) -> str:
    """Returns the text of a string; an empty one for another value."""
    if not word.startswith(b'"'):
        return ""
    try:
        if b"\\" not in word:
            return word[1:-1].decode()
        value = json.loads(word)
    except (ValueError, RecursionError):
        return ""
    return value if isinstance(value, str) else ""


def number_of(word: bytes) -> float:
    """Returns a number of at least 0; 0 for another value, or for a number beyond reason."""
    try:
        value = float(word) if len(word) <= LONGEST_NUMBER and word[:1].isdigit() else 0.0
    except ValueError:
        return 0.0
    return value if value < 1e15 else 0.0
