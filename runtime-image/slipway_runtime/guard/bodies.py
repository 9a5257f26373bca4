"""What is looked at in a request's body before the engine sees it, and how many bytes of bodies there may be at a time.

At the top level of the JSON: the model, which has to be one that is served, since llama.cpp answers for any; numbers
that the OpenAI API bounds, and not every engine does; and the ids of stored responses. Of a member that is there twice,
each counts. Whether all of it is JSON, the engine finds out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator

from slipway_runtime.guard import errors
from slipway_runtime.guard.errors import Refusal
from slipway_runtime.guard.scanner import SLICE, Scanner, TooDeep, Tree, text_of

GRACE = 30.0  # seconds that any body may take
SLOWEST = 32 << 10  # bytes for each second more
RETRY_AFTER = 1

_RANGES = {
    # from, to, and how it is said
    "temperature": (0.0, 2.0, "from 0 to 2"),
    "top_p": (0.0, 1.0, "above 0 and at most 1"),
    "n": (1.0, 1e9, "at least 1"),
    "max_tokens": (1.0, 1e15, "at least 1"),
    "max_completion_tokens": (1.0, 1e15, "at least 1"),
    "max_output_tokens": (1.0, 1e15, "at least 1"),
}
_WANTED: Tree = {name.encode(): name for name in ("model", "previous_response_id", "request_id", *_RANGES)}
LONGEST_MARK = 4
"""Bytes by which the encodings of JSON can be told from each other."""


class Body:
    """What is wrong with one, as far as it is looked at here."""

    def __init__(self, served: tuple[str, ...], *, owns: Callable[[str], bool] | None) -> None:
        """`owns` says whether a stored response is of whoever asks; None where nobody has a key."""
        self.refusal: Refusal | None = None
        self._served, self._owns = served, owns

    def read(self, pieces: Iterable[bytes]) -> Generator[None, None, None]:
        """It yields where others may have a turn."""
        scanner, start, first = Scanner(_WANTED, self._found), b"", True
        try:
            for part in _slices(pieces):
                if not first:
                    yield
                first = False
                if len(start) < LONGEST_MARK:
                    start += part
                    if len(start) >= LONGEST_MARK:
                        scanner.feed(self._after_mark(start))
                else:
                    scanner.feed(part)
                if self.refusal:
                    return
            if len(start) < LONGEST_MARK:
                scanner.feed(self._after_mark(start))
        except TooDeep:
            self.refusal = errors.TOO_DEEP

    def _after_mark(self, start: bytes) -> bytes:
        if b"\0" in start[:LONGEST_MARK] or start.startswith((b"\xff\xfe", b"\xfe\xff")):
            self.refusal = errors.NO_UTF8  # Python's JSON would be read all the same
        return start.removeprefix(b"\xef\xbb\xbf")

    def _found(self, what: str, word: bytes) -> None:
        if self.refusal is None:
            self.refusal = self._wrong(what, word)

    def _wrong(self, what: str, word: bytes) -> Refusal | None:
        match what:
            case "model":
                return self._wrong_model(word)
            case "previous_response_id" if self._owns and word != b"null":
                name = text_of(word)
                return None if self._owns(name) else errors.no_such_response(name)
            case "request_id" if self._owns and word != b"null":
                return errors.OWN_ID
        return _out_of_range(what, word) if what in _RANGES else None

    def _wrong_model(self, word: bytes) -> Refusal | None:
        """Left out, null and empty mean the one that is served."""
        if not self._served or word in (b"null", b'""'):
            return None
        if not word.startswith(b'"'):
            return errors.MODEL_NO_STRING
        name = text_of(word)
        return None if name in self._served else errors.no_such_model(name, self._served)


def _slices(pieces: Iterable[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        if len(piece) <= SLICE:
            yield piece
        else:
            yield from (piece[at : at + SLICE] for at in range(0, len(piece), SLICE))


def _out_of_range(name: str, word: bytes) -> Refusal | None:
    """Of what is a number. Whether it should be one, engines say."""
    low, high, wanted = _RANGES[name]
    try:
        value = float(word)
    except ValueError:
        return None
    if low <= value <= high and not (name == "top_p" and value == 0):
        return None
    return errors.out_of_range(name, word.decode("ascii", "replace"), wanted)


class Room:
    """The bytes of all bodies under way, from their coming until their requests have ended."""

    def __init__(self, *, total: int, of_owner: int) -> None:
        self._total, self._most_of_owner = total, of_owner
        self._taken = 0
        self._of_owner: Counter[str] = Counter()

    def take(self, owner: str, size: int) -> Refusal | None:
        """Why there is no room for so many more; else they are taken."""
        if self._taken + size > self._total:
            return errors.overloaded(RETRY_AFTER)
        if self._of_owner[owner] + size > self._most_of_owner:
            return errors.BODIES_OF_KEY
        self._taken += size
        self._of_owner[owner] += size
        return None

    def leave(self, owner: str, size: int) -> None:
        self._taken -= size
        self._of_owner[owner] -= size
        if self._of_owner[owner] <= 0:
            del self._of_owner[owner]
