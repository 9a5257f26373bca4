"""What the guard checks in a request's body before the engine sees it, and how much memory bodies may take at a time.

At the top level of the JSON it checks: the model, which has to be a served one, since llama.cpp accepts any name;
numbers that the OpenAI API or vLLM bounds and not every engine does; the ids of stored responses; and the number of
answers that are requested. Of a member that occurs twice, each occurrence counts. Whether all of it is valid JSON, the
engine finds out. What llama.cpp reads beyond that is checked by `members`.

Where a response doesn't report the tokens of its prompt, an estimate is charged. It leaves out pictures and sounds, at
the places where APIs have them: their bytes are many times what a model makes of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

from slipway_runtime.guard import errors, members
from slipway_runtime.guard.errors import BYTES_OF_A_BYTE, BYTES_OF_A_VALUE, ErrorResponse
from slipway_runtime.guard.members import Members, out_of_range
from slipway_runtime.guard.scanner import (
    DEEPEST,
    EACH,
    SLICE,
    STRING,
    THERE,
    Scanner,
    TooDeep,
    Tree,
    number_of,
    text_of,
)
from slipway_runtime.guard.settings import GuardSettings
from slipway_runtime.guard.values import Values

GRACE = 30.0  # seconds that any body may take
SLOWEST = 32 << 10  # bytes that earn another second
RETRY_AFTER = 1
BYTES_PER_TOKEN, BYTES_PER_TOKEN_OF_MEDIA = 4, 1000
TOKENS_OF_A_MEDIUM = 1000
"""At least: that of a picture of a megapixel."""

ABOVE_0 = 1e-300
_RANGES = {
    # from, to, and how an error describes the range
    "temperature": (0.0, 2.0, "from 0 to 2"),
    "top_p": (ABOVE_0, 1.0, "above 0 and at most 1"),
    "max_tokens": (1.0, 1e15, "at least 1"),
    "max_completion_tokens": (1.0, 1e15, "at least 1"),
    "max_output_tokens": (1.0, 1e15, "at least 1"),
    "min_tokens": (0.0, 1e15, "at least 0"),
    "presence_penalty": (-2.0, 2.0, "from -2 to 2"),
    "frequency_penalty": (-2.0, 2.0, "from -2 to 2"),
    "repetition_penalty": (ABOVE_0, 1e15, "above 0"),
    "top_k": (-1.0, 1e15, "-1, 0 or more"),
    "min_p": (0.0, 1.0, "from 0 to 1"),
}
_LOGPROBS = ("logprobs", "top_logprobs", "n_probs")
"""The names that APIs have for the number of tokens reported next to each one; llama.cpp has no bound for it."""
_ANSWERS = ("n", "n_cmpl")
"""The names that they have for the number of answers to each prompt."""
_ONE_ANSWER = ("/v1/messages", "/v1/responses")
_MANY_PROMPTS = "/v1/completions"

MOST_ITEMS = 2048
"""Messages, their parts, tools and strings in a request. Engines need far more memory and time for one than its bytes
suggest, most of all for one of the wrong type: for 32,768 numbers as the input of a response, 64 KiB, vLLM needs 17
GiB."""
_TOKENS = ("/v1/embeddings", "/pooling", "/classify")
"""Paths whose input may be tokens."""

_COMPARED = (b"documents", b"query", b"queries", b"items", b"text_1", b"text_2", b"data_1", b"data_2")
"""Members of requests for ranks and scores."""
_MEDIUM: Tree = {STRING: "medium", b"url": "medium", b"data": "medium"}
_PARTS: Tree = {
    EACH: "item",
    None: {
        **dict.fromkeys((b"image_url", b"video_url", b"audio_url", b"input_audio", b"source"), _MEDIUM),
        b"content": {None: {b"source": _MEDIUM}},
    },
}
_MESSAGES: Tree = {EACH: "item", None: {b"content": _PARTS, b"output": _PARTS}}
_PROMPT: Tree = {b"multimodal_data": {None: "medium"}}
_WANTED: Tree = {
    **{name.encode(): name for name in ("model", "previous_response_id", "request_id")},
    **{name.encode(): name for name in (*_RANGES, *_LOGPROBS, *_ANSWERS)},
    b"messages": _MESSAGES,
    b"input": _MESSAGES,
    **{name: {EACH: "item"} for name in (b"stop", b"bad_words", *_COMPARED)},
    b"tools": {EACH: "tool"},
    b"tool_choice": {STRING: "choice", b"type": "choice"},
    b"prompt": {**_PROMPT, None: {**_PROMPT, STRING: "prompt", THERE: "prompt"}},
}
_TOOLS: Tree = {b"tools": {EACH: "tool", **members.TOOLS}}
_WANTED_BY: Mapping[str, Tree] = {
    "llamacpp": {**_WANTED, **_TOOLS, **members.TREE},
    "vllm": {**_WANTED, **_TOOLS, **members.TREE_OF_VLLM},
}
LONGEST_MARK = 4
"""Bytes by which the encodings of JSON can be distinguished."""


class Body:
    """Checks one request's body while it is read; `refusal` is the first error."""

    def __init__(self, path: str, settings: GuardSettings, *, owns: Callable[[str], bool] | None) -> None:
        """`owns` says whether a stored response belongs to the client's key; None where there are no keys."""
        self.refusal: ErrorResponse | None = None
        self._path, self._owns = path, owns
        self._served, self._most_logprobs = settings.models, float(settings.max_logprobs)
        self._members = Members(only_sizes=settings.engine != "llamacpp")
        wanted = _WANTED_BY.get(settings.engine, _WANTED)
        self._scanner = Scanner(wanted, self._found, deepest=DEEPEST)
        self._values = Values()
        self._why_no_tools, self._has_tools, self._is_without = settings.no_tools, False, False
        self._start: bytes | None = b""
        """The start of the body, until it is longer than any byte order mark; None after that."""
        self._items = self._input_tokens = 0
        self._bytes = self._commas = self._media = self._bytes_of_media = self._prompts = 0
        self.answers = 1
        """The number of answers to each prompt."""

    @property
    def prompts(self) -> int:
        return max(1, self._prompts if self._path == _MANY_PROMPTS else 1)

    @property
    def memory(self) -> int:
        """Memory that an engine takes for what was read, besides the bytes themselves."""
        return (BYTES_OF_A_BYTE - 1) * self._bytes + BYTES_OF_A_VALUE * self._values.number

    @property
    def tokens(self) -> int:
        """An estimate of the prompts' tokens: by bytes, or where the prompt consists of numbers, by commas."""
        media = self._bytes_of_media + self._scanner.long_bytes
        of_media = max(self._media * TOKENS_OF_A_MEDIUM, media // BYTES_PER_TOKEN_OF_MEDIA)
        return of_media + max(max(0, self._bytes - media) // BYTES_PER_TOKEN, self._commas)

    def feed(self, piece: bytes) -> None:
        """Reads a part of the body, one of `slices`."""
        self._bytes += len(piece)
        self._commas += piece.count(b",")
        self._values.feed(piece)
        if self._start is None:
            self._scan(piece)
        else:
            self._start += piece
            if len(self._start) >= LONGEST_MARK:
                self._begin()

    def end(self) -> None:
        """Checks what depends on several members, now that all of them are known."""
        self._begin()
        if self._why_no_tools and self._has_tools and not self._is_without:
            self.refusal = self.refusal or errors.no_tools(self._why_no_tools)

    def _begin(self) -> None:
        if self._start is not None:
            start, self._start = self._start, None
            self._scan(self._after_mark(start))

    def _scan(self, piece: bytes) -> None:
        try:
            self._scanner.feed(piece)
        except TooDeep:
            self.refusal = errors.TOO_DEEP

    def _after_mark(self, start: bytes) -> bytes:
        if b"\0" in start[:LONGEST_MARK] or start.startswith((b"\xff\xfe", b"\xfe\xff")):
            self.refusal = errors.NO_UTF8  # Python's JSON parser would accept it all the same
        return start.removeprefix(b"\xef\xbb\xbf")

    def _found(self, what: str, word: bytes) -> None:
        if what == "medium":
            self._media += 1
            self._bytes_of_media += len(word)
        elif what == "prompt":
            self._prompts += 1
        elif what == "choice":
            self._is_without = word == b'"none"'
        elif what in ("item", "tool"):
            self._has_tools |= what == "tool"
            self._item(is_token=word.isdigit() and self._path in _TOKENS)
        elif self.refusal is None:
            judges = self._members.wrong if " " in what else self._wrong
            self.refusal = judges(what, word)

    def _item(self, *, is_token: bool) -> None:
        """Counts an item. Tokens are many, and valid only among themselves: next to strings, each of them is an item,
        too."""
        self._items, self._input_tokens = self._items + (not is_token), self._input_tokens + is_token
        if self._items and self._items + self._input_tokens > MOST_ITEMS:
            self.refusal = self.refusal or errors.too_many_items(MOST_ITEMS)

    def _wrong(self, what: str, word: bytes) -> ErrorResponse | None:
        match what:
            case "model":
                return self._wrong_model(word)
            case "previous_response_id" if self._owns and word != b"null":
                name = text_of(word)
                return None if self._owns(name) else errors.no_such_response(name)
            case "request_id" if self._owns and word != b"null":
                return errors.OWN_ID
        if what in _LOGPROBS:
            return out_of_range(what, word, 0.0, self._most_logprobs, f"from 0 to {self._most_logprobs:.0f}")
        if what in _ANSWERS:
            self.answers = max(self.answers, int(number_of(word)))
            most, wanted = (1.0, "1 here") if self._path in _ONE_ANSWER else (1e9, "at least 1")
            return out_of_range(what, word, 1.0, most, wanted)
        return out_of_range(what, word, *_RANGES[what]) if what in _RANGES else None

    def _wrong_model(self, word: bytes) -> ErrorResponse | None:
        """Checks the model's name. A missing one, null and "" mean the served model."""
        if not self._served or word in (b"null", b'""'):
            return None
        if not word.startswith(b'"'):
            return errors.MODEL_NO_STRING
        name = text_of(word)
        return None if name in self._served else errors.no_such_model(name, self._served)


def slices(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yields the pieces in parts that are small enough to let other requests have their turns."""
    for piece in pieces:
        if len(piece) <= SLICE:
            yield piece
        else:
            yield from (piece[at : at + SLICE] for at in range(0, len(piece), SLICE))


class BodyMemory:
    """The memory of the bodies of all requests under way, from their arrival until the requests have ended.

    It is what an engine takes: the bytes, and what it makes of them while it reads them. That stays reserved until the
    request ends, because engines keep what they have read that long.
    """

    def __init__(self, *, total: int, of_owner: int) -> None:
        self._total, self._most_of_owner = total, of_owner
        self._taken = 0
        self._of_owner: Counter[str] = Counter()

    def take(self, owner: str, size: int, *, has: int = 0) -> ErrorResponse | None:
        """Reserves more bytes for a request that has some already, or returns why there is no room for them."""
        if has + size > self._most_of_owner:
            return errors.takes_too_much(self._most_of_owner)
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
