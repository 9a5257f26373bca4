"""What is learned from an answer while it goes by: tokens, its id, and whether the engine gave up.

Each is looked for at its own place in each API's answers, in an event of a stream that can have it, or at the top level
of a whole answer, and nowhere else: what the model wrote and what the client had echoed is stepped over. Most events
bring a token and nothing else. They are known by bytes that they lack, and most of those by how they end, since to look
closer would be a good part of what the engine itself does for a token. Both go by names in quotation marks, and inside
of strings JSON has none that aren't escaped.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from functools import lru_cache

from slipway_runtime.guard import engine_errors
from slipway_runtime.guard.events import LARGEST, Events, Span
from slipway_runtime.guard.scanner import SLICE, THERE, Scanner, TooDeep, Tree, number_of, text_of

BYTES_PER_TOKEN, BYTES_OF_A_TOKEN = 4, 16  # as most are, and as more than one of them are at least
LONGEST_EVENT_LINE = 64  # bytes, of `event: response.output_text.delta` and the like
DONE = len(b"data:  [DONE] \n\n")
"""Bytes of the event that ends a stream, at most; one that brings a token has more."""
MORE_THAN_A_TOKEN = 64
"""Bytes by which an event has to be longer than it would be without any text, until that is looked at."""
_REASON, _GOES_ON = b'"finish_reason":', b'"finish_reason":null'

_OPENAI: Tree = {b"prompt_tokens": "prompt", b"completion_tokens": "completion", b"total_tokens": "total"}
_OTHERS: Tree = {b"input_tokens": "prompt", b"output_tokens": "completion"}
_ANTHROPIC: Tree = {**_OTHERS, b"cache_read_input_tokens": "cached", b"cache_creation_input_tokens": "created"}
_TIMINGS: Tree = {name.encode(): name for name in ("cache_n", "prompt_n", "prompt_ms", "predicted_n", "predicted_ms")}
_DELTA: Tree = {
    **dict.fromkeys((b"content", b"reasoning", b"reasoning_content", b"text", b"partial_json", b"thinking"), "text"),
    b"tool_calls": {None: {b"function": {b"arguments": "text"}}},
}
_CHOICES: Tree = {None: {b"finish_reason": "finish", b"text": "text", b"delta": _DELTA}}
_ERROR: Tree = {THERE: "error"}


@dataclass(frozen=True)
class Api:
    """Where an API's answers have what is looked for, and what an event has in it that can have any of it."""

    whole: Tree
    event: Tree
    signs: tuple[bytes, ...]


_CHAT = Api(
    whole={b"choices": {None: {b"finish_reason": "finish"}}, b"usage": _OPENAI, b"timings": _TIMINGS},
    event={b"choices": _CHOICES, b"usage": _OPENAI, b"timings": _TIMINGS, b"error": _ERROR},
    signs=(b'"abort"', b'"usage":{', b'"usage": {', b'"timings"', b'"error"'),
)
_MESSAGES = Api(
    whole={b"type": "type", b"stop_reason": "stop", b"usage": _ANTHROPIC},
    event={
        b"type": "type",
        b"message": {b"usage": _ANTHROPIC},
        b"delta": {**_DELTA, b"stop_reason": "stop"},
        b"usage": _ANTHROPIC,
        b"error": _ERROR,
    },
    signs=(b'"message_start"', b'"message_delta"', b'"message_stop"', b'"error"'),
)
_RESPONSES = Api(
    whole={b"id": "id", b"status": "status", b"usage": _OTHERS},
    event={
        b"type": "type",
        b"delta": "text",
        b"response": {b"id": "id", b"status": "status", b"usage": _OTHERS},
        b"error": _ERROR,
    },
    signs=(b'"response":', b'"error":{', b'"error": {'),
)
_APIS = {"/v1/messages": _MESSAGES, "/v1/responses": _RESPONSES}
_LAST = frozenset(f"response.{how}" for how in ("completed", "failed", "incomplete", "cancelled"))


@dataclass(frozen=True)
class Usage:
    """Tokens, and for llama.cpp the seconds that it computed; as far as the answer told."""

    prompt: int = 0
    completion: int = 0
    prefill: float = 0.0
    decode: float = 0.0


class Reading:
    """An answer that is read: the same for a whole one and for a stream."""

    streams = False

    def __init__(self, path: str) -> None:
        self._api = _APIS.get(path, _CHAT)
        self._scanner = Scanner(self._tree, self._found)
        self._words: dict[str, bytes] = {}
        self._numbers: dict[str, float] = {}
        self._gave_up = False
        self.aborted = False
        """The engine ended the answer without finishing it, which vLLM sends as a success."""
        self.failed = False
        """The engine said in the stream that it failed."""
        self.complete = False
        """The stream's last event went by: nothing that follows matters to the client."""
        self.events = 0
        """Of a stream that may be tokens; more than one for an event that has the text of several."""
        self.usage: Usage | None = None
        self.response_id = ""

    @property
    def _tree(self) -> Tree:
        return self._api.whole

    def read(self, piece: bytes, *, last: bool) -> Generator[None, None, bytes]:
        """What of it and of what was held may go by. It yields where others may have a turn."""
        yield from self._scan(piece, 0, len(piece))
        if last:
            self._judge()
        return piece

    def _scan(self, data: bytes | bytearray, start: int, end: int) -> Generator[None, None, None]:
        try:
            for at in range(start, end, SLICE):
                if at > start:
                    yield
                self._scanner.feed(bytes(data[at : min(end, at + SLICE)]))
        except TooDeep:  # no answer of an engine's
            self._words = {}

    def _found(self, what: str, word: bytes) -> None:
        """The largest of a number counts: a stream tells it again and again, and never less."""
        if what == "finish":
            self._gave_up = self._gave_up or word == b'"abort"'
        elif what == "text":
            self._numbers["text"] = self._numbers.get("text", 0) + max(0, len(word) - 2)
        elif word[:1].isdigit():
            self._numbers[what] = max(self._numbers.get(what, 0), number_of(word))
        else:
            self._words[what] = word

    def _judge(self) -> None:
        """What was found in a whole answer, or in one event."""
        words, kind = self._words, text_of(self._words.get("type", b""))
        if self._api is _MESSAGES:
            # vLLM gives no reason for the end of an aborted message: null in a stream, and none at all in a whole one.
            reason = words.get("stop", b"" if self.streams else b"null")
            self._gave_up = reason == b"null" and kind == ("message_delta" if self.streams else "message")
            self.complete = self.complete or kind == "message_stop"
        elif self._api is _RESPONSES:
            ends = not self.streams or kind in _LAST
            self._gave_up = ends and words.get("status") == b'"cancelled"'
            self.complete = self.complete or (self.streams and ends)
            self.response_id = self.response_id or text_of(words.get("id", b""))
        self.aborted = self.aborted or self._gave_up
        self._count()

    def _count(self) -> None:
        found = self._numbers.get
        prompt = found("prompt", 0) + found("cached", 0) + found("created", 0)
        completion = found("completion", 0)
        seconds = found("prompt_ms", 0) / 1e3, found("predicted_ms", 0) / 1e3
        prompt = max(prompt, found("total", 0) - completion, found("prompt_n", 0) + found("cache_n", 0))
        completion = max(completion, found("predicted_n", 0))
        if prompt or completion:
            self.usage = Usage(int(prompt), int(completion), *seconds)


class Stream(Reading):
    streams = True

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._events = Events()
        self._usual = 0
        """Bytes of an event's data that brings a token, as far as that is known."""

    @property
    def _tree(self) -> Tree:
        return self._api.event

    @property
    def longest_token(self) -> int:
        """Bytes of a piece that brings a token, and no more than one."""
        return self._usual + len(b"data: \n\n")

    def read(self, piece: bytes, *, last: bool) -> Generator[None, None, bytes]:
        """Events go by when they are whole; of an aborted one, and of what follows it, nothing does."""
        if not piece and not self._events.buffer:
            return piece
        events, sent, parts = self._events, 0, list[bytes | bytearray]()
        end_of_all = b"\n\n" if last else b""  # what isn't whole then is judged, too
        for found in events.feed(piece + end_of_all):
            if found is None:
                yield
                continue
            (start, end), data = found
            if not data:
                continue
            yield from self._read(data)
            if self.aborted:
                return b"".join([*parts, events.buffer[sent:start]])
            if "error" in self._words:
                parts += (events.buffer[sent : data[0][0]], b" ", self._rewritten(data), b"\n\n")
                sent, self.failed = end, True
        rest = events.buffer[sent : len(events.buffer) - events.held]
        events.done()
        if events.held > LARGEST:
            self.aborted = True
        return b"".join([*parts, rest.removesuffix(end_of_all)])

    def is_plain(self, piece: bytes) -> bool:
        """Whether it is an event of a usual size, and the only one, from which nothing is to be learned."""
        size = len(piece)
        if self._events.buffer or size > self._usual + LONGEST_EVENT_LINE or piece.find(b"\r") >= 0:
            return False
        at = piece.find(b"data:")
        if at < 0 or size - at <= DONE or (at and piece[at - 1] != 0x0A):
            return False
        if piece.find(b"\n", at) != size - 2 or piece[-1] != 0x0A:
            return False
        return not any(map(piece.__contains__, self._api.signs))

    def _read(self, data: list[Span]) -> Generator[None, None, None]:
        """Judges an event."""
        buffer, (start, end) = self._events.buffer, data[0]
        self.events += 1
        self._words = {}
        if end - start < 10 and buffer[start:end].strip() == b"[DONE]":
            self.complete = True
            return
        usual = len(data) == 1 and end - start <= self._usual
        if usual and not any(buffer.find(sign, start, end) >= 0 for sign in self._api.signs):
            return
        self._scanner = Scanner(self._tree, self._found)
        for start, end in data:
            yield from self._scan(buffer, start, end)
            self._scanner.feed(b"\n")
        self._judge()
        self._measure(sum(end - start for start, end in data))

    def _measure(self, size: int) -> None:
        """An event may have the text of several tokens, where a client takes them slowly."""
        text = int(self._numbers.pop("text", 0))
        self._usual = size - text + MORE_THAN_A_TOKEN
        self.events += max(0, text - BYTES_OF_A_TOKEN) // BYTES_PER_TOKEN

    def _rewritten(self, data: list[Span]) -> bytes:
        buffer = self._events.buffer
        size = sum(end - start for start, end in data)
        whole = b"\n".join(buffer[start:end] for start, end in data) if size <= engine_errors.LARGEST else b""
        return engine_errors.of_event(whole)


def tail_of(piece: bytes) -> bytes:
    """How a stream's piece ends that brings a token and tells nothing else, if its text isn't there; else empty."""
    at = piece.find(_REASON)
    tail = piece[at:] if at >= 0 else b""
    if not tail.startswith(_GOES_ON) or not tail.endswith(b"\n\n") or b'"delta"' in tail or b'"text"' in tail:
        return b""
    return _the_one(tail) if is_token(piece, tail) else b""


def is_token(piece: bytes, tail: bytes) -> bool:
    """Whether a piece differs from one with that tail by its token alone.

    It is one line, so it is one event. The only name of that kind in it begins the tail, so there is one choice, and it
    goes on; in a text the quotation marks of that name would be escaped.
    """
    size = len(piece)
    return piece.endswith(tail) and piece.find(_REASON) == size - len(tail) and piece.find(b"\n") == size - 2


@lru_cache(maxsize=16)
def _the_one(tail: bytes) -> bytes:
    """The same object for all streams: then it is in the processor's caches."""
    return tail
