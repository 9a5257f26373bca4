"""One request that was let in, from its first byte to its last: what happened to it, and when."""

from dataclasses import dataclass, field

from slipway_runtime.guard import answers
from slipway_runtime.guard.answers import Usage
from slipway_runtime.guard.routes import Kind
from slipway_runtime.tracing.context import Trace

STREAM = "text/event-stream"
BYTES_PER_TOKEN = 4  # of a request's body
EVENTS_WITHOUT_TOKENS = 2  # of a stream: the one that opens it, and [DONE]


@dataclass(slots=True, eq=False)
class Visit:
    method: str
    path: str
    """As the route has it, with * in place of ids; so it can't hold anything of the client's."""
    kind: Kind | None
    owner: str
    request_id: str
    trace: Trace
    started: float
    supervisor: bool = False
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
    usage: Usage | None = None
    reason: str = ""
    """Why it didn't end as it should have; empty if it did."""
    body_bytes: int = 0
    """Of the request, as far as it was read."""
    charged: int = 0
    """Tokens of it that its owner's bucket has paid."""
    complete: bool = False
    """Its stream's last event went by: many clients hang up then, and miss nothing."""
    cut: bool = False
    """It is being ended by us."""
    work: bool = field(init=False)
    """The engine computes for it."""

    def __post_init__(self) -> None:
        self.work = self.kind is Kind.WORK

    def answer(self, status: int, content_type: str) -> None:
        self.status = status
        self.stream = content_type.startswith(STREAM)

    def piece(self, body: bytes, now: float) -> int:
        """A piece of the answer goes by; returns the tokens that can be seen in it."""
        if not self.first:
            self.first = now
        self.last = now
        if usage := answers.usage_in(body):
            self.usage = usage
        if not self.stream:
            return usage.completion if usage else 0
        events = answers.events_in(body)
        self.events += events
        self.complete = self.complete or answers.is_last(body)
        return events

    def client_left(self) -> None:
        if not self.complete:
            self.reason = self.reason or "client_gone"

    def aborted(self, body: bytes) -> bool:
        return self.work and self.status == 200 and answers.aborted(body, self.path, stream=self.stream)

    @property
    def tokens(self) -> int:
        """Of prompt and answer, as far as they are known: the answer's as they come, the prompt's as the end tells."""
        return self.prompt_tokens + self.completion_tokens

    @property
    def tokens_at_the_end(self) -> int:
        """Where nothing was told, by a stream without usage or to a client that left, the prompt is guessed."""
        guess = 0 if self.usage or self.status not in (0, 200) else self.body_bytes // BYTES_PER_TOKEN
        return self.tokens + guess

    @property
    def prompt_tokens(self) -> int:
        return self.usage.prompt if self.usage else 0

    @property
    def completion_tokens(self) -> int:
        if self.usage and self.usage.completion:
            return self.usage.completion
        return max(0, self.events - EVENTS_WITHOUT_TOKENS) if self.work and self.status == 200 else 0

    @property
    def per_token(self) -> float | None:
        """Seconds for each token after the first; None where that means nothing."""
        tokens = self.completion_tokens
        return (self.last - self.first) / (tokens - 1) if self.stream and tokens > 1 else None
