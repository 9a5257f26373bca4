"""One request that was let in, from its first byte to its last: what happened to it, and when."""

from dataclasses import dataclass, field

from slipway_runtime.guard.answers import BYTES_PER_TOKEN, Reading, Stream, Usage, read_at_once
from slipway_runtime.guard.bodies import BYTES_PER_TOKEN_OF_MEDIA, GRACE, SLOWEST, Body
from slipway_runtime.guard.errors import ErrorResponse
from slipway_runtime.guard.routes import BodyKind, RouteKind
from slipway_runtime.tracing.context import Trace

STREAM, JSON, BINARY = "text/event-stream", "application/json", "application/octet-stream"
UNSEEN_PER_SECOND = 30
"""Tokens of an answer that was to come in one piece, and whose client left before."""
IN_BACKGROUND = "/v1/responses"  # may be answered before anything was computed
EVENTS_WITHOUT_TOKENS = 2  # of a stream: the one that opens it, and [DONE]


@dataclass(slots=True, eq=False)
class Visit:
    method: str
    path: str
    """As the route has it, with * in place of ids; so it can't hold anything of the client's."""
    kind: RouteKind | None
    owner: str
    request_id: str
    trace: Trace
    started: float
    sender: str = ""
    """Of whom it counts while its body comes: its owner, or where there are no keys, the client's address."""
    supervisor: bool = False
    takes: BodyKind = BodyKind.NOTHING
    most_bytes: int = 0
    """Of its body."""
    taken: float = 0.0
    """When it left the engine's queue, if that is ours; else 0."""
    first: float = 0.0
    """When the first piece of the answer came; 0 if none has."""
    last: float = 0.0
    """When the last piece came that was looked at: of a whole answer, its last."""
    ended: float = 0.0
    status: int = 0
    stream: bool = False
    events: int = 0
    """Of its stream, as far as they may be tokens."""
    text: int = 0
    """Bytes of the text in them."""
    usage: Usage | None = None
    reason: str = ""
    """Why it didn't end as it should have; empty if it did."""
    body_bytes: int = 0
    """Of the request, as far as it was read."""
    memory: int = 0
    """That its body takes: its bytes, and what the engine makes of them."""
    prompts: int = 1
    answers: int = 1
    """That are to come: so many for each prompt."""
    guess: int = 0
    """Tokens of its prompts, by what its body has."""
    charged: int = 0
    """Tokens of it that its owner's bucket has paid."""
    complete: bool = False
    """Its stream's last event went by: many clients hang up then, and miss nothing."""
    is_awaited: bool = False
    """Its body is, and nothing else."""
    cut: ErrorResponse | None = None
    """What its client will be told, when it is being ended by us."""
    reading: Reading | None = None
    """How its answer is read; None if nothing is to be learned from that."""
    work: bool = field(init=False)
    """The engine computes for it."""
    limited: bool = field(init=False)
    """It counts as one of its owner's requests."""

    def __post_init__(self) -> None:
        self.work = self.kind is RouteKind.WORK
        self.limited = self.work or self.kind is RouteKind.LIMITED

    def asked(self, body: Body) -> None:
        self.prompts, self.answers, self.guess = body.prompts, body.answers, body.tokens

    def answer(self, status: int, content_type: str, metadata: str = "") -> None:
        """Its first words have come. Embeddings as bytes tell their usage in a header."""
        self.status = status
        self.stream = content_type.startswith(STREAM)
        if self.work and status == 200 and self.stream:
            self.reading = Stream(self.path)
        elif self.work and status == 200 and content_type.startswith(JSON):
            self.reading = Reading(self.path)
        elif self.work and status == 200 and content_type.startswith(BINARY):
            self.usage = read_at_once(metadata.encode("latin-1"), self.path).usage

    def piece(self, now: float) -> int:
        """A piece of the answer goes by that has been read; returns the tokens that can be seen in it."""
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
        """So is one whose body should be there by now."""
        return self.is_awaited and now > self.started + GRACE + self.body_bytes / SLOWEST

    def client_left(self) -> None:
        if not self.complete:
            self.reason = self.reason or "client_gone"

    @property
    def done(self) -> bool:
        """The engine has answered it, by what only an engine that works can say.

        A web server whose engine hangs still finds mistakes of clients, opens streams without a token, and takes a
        response that is to be computed in the background, which tells no usage.
        """
        if not self.first or not 200 <= self.status < 300 or self.reason:
            return False
        may_be_empty = self.stream or self.path == IN_BACKGROUND
        return not may_be_empty or self.usage is not None or self.completion_tokens > 0

    @property
    def tokens(self) -> int:
        """Of prompt and answer, as far as they are known: the answer's as they come, the prompt's as the end tells."""
        return self.prompt_tokens + self.completion_tokens

    @property
    def tokens_at_the_end(self) -> int:
        """Where nothing was told, by a stream without usage or to a client that left, the prompt is guessed."""
        if self.usage or self.status not in (0, 200):
            return self.tokens
        return self.tokens + self._guess + self._unseen

    @property
    def _guess(self) -> int:
        """Of the prompt. What comes as a form is audio."""
        return self.body_bytes // BYTES_PER_TOKEN_OF_MEDIA if self.takes is BodyKind.ANYTHING else self.guess

    @property
    def _unseen(self) -> int:
        """What was computed of a whole answer until its client left, by the time that it took."""
        if self.first or self.reason != "client_gone":
            return 0
        return int(UNSEEN_PER_SECOND * max(0.0, self.ended - (self.taken or self.started)))

    @property
    def prompt_tokens(self) -> int:
        if self.usage is None:
            return 0
        if self.prompts > 1 and self.usage.decode:  # of several prompts, llama.cpp tells one
            return max(self.usage.prompt, self.guess)
        return self.usage.prompt

    @property
    def completion_tokens(self) -> int:
        """As they are told; where not, or not of all choices yet, by the events, or their text if that is of more."""
        told = self.usage.completion if self.usage else 0
        if (told and (self.complete or not self.stream)) or not self.work or self.status != 200:
            return told
        return max(told, self.events - EVENTS_WITHOUT_TOKENS, self.text // BYTES_PER_TOKEN)

    @property
    def per_token(self) -> float | None:
        """Seconds for each token after the first; None where that means nothing."""
        tokens = self.completion_tokens
        return (self.last - self.first) / (tokens - 1) if self.stream and tokens > 1 else None
