"""What the spec of a model says about requests: from where, with which keys, and which wake the model. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from slipway.activator.shared import request_line
from slipway.activator.shared.allow_from import AllowFrom
from slipway.activator.shared.request_line import LinePatterns
from slipway.contract.engines import BUILT_IN, VLLM

ANY_PAGE = "*"


@dataclass(frozen=True, kw_only=True)
class RequestRules:
    is_readable: bool = True  # False: no request is admitted, because what can't be read may be a restriction
    allow_from: AllowFrom | None = None  # None: from everywhere
    keys_secret: str | None = None
    wake_on: tuple[str, ...] | None = None  # None: all that the engine computes for
    engine: str = VLLM.name
    task: str = ""  # what the model is for: a Task; empty: only its pods know, or its engine isn't ours
    names: tuple[str, ...] = ()  # that clients may send as "model"
    created: int = 0  # seconds since 1970
    web_pages: tuple[str, ...] = ()  # origins of web pages that may call the engine; * for all

    @cached_property
    def is_ours(self) -> bool:
        """Whether the engine's pods have the guard, and so it is known what they serve."""
        return any(self.engine == each.name for each in BUILT_IN)

    @cached_property
    def waking(self) -> LinePatterns | None:
        """`wake_on`, parsed once, and not for each request."""
        if self.wake_on is None:
            return None
        return LinePatterns(tuple(request_line.pattern(each, may_be_open=True) for each in self.wake_on))
