"""Which fields of a spec need a model that generates text, and what says so of another one."""

from __future__ import annotations

from slipway.api.schema import Rule, cel
from slipway.contract.tasks import POOLING, Task

NOT_GENERATING = (*POOLING, Task.TRANSCRIBE)
_IS_NOT_GENERATING = f"has(self.model.task) && self.model.task in {cel([*map(str, NOT_GENERATING)])}"


def _needs_text(is_set: str, at: str, instead: str) -> Rule:
    return Rule(
        rule=f"!({_IS_NOT_GENERATING}) || !({is_set})",
        message=f"only a model that generates text has {instead}, or set model.task to Generate",
        at=at,
        why="FieldValueForbidden",
    )


RULES = (
    _needs_text(
        "has(self.engine) && has(self.engine.speculative)",
        ".engine.speculative",
        "speculative decoding: remove engine.speculative",
    ),
    _needs_text(
        "has(self.slo) && (has(self.slo.ttftP95) || has(self.slo.tpotP95))",
        ".slo",
        "a time to first token and a time per output token: set slo.e2eP99 instead of ttftP95 and tpotP95",
    ),
    _needs_text(
        "has(self.scaling) && has(self.scaling.target) && "
        "(has(self.scaling.target.ttftP95) || has(self.scaling.target.tpotP95))",
        ".scaling.target",
        "a time to first token and a time per output token: set scaling.target.inFlight instead of ttftP95 and tpotP95",
    ),
)
