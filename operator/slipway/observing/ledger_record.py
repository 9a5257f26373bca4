"""The ledger as `status.cost`, and back. Pure.

Another manager may have written the status, so what is read from it is bounded: it can spoil the numbers of its own
object alone, and names of accelerators count only if there is such a profile.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Any

from pydantic import ValidationError

from slipway.api.spending import MOST_ACCELERATORS, MOST_PODS, CostStatus, HeldStatus, SpentStatus, TotalStatus
from slipway.objects.kinds import Object
from slipway.objects.times import parse_time
from slipway.observing.ledger import HOUR, NOTHING, Held, Ledger, Sums, Use, Window, day_of, month_of

MOST = 1e15  # of any sum
DECIMALS = 6
MILLION = 1_000_000


# --- to the status ----------------------------------------------------------------------------------------------------


def as_status(ledger: Ledger, message: str = "") -> Object:
    pods = [each for each in ledger.held.values() if each.until is None]
    sums = ledger.month.sums
    found = CostStatus(
        as_of=written(ledger.as_of),
        per_hour=_rounded(ledger.per_hour),
        devices=ledger.devices,
        per_million_tokens=_per_million(sums.spent, sums.output_tokens),
        per_million_tokens_used=_per_million(sums.used, sums.output_tokens),
        today=_spent(ledger.day),
        month=_spent(ledger.month),
        message=message or None,
        totals=[_total(name, each) for name, each in list(ledger.totals.items())[:MOST_ACCELERATORS]],
        pods=[_held(each) for each in pods[:MOST_PODS]],
        more_pods=max(0, len(pods) - MOST_PODS),
        asleep=_held(ledger.asleep) if ledger.asleep else None,
    )
    return found.model_dump(by_alias=True, exclude_none=True)


def written(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z"


def _spent(window: Window) -> SpentStatus:
    sums = window.sums
    return SpentStatus(
        since=f"{window.start:%Y-%m-%dT%H:%M:%SZ}",
        spent=round(sums.spent, DECIMALS),
        used=round(sums.used, DECIMALS),
        device_hours=_hours(sums.held),
        busy_device_hours=_hours(sums.busy),
        asleep_device_hours=_hours(sums.asleep),
        saved=round(sums.saved, DECIMALS),
        unpriced_device_hours=_hours(sums.unpriced),
        uncertain=round(sums.uncertain, DECIMALS),
        prompt_tokens=sums.prompt_tokens,
        output_tokens=sums.output_tokens,
    )


def _total(accelerator: str, sums: Sums) -> TotalStatus:
    return TotalStatus(
        accelerator=accelerator,
        spent=round(sums.spent, DECIMALS),
        used=round(sums.used, DECIMALS),
        device_hours=_hours(sums.held),
        busy_device_hours=_hours(sums.busy),
        asleep_device_hours=_hours(sums.asleep),
        saved=round(sums.saved, DECIMALS),
    )


def _held(held: Held) -> HeldStatus:
    counted = held.counted or Use()
    return HeldStatus(
        uid=held.uid,
        accelerator=held.accelerator,
        devices=held.devices,
        per_hour=_rounded(held.per_hour),
        busy_seconds=round(counted.busy, 3) if held.counted else None,
        prompt_tokens=counted.prompt_tokens,
        output_tokens=counted.output_tokens,
        unreported=held.is_silent or None,
    )


def _per_million(cost: float, tokens: int) -> float | None:
    return round(cost * MILLION / tokens, DECIMALS) if tokens else None


def _hours(seconds: float) -> float:
    return round(seconds / HOUR, DECIMALS)


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, DECIMALS)


# --- from the status --------------------------------------------------------------------------------------------------


def ledger_in(status: Object | None, *, created: datetime, known: Collection[str], now: datetime) -> Ledger:
    """Without a valid one, it starts with the object. `known`: the names of the AcceleratorProfiles."""
    try:
        found = CostStatus.model_validate((status or {}).get("cost"))
    except ValidationError:
        return Ledger.starting_at(min(created, now))
    as_of = parse_time(found.as_of)
    if as_of is None:
        return Ledger.starting_at(min(created, now))
    totals: dict[str, Sums] = {}
    for each in found.totals:
        name = _known(each.accelerator, known)
        totals[name] = totals.get(name, NOTHING) + _sums(each)
    return Ledger(
        as_of=as_of.astimezone(UTC),
        day=_window(found.today, day_of(as_of)),
        month=_window(found.month, month_of(as_of)),
        totals=totals,
        held={each.uid: each for each in _pods(found.pods, known, as_of)},
        asleep=_of_status(found.asleep, known, as_of) if found.asleep else None,
        is_stored=True,
        is_cut=found.more_pods > 0,
    )


def _pods(pods: list[HeldStatus], known: Collection[str], as_of: datetime) -> Iterator[Held]:
    return (_of_status(each, known, as_of) for each in pods if each.uid)


def _of_status(held: HeldStatus, known: Collection[str], as_of: datetime) -> Held:
    use = Use(_bounded(held.busy_seconds), held.prompt_tokens, held.output_tokens)
    return Held(
        uid=held.uid,
        accelerator=_known(held.accelerator, known),
        devices=held.devices,
        per_hour=None if held.per_hour is None else _bounded(held.per_hour),
        counted=None if held.busy_seconds is None else use,
        counted_at=as_of,
        is_silent=bool(held.unreported),
    )


def _window(found: SpentStatus | None, start: datetime) -> Window:
    """It must be the one of `asOf`, or it was written by others."""
    if found is None or parse_time(found.since) != start:
        return Window(start)
    return Window(start, _sums(found))


def _sums(found: SpentStatus | TotalStatus) -> Sums:
    said: Mapping[str, Any] = found.model_dump()
    hours = {"held": "device_hours", "busy": "busy_device_hours", "asleep": "asleep_device_hours"}
    hours |= {"unpriced": "unpriced_device_hours"}
    return Sums(
        **{name: _bounded(said.get(name)) for name in ("spent", "used", "saved", "uncertain")},
        **{name: _bounded(said.get(field)) * HOUR for name, field in hours.items()},
        prompt_tokens=int(_bounded(said.get("prompt_tokens"))),
        output_tokens=int(_bounded(said.get("output_tokens"))),
    )


def _known(name: str, known: Collection[str]) -> str:
    return name if name in known else ""


def _bounded(number: float | None) -> float:
    return min(float(number), MOST) if number and isfinite(number) else 0.0


def is_due(before: Object | None, ledger: Ledger, now: datetime, every: timedelta, *, message: str = "") -> bool:
    """Whether the status has to be written for its costs alone: other pods hold devices, or at another price; or the
    message is another; or some have held them for as long as `every`."""
    known = before or {}
    if message != (known.get("message") or ""):
        return True
    there = {uid for uid, each in ledger.held.items() if each.until is None}
    said = {each.get("uid") for each in known.get("pods") or []}
    if not said <= there or len(there) != len(said) + int(known.get("morePods") or 0):
        return True
    if _rounded(ledger.per_hour) != (known.get("perHour") if known else 0.0):
        return True
    as_of = parse_time(known.get("asOf"))
    return bool(there) and (as_of is None or not as_of <= now < as_of + every)
