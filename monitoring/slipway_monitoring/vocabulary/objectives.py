"""Objectives of spec.slo: how many requests met them, how fast the error budget burns, and what is left of it.

Latencies are counted by the histogram's boundary that the operator has chosen for each objective, so that no quantile
is estimated. A pod without this boundary, which an older version of Slipway has made, is not counted at all.
"""

from __future__ import annotations

from slipway_monitoring.promql import first_of, labels, largest, rate, total
from slipway_monitoring.rule import INTERVAL, Group, Recording
from slipway_monitoring.vocabulary.requests import COUNTED, FAILED
from slipway_monitoring.vocabulary.sources import HISTOGRAMS, OF_BUILT_IN

TIMES = ("ttft", "tpot", "e2e")
WINDOWS = {"1d": 86_400, "7d": 604_800, "30d": 2_592_000}
"""Windows over which what is left of a budget is recorded; a model's window counts as the next longer one of these."""

OF_POD = "slipway:slo_good_by_pod:rate5m"
GOOD, COUNTED_ALL = "slipway:slo_good:rate5m", "slipway:slo_requests:rate5m"
OBJECTIVE = "slipway:slo_objective:ratio"
AS_WANTED = "Requests per second that met the objective `slo`"
ALL = "Requests per second for which the objective `slo` holds"


def _of_times(slo: str) -> tuple[Recording, ...]:
    wanted, told = f'slipway_slo_objective{{slo="{slo}"}}', {"slo": slo}
    of_pods, every = f'{OF_POD}{{slo="{slo}"}}', _by_pod(slo, matching='{le="+Inf"}')
    return (
        Recording(
            name=OF_POD,
            meaning=f"{AS_WANTED}, of each pod whose histogram has its boundary",
            unit="per second",
            expression=total(f"({_by_pod(slo, 'le')})\nand on ({labels('le')}) {wanted}", "pod"),
            labels=told,
        ),
        Recording(name=GOOD, meaning=AS_WANTED, unit="per second", expression=total(of_pods), labels=told),
        Recording(
            name=COUNTED_ALL,
            meaning=ALL,
            unit="per second",
            expression=total(f"({every})\nand on ({labels('pod')}) {of_pods}"),
            labels=told,
        ),
        Recording(
            name=OBJECTIVE,
            meaning="Share of requests that have to meet the objective `slo`",
            unit="ratio",
            expression=largest(wanted),
            labels=told,
        ),
    )


def _by_pod(slo: str, *more: str, matching: str = "") -> str:
    """Rates of the buckets of engines that Slipway builds in; others have no objectives."""
    sources = (each for engine, each in HISTOGRAMS[slo].items() if engine in OF_BUILT_IN)
    return first_of(*(total(rate(f"{each}_bucket{matching}"), "pod", *more) for each in sources))


def _of_availability() -> tuple[Recording, ...]:
    rates, wanted = "slipway:requests:rate5m", "slipway_slo_availability_objective"
    counted = f"{rates}{{{COUNTED}}}\nand on ({labels()}) {wanted}"
    good = f"({rates}{{{COUNTED}}} unless {rates}{{{FAILED}}} or {rates}{{{FAILED}}} * 0)\nand on ({labels()}) {wanted}"
    told = {"slo": "availability"}
    return (
        Recording(name=GOOD, meaning=AS_WANTED, unit="per second", expression=total(good), labels=told),
        Recording(name=COUNTED_ALL, meaning=ALL, unit="per second", expression=total(counted), labels=told),
        Recording(name=OBJECTIVE, meaning="", unit="ratio", expression=largest(wanted), labels=told),
    )


def missed(window: str, slo: str = "", good: str = GOOD, every: str = COUNTED_ALL) -> str:
    """The share of requests in the window that missed an objective; nothing without requests. `window` may end with
    `:5m`: rates of five minutes are then taken every five minutes, which is as exact and costs a tenth."""
    where = f'{{slo="{slo}"}}' if slo else ""
    met = total(f"sum_over_time({good}{where}[{window}])", "slo")
    return f"1 - {met}\n/ ({total(f'sum_over_time({every}{where}[{window}])', 'slo')} > 0)"


def requests_in(window: str, slo: str) -> str:
    """The number of requests in the window."""
    seconds = 300 if window.endswith(":5m") else INTERVAL
    return total(f'sum_over_time({COUNTED_ALL}{{slo="{slo}"}}[{window}])', "slo") + f" * {seconds}"


def burn(window: str, slo: str = "") -> str:
    """How many times faster than allowed the error budget was spent in the window."""
    where = f'{{slo="{slo}"}}' if slo else ""
    return f"({missed(window, slo)})\n/ (1 - {largest(f'{OBJECTIVE}{where}', 'slo')})"


def _burn(window: str) -> Recording:
    return Recording(
        name=f"slipway:slo_burn:rate{window}",
        meaning=f"How many times faster than allowed the error budget of `slo` was spent in the last {window}",
        unit="times",
        expression=burn(window),
    )


def _left(window: str) -> Recording:
    """The sums of 15 minutes are recorded every 15 minutes, so they don't overlap."""
    seconds, shorter = WINDOWS[window], max((each for each in WINDOWS.values() if each < WINDOWS[window]), default=0)
    spent = missed(window, good="slipway:slo_good:sum15m", every="slipway:slo_requests:sum15m")
    longest = seconds == max(WINDOWS.values())
    limits = f"> {shorter}" if longest else f"> {shorter} <= {seconds}"
    return Recording(
        name="slipway:slo_budget_left:ratio",
        meaning="Share of the error budget of `slo` that is left over `window`, the next longer one of 1d, 7d and 30d "
        "to `spec.slo.window`, as far back as Prometheus has data; below 0, the objective is missed",
        unit="ratio",
        labels={"window": window},
        expression=f"(1 - ({spent})\n/ (1 - {largest(OBJECTIVE, 'slo')}))\n"
        f"and on ({labels()}) ({largest('slipway_slo_window_seconds')} {limits})",
    )


def _sum(name: str, of: str, meaning: str) -> Recording:
    requests = f"{total(f'sum_over_time({of}[15m])', 'slo')} * {INTERVAL}"
    return Recording(name=name, meaning=meaning, unit="requests", expression=requests)


_SHARES = f"{total(GOOD, 'slo')} / ({total(COUNTED_ALL, 'slo')} > 0)"
GROUP = Group(
    name="slipway.objectives",
    recordings=(
        *(recording for slo in TIMES for recording in _of_times(slo)),
        *_of_availability(),
        Recording(
            name="slipway:goodput:ratio5m",
            meaning="Share of requests that met all objectives, at most: the least share of any objective, since the "
            "histograms of a request's times are separate",
            unit="ratio",
            expression=f"min by ({labels()}) ({_SHARES})",
        ),
        Recording(
            name="slipway:goodput_requests:rate5m",
            meaning="Requests per second that met all objectives, at most",
            unit="per second",
            expression=f"min by ({labels()}) (slipway:goodput:ratio5m)\n"
            f"* {total('slipway:requests:rate5m{' + COUNTED + '}')}",
        ),
        *(_burn(window) for window in ("1h", "6h")),
    ),
)
BUDGETS = Group(
    name="slipway.budgets",
    interval=900,
    recordings=(
        _sum("slipway:slo_good:sum15m", GOOD, "Requests of the last 15 minutes that met the objective `slo`"),
        _sum("slipway:slo_requests:sum15m", COUNTED_ALL, "Requests of the last 15 minutes for which `slo` holds"),
    ),
)
LEFT = Group(
    name="slipway.budgets_left",
    interval=240,  # a value is forgotten after five minutes
    recordings=tuple(map(_left, WINDOWS)),
)
