"""The account of one request from its first byte to its last: what happened to it, and when."""

from dataclasses import dataclass, field

from slipway_runtime.guard.answers import BYTES_PER_TOKEN, Reading, Stream, Usage, read_at_once
from slipway_runtime.guard.bodies import BYTES_PER_TOKEN_OF_MEDIA, GRACE, SLOWEST, Body
from slipway_runtime.guard.errors import ErrorResponse
from slipway_runtime.guard.routes import BodyKind, RouteKind
from slipway_runtime.tracing.context import Trace

STREAM, JSON, BINARY = "text/event-stream", "application/json", "application/octet-stream"
UNSEEN_PER_SECOND = 30
"""Tokens that are charged for a non-streaming response whose client left before it."""
IN_BACKGROUND = "/v1/responses"  # may be answered before anything was computed
EVENTS_WITHOUT_TOKENS = 2  # in a stream: the opening one, and [DONE]


@dataclass(slots=True, eq=False)
class Visit:
    method: str
    path: str
    """The route's path, with * in place of ids, so it contains nothing that the client chose."""
    kind: RouteKind | None
    owner: str
    request_id: str
    trace: Trace
    started: float
    hold: str = ""
    """The activator's header about it, as it is; empty where nothing is traced."""
    sender: str = ""
    """Whose limit counts while the body arrives: the owner, or where there are no keys, the client's address."""
    supervisor: bool = False
    takes: BodyKind = BodyKind.NOTHING
    most_bytes: int = 0
    """The most bytes of its body."""
    admitted: float = 0.0
    """When its body was complete, and it took a place; 0 if it has none."""
    taken: float = 0.0
    """When it left the engine's queue, if that is ours; else 0."""
    first: float = 0.0
    """When the first piece of the response passed; 0 if none has."""
    last: float = 0.0
    """When the last piece passed that was read; of a complete response, its last."""
    longest_gap: float = 0.0
    """Of the times between tokens of its stream, where we measure them."""
    ended: float = 0.0
    status: int = 0
    stream: bool = False
    events: int = 0
    """Events of its stream, as far as they may be tokens."""
    text: int = 0
    """Bytes of the text in them."""
    usage: Usage | None = None
    reason: str = ""
    """Why it didn't end as it should have; empty if it did."""
    body_bytes: int = 0
    """Bytes of its body that have arrived."""
    memory: int = 0
    """Memory of its body: its bytes, and what the engine makes of them."""
    prompts: int = 1
    answers: int = 1
    """The number of answers to each prompt."""
    guess: int = 0
    """The estimated tokens of its prompts, by its body."""
    charged: int = 0
    """Tokens that its owner was charged for it."""
    complete: bool = False
    """Its stream's last event has passed: many clients hang up then, and miss nothing."""
    is_awaited: bool = False
    """Its body is incomplete, and nothing else happens to it."""
    cut: ErrorResponse | None = None
    """The error that its client gets, once the guard has cancelled it."""
    reading: Reading | None = None
    """Reads its response; None if nothing is to be learned from that."""
    work: bool = field(init=False)
    """The engine computes for it."""
    limited: bool = field(init=False)
    """It counts for its owner's limits of requests."""

    def __post_init__(self) -> None:
        self.work = self.kind is RouteKind.WORK
        self.limited = self.work or self.kind is RouteKind.LIMITED

    def asked(self, body: Body) -> None:
        self.prompts, self.answers, self.guess = body.prompts, body.answers, body.tokens

    def answer(self, status: int, content_type: str, metadata: str = "") -> None:
        """The response's head is here. Embeddings as bytes report their usage in a header."""
        self.status = status
        self.stream = content_type.startswith(STREAM)
        if self.work and status == 200 and self.stream:
            self.reading = Stream(self.path)
        elif self.work and status == 200 and content_type.startswith(JSON):
            self.reading = Reading(self.path)
        elif self.work and status == 200 and content_type.startswith(BINARY):
            self.usage = read_at_once(metadata.encode("latin-1"), self.path).usage

    def piece(self, now: float) -> int:
        """Counts a piece of the response that has been read; returns the tokens that are visible in it."""
        if not self.first:
            self.first = now
        self.last = now
        if (reading := self.reading) is None:
            return 0
        events, reading.events = reading.events, 0
        self.events += events
        self.text += reading.text
        reading.text = 0
        self.complete = reading.complete
        if reading.failed:
            self.reason = self.reason or "engine_error"
        if reading.usage is not self.usage:
            self.usage = reading.usage
            return events if self.stream else self.completion_tokens
        return events

    def is_late(self, now: float) -> bool:
        """Returns whether its body should be complete by now."""
        return self.is_awaited and now > self.started + GRACE + self.body_bytes / SLOWEST

    def client_left(self) -> None:
        if not self.complete:
            self.reason = self.reason or "client_gone"

    @property
    def done(self) -> bool:
        """Whether the engine has answered it, judged by what only a working engine can say.

        The web server of a hung engine still reports clients' mistakes, opens streams without a token, and accepts a
        response that is to be computed in the background, which has no usage.
        """
        if not self.first or not 200 <= self.status < 300 or self.reason:
            return False
        may_be_empty = self.stream or self.path == IN_BACKGROUND
        return not may_be_empty or self.usage is not None or self.completion_tokens > 0

    @property
    def tokens(self) -> int:
        """Tokens of prompt and response as far as they are known: the response's while they pass, the prompt's at the
        end."""
        return self.prompt_tokens + self.completion_tokens

    @property
    def tokens_at_the_end(self) -> tuple[int, int]:
        """Tokens of prompt and response to charge in the end. Without reported usage, in a stream or because the client
        left, the prompt is estimated."""
        if self.usage or self.status not in (0, 200):
            return self.prompt_tokens, self.completion_tokens
        return self.prompt_tokens + self._guess, self.completion_tokens + self._unseen

    @property
    def failed(self) -> bool:
        """Whether it was not answered, through no fault of its client."""
        return self.status >= 500 or self.reason == "engine_error"

    @property
    def _guess(self) -> int:
        """The estimate for the prompt. A form contains audio."""
        return self.body_bytes // BYTES_PER_TOKEN_OF_MEDIA if self.takes is BodyKind.ANYTHING else self.guess

    @property
    def _unseen(self) -> int:
        """An estimate of what was computed of a non-streaming response until its client left, by time."""
        if self.first or self.reason != "client_gone":
            return 0
        return int(UNSEEN_PER_SECOND * max(0.0, self.ended - (self.taken or self.started)))

    @property
    def prompt_tokens(self) -> int:
        if self.usage is None:
            return 0
        if self.prompts > 1 and self.usage.decode:  # of several prompts, llama.cpp reports one
            return max(self.usage.prompt, self.guess)
        return self.usage.prompt

    @property
    def completion_tokens(self) -> int:
        """As reported; else, or while choices are still missing, the number of events, or an estimate by their text if
        higher."""
        told = self.usage.completion if self.usage else 0
        if (told and (self.complete or not self.stream)) or not self.work or self.status != 200:
            return told
        return max(told, self.events - EVENTS_WITHOUT_TOKENS, self.text // BYTES_PER_TOKEN)

    @property
    def per_token(self) -> float | None:
        """Seconds for each token after the first; None where that means nothing."""
        tokens = self.completion_tokens
        return (self.last - self.first) / (tokens - 1) if self.stream and tokens > 1 else None
