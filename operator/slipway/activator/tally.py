"""What has happened to requests since the activator began, as plain numbers; `meters` tells Prometheus. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Tally:
    connections: int = 0  # that are open
    wakes: int = 0  # requests that found no replica and no wake under way
    forwarded: int = 0  # requests that were sent to a replica, each once
    retries: int = 0  # of them, sent again after a try that failed
    refused: Counter[str] = field(default_factory=Counter)  # by the reason that the client was told
