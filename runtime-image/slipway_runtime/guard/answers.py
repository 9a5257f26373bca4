"""What the guard learns from a response while it passes: tokens, its id, and whether the engine gave up.

Each value is read at its own place in each API's responses, in an event of a stream that can have it or at the top
level of a complete response, and nowhere else: what the model wrote, and what is echoed from the client, is skipped.
Most events bring text and nothing else. They are recognised by bytes that they lack, and most of those by how they end,
because reading them more closely would cost a good part of what the engine itself does for a token. Both ways look for
names in quotation marks, and inside JSON strings all quotation marks are escaped. The text of such an event is what it
has beyond the smallest event with text so far.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from functools import cached_property, lru_cache

from slipway_runtime.guard import engine_errors
from slipway_runtime.guard.api_shapes import AUDIO, MESSAGES, RESPONSES, api_of
from slipway_runtime.guard.events import LARGEST, NAME, ByteRange, Events
from slipway_runtime.guard.scanner import SLICE, Scanner, Tree, number_of, text_of

BYTES_PER_TOKEN, BYTES_OF_A_TOKEN = 4, 16  # of most tokens, and of a longer one
TOKENS_PER_SECOND = 25
"""Of audio, as most models count it."""
LARGEST_HELD = 1 << 20  # bytes of a complete response that arrives in parts
LONGEST_EVENT_LINE = 64  # bytes of `event: response.output_text.delta` and the like
FRAME = len(b"data:\n\n")
DONE = 32
"""The most bytes of data that end a stream."""
_REASON, _GOES_ON = b'"finish_reason"', b'"finish_reason":null'
_USAGE, _NO_USAGE = b'"usage"', b'"usage":null'

_BEFORE_ALL = frozenset(f"response.{how}" for how in ("created", "queued", "in_progress"))
"""Events that vLLM's web server sends on its own, before its engine has done anything."""
_LAST = frozenset(f"response.{how}" for how in ("completed", "failed", "incomplete", "cancelled"))


@dataclass(frozen=True)
class Usage:
    """Tokens, and for llama.cpp the seconds of computation; as far as the response reports them."""

    prompt: int = 0
    completion: int = 0
    prefill: float = 0.0
    decode: float = 0.0


class Reading:
    """Reads one complete response; `Stream` reads one that streams."""

    streams = False

    def __init__(self, path: str) -> None:
        self._api = api_of(path)
        self._words: dict[str, bytes] = {}
        self._numbers: dict[str, float] = {}
        self._completions: dict[int, int] = {}
        """Reported tokens of each choice, and of all of them at -1. llama.cpp's streams report them for each choice
        only."""
        self._of_choices = 0
        """Their sum, without the entry for all."""
        self._held: bytearray | None = bytearray()
        """What has arrived of a complete response, until it is judged; None once it is too long for that."""
        self._text = self._text_before = self._choices = 0
        """Bytes of text that were found, and how many of them in the first choice of a complete response."""
        self._gave_up = False
        self.aborted = False
        """The engine ended the response without finishing it, which vLLM sends as a success."""
        self.failed = False
        """The engine reported in the stream that it failed."""
        self.complete = False
        """The stream's last event has passed: nothing that follows matters to the client."""
        self.events = self.text = 0
        """In a stream: events that may be tokens, and the bytes of their text."""
        self.usage: Usage | None = None
        self.response_id = ""

    @property
    def _tree(self) -> Tree:
        return self._api.whole

    @cached_property
    def _scanner(self) -> Scanner:
        """Created on demand: most streams have one event that is scanned, the last."""
        return Scanner(self._tree, self._found)

    def read(self, piece: bytes, *, last: bool) -> Generator[None, None, bytes]:
        """Reads a piece; returns what may pass now, of it and of what was held. It yields where other requests may have
        a turn."""
        yield from self._scan(piece, 0, len(piece))
        if last:
            self._text += self._scanner.long_bytes
            self._judge()
        if self._held is None or (last and not self._held):
            return piece
        self._held += piece
        if not last and len(self._held) <= LARGEST_HELD:
            return b""
        held, self._held = bytes(self._held), None
        return held

    def _scan(self, data: bytes | bytearray, start: int, end: int) -> Generator[None, None, None]:
        for at in range(start, end, SLICE):
            if at > start:
                yield
            self._scanner.feed(bytes(data[at : min(end, at + SLICE)]))

    def _found(self, what: str, word: bytes) -> None:
        """Stores a value. Of a number the largest counts, since a stream repeats it and it never falls."""
        if what == "finish":
            self._gave_up = self._gave_up or word == b'"abort"'
        elif what == "text":
            self._text += max(0, len(word) - 2)
        elif what == "choice":
            self._choices += 1
            if self._choices == 2:
                self._text_before = self._text + self._scanner.long_bytes
        elif word[:1].isdigit():
            self._numbers[what] = max(self._numbers.get(what, 0), number_of(word))
        elif what == "seconds":  # some engines write the number as a string
            self._numbers[what] = number_of(word.strip(b'"'))
        else:
            self._words[what] = word

    def _judge(self) -> None:
        """Judges what was found in a complete response, or in one event."""
        words, kind = self._words, text_of(self._words.get("type", b""))
        if self._api is MESSAGES:
            # vLLM gives no reason for the end of an aborted message: null in a stream, and none at all in a complete
            # response.
            reason = words.get("stop", b"" if self.streams else b"null")
            self._gave_up = reason == b"null" and kind == ("message_delta" if self.streams else "message")
            self.complete = self.complete or kind == "message_stop"
        elif self._api is RESPONSES:
            ends = not self.streams or kind in _LAST
            self._gave_up = ends and words.get("status") == b'"cancelled"'
            self.complete = self.complete or (self.streams and ends)
            self.response_id = self.response_id or text_of(words.get("id", b""))
            self.events -= self.streams and kind in _BEFORE_ALL
        self.aborted = self.aborted or self._gave_up
        self._count()

    def _count(self) -> None:
        choice = int(self._numbers.pop("index", -1)) if self.streams else -1
        if not self._numbers:
            return
        told, before = _usage(self._numbers), self.usage or Usage()
        self._numbers = {}
        if (more := told.completion - self._completions.get(choice, 0)) > 0:
            self._completions[choice] = told.completion
            self._of_choices += more if choice >= 0 else 0
        completion = max(self._completions.get(-1, 0), self._of_choices)
        if "one" in self._words and self._choices > 1:  # llama.cpp reports the usage of the first choice only
            completion += (self._text - self._text_before) // BYTES_PER_TOKEN
        elif self._api is AUDIO and not self.streams:
            completion = max(completion, self._text // BYTES_PER_TOKEN)
        prompt = max(told.prompt, before.prompt)
        if prompt or completion:
            self.usage = Usage(prompt, completion, max(told.prefill, before.prefill), max(told.decode, before.decode))


def _usage(told: dict[str, float]) -> Usage:
    found = told.get
    prompt = found("prompt", 0) + found("cached", 0) + found("created", 0)
    completion = found("completion", 0)
    prompt = max(prompt, found("total", 0) - completion, found("prompt_n", 0) + found("cache_n", 0))
    prompt = max(prompt, found("seconds", 0) * TOKENS_PER_SECOND)
    completion = max(completion, found("predicted_n", 0))
    return Usage(int(prompt), int(completion), found("prompt_ms", 0) / 1e3, found("predicted_ms", 0) / 1e3)


class Stream(Reading):
    streams = True

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._events = Events()
        self._bare = 0
        """The fewest bytes of data that an event with text had besides it; 0 until one has passed."""
        self._long = False
        """The incomplete event was passed on as far as it has arrived."""

    @property
    def _tree(self) -> Tree:
        return self._api.event

    @property
    def bare(self) -> int:
        """Bytes of a piece with one event, besides its text."""
        return self._bare + FRAME

    def read(self, piece: bytes, *, last: bool) -> Generator[None, None, bytes]:
        """Passes events on when they are complete; of an aborted stream, nothing from the aborting event on."""
        if not piece and not self._events.buffer and not self._long:
            return piece
        events, sent, out = self._events, 0, bytearray()
        end_of_all = b"\n\n" if last else b""  # at the end, an incomplete event is judged, too
        for found in events.feed(piece + end_of_all):
            if found is None:
                yield
                continue
            (start, end), data = found
            if self._long:
                yield from self._end_long(data)
                if self.aborted:
                    return b"".join((out, events.buffer[sent:start], b"\n\n"))
                continue
            if not data:
                continue
            yield from self._read(data)
            if self.aborted:
                return b"".join((out, events.buffer[sent:start]))
            if "error" in self._words:
                out += b"".join((events.buffer[sent : data[0][0]], b" ", self._rewritten(data), b"\n\n"))
                sent, self.failed = end, True
        if self._long or events.held > LARGEST:
            yield from self._go_on_long()
        rest = events.buffer[sent : len(events.buffer) - events.held]
        events.done()
        return b"".join((out, rest.removesuffix(end_of_all)))

    def text_of_plain(self, piece: bytes) -> int:
        """Returns the bytes of a piece's text if it is one event with nothing else to read; -1 if that is uncertain."""
        if self._events.buffer or self._long:
            return -1
        at, size = piece.find(b"data:", 0, LONGEST_EVENT_LINE), len(piece)
        if at < 0 or not DONE + FRAME < size - at <= SLICE or (at and piece[at - 1] != 0x0A):
            return -1
        if piece.find(b"\n", at) != size - 2 or piece[-1] != 0x0A or piece.find(b"\r") >= 0:
            return -1
        return self._text_of(piece, at + NAME, size - 2)

    def _text_of(self, data: bytes | bytearray, start: int, end: int) -> int:
        """Returns the bytes of an event's text; -1 if it may contain something else, or is too large for one step."""
        size = end - start
        if size > SLICE or self._tells(data, start, end):
            return -1
        text = size - self._bare
        if self._bare and 0 <= text <= BYTES_OF_A_TOKEN:
            return text
        text = sum(found.end(1) - found.start(1) for found in self._api.texts.finditer(data, start, end))
        self._compare(size, text)
        return text

    def _compare(self, size: int, text: int) -> None:
        if text:
            self._bare = min(self._bare or size, size - text)

    def _tells(self, data: bytes | bytearray, start: int, end: int) -> bool:
        """Returns whether an event may contain something besides its text."""
        if any(data.find(sign, start, end) >= 0 for sign in self._api.signs):
            return True
        usages = data.count(_USAGE, start, end)
        return usages > 0 and usages != data.count(_NO_USAGE, start, end)

    def _read(self, data: list[ByteRange]) -> Generator[None, None, None]:
        """Reads and judges an event."""
        buffer, (start, end) = self._events.buffer, data[0]
        self.events += 1
        self._words = {}
        if end - start <= DONE and buffer[start:end].strip() == b"[DONE]":
            self.complete = True
            return
        if len(data) == 1 and (text := self._text_of(buffer, start, end)) >= 0:
            self.text += text
            return
        self._begin()
        yield from self._scan_all(data)
        self._compare(sum(end - start for start, end in data), self._end())

    def _begin(self) -> None:
        self._text = 0
        self._scanner = Scanner(self._tree, self._found)

    def _scan_all(self, data: list[ByteRange]) -> Generator[None, None, None]:
        for start, end in data:
            yield from self._scan(self._events.buffer, start, end)
            self._scanner.feed(b"\n")

    def _end(self) -> int:
        """Judges what was found in an event; returns the bytes of its text."""
        self._judge()
        text = self._text + self._scanner.long_bytes
        self.text += text
        return text

    def _go_on_long(self) -> Generator[None, None, None]:
        """Passes on an event that is too large to be held, while it is read."""
        if not self._long:
            self.events += 1
            self._words = {}
            self._begin()
            self._long = True
        for start, end in self._events.let_go():
            yield from self._scan(self._events.buffer, start, end)

    def _end_long(self, data: list[ByteRange]) -> Generator[None, None, None]:
        self._long = False
        yield from self._scan_all(data)
        self._end()
        self.failed = self.failed or "error" in self._words

    def _rewritten(self, data: list[ByteRange]) -> bytes:
        buffer = self._events.buffer
        size = sum(end - start for start, end in data)
        whole = b"\n".join(buffer[start:end] for start, end in data) if size <= engine_errors.LARGEST else b""
        return engine_errors.of_event(whole)


def read_at_once(answer: bytes, path: str) -> Reading:
    reading = Reading(path)
    for _ in reading.read(answer, last=True):
        pass
    return reading


def tail_of(piece: bytes) -> bytes:
    """Returns the end of a stream's piece that brings a token and nothing else, if the text isn't in that end; else
    b""."""
    at = piece.find(_REASON)
    tail = piece[at:] if at >= 0 else b""
    if not tail.startswith(_GOES_ON) or not tail.endswith(b"\n\n") or b'"delta"' in tail or b'"text"' in tail:
        return b""
    return _the_one(tail) if is_token(piece, tail) else b""


def is_token(piece: bytes, tail: bytes) -> bool:
    """Returns whether a piece differs from one with that tail in its token alone.

    It is one line, so it is one event. The only "finish_reason" in it starts the tail, so there is one choice, and it
    continues; inside a text, the quotation marks of that name would be escaped.
    """
    size = len(piece)
    return piece.endswith(tail) and piece.find(_REASON) == size - len(tail) and piece.find(b"\n") == size - 2


@lru_cache(maxsize=16)
def _the_one(tail: bytes) -> bytes:
    """Returns the same object for all streams, so that it stays in the CPU's caches."""
    return tail
