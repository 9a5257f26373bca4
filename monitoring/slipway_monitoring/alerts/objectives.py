"""Alerts about objectives: an error budget burns, over two windows at once (Google's SRE workbook, chapter 5).

The long window shows that it matters, the short one that it still goes on. A fast burn needs a person now; a slow one
within the day. At a rate of 1, the budget lasts exactly as long as the window of `spec.slo`, however long that is; the
defaults are those of the workbook for 30 days.
"""

from __future__ import annotations

from slipway_monitoring.promql import WHO, while_
from slipway_monitoring.rule import Alert, Condition, Parameter
from slipway_monitoring.vocabulary.objectives import burn, requests_in

PARAMETERS = (
    Parameter(name="slowSeverity", default="warning", meaning="the label `severity` of a slow burn."),
    Parameter(name="slowFor", default="15m", meaning="how long a slow burn must last."),
    Parameter(
        name="fastest",
        default=14.4,
        meaning="burn rate over `fastestWindow` from which it is fast. At 1, the budget lasts for spec.slo.window.",
    ),
    Parameter(name="fastestWindow", default="1h", meaning="its long window."),
    Parameter(name="fastestShortWindow", default="5m", meaning="its short window."),
    Parameter(name="fast", default=6, meaning="burn rate over `fastWindow` from which it is fast, too."),
    Parameter(name="fastWindow", default="6h", meaning="its long window."),
    Parameter(name="fastShortWindow", default="30m", meaning="its short window."),
    Parameter(name="slow", default=1, meaning="burn rate over `slowWindow` from which it is slow."),
    Parameter(name="slowWindow", default="3d", meaning="its long window."),
    Parameter(name="slowShortWindow", default="6h", meaning="its short window."),
    Parameter(name="requests", default=20, meaning="requests in the long window, at least: one of two is no trend."),
)


def _burns(slo: str, speed: str) -> str:
    step = ":5m" if speed == "slow" else ""
    long, short = f"${{{speed}Window}}{step}", f"${{{speed}ShortWindow}}{step}"
    return while_(
        f"({burn(long, slo)}) > ${{{speed}}}",
        f"({burn(short, slo)}) > ${{{speed}}}",
        f"{requests_in(long, slo)} >= ${{requests}}",
    )


def _alert(name: str, slo: str, what: str, objective: str) -> Alert:
    return Alert(
        name=name,
        meaning=f"Too many requests {what}: the error budget of `{objective}` burns over a long and a short window.",
        severity="critical",
        lasting="2m",
        parameters=PARAMETERS,
        summary=f"The error budget of {WHO} for {objective} burns {{{{ $value | humanize }}}} times as fast as allowed",
        description=f"Too many requests to {WHO} {what}: its error budget burns {{{{ $value | humanize }}}} times "
        "as fast as allowed. `slipway:slo_budget_left:ratio` says what is left of it.",
        conditions=(
            Condition(expression=f"{_burns(slo, 'fastest')}\nor {_burns(slo, 'fast')}", labels={"burn": "fast"}),
            Condition(
                expression=_burns(slo, "slow"), severity="slowSeverity", lasting="slowFor", labels={"burn": "slow"}
            ),
        ),
    )


ALERTS = (
    _alert(
        "SlipwayAvailabilityBudgetBurning", "availability", "fail or are refused by the activator", "slo.availability"
    ),
    _alert("SlipwayTTFTBudgetBurning", "ttft", "wait too long for their first token", "slo.ttftP95"),
    _alert("SlipwayTPOTBudgetBurning", "tpot", "get their tokens too slowly", "slo.tpotP95"),
    _alert("SlipwayE2EBudgetBurning", "e2e", "take too long as a whole", "slo.e2eP99"),
)
