"""What a model has cost: the devices that its pods hold, by time and price. Pure.

A pod costs from the moment at which it was bound to a node until its containers have ended, or until the operator sees
that it is gone. All of that is in the cluster, so a ledger is exact even if an operator starts from a stored one
(`ledger_record`): it goes on from `as_of`. Prices count from the moment at which the operator sees them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import NamedTuple

HOUR = 3600.0  # seconds
FURTHEST = timedelta(minutes=5)
"""Clocks differ by less. A ledger that is further ahead of now was written by a clock that has been set back."""
NOTICED_WITHIN = timedelta(minutes=1)
"""An operator that watches sees a pod this soon. One that was bound earlier, and is new to a ledger, is in its sums: it
was out of sight for a moment."""
MOST_TOKENS_PER_SECOND = 1_000_000  # of one pod; more isn't possible, whatever the pod reports


class Use(NamedTuple):
    """What a pod has done since its engine started, as its runtime counts it."""

    busy: float = 0.0  # seconds with requests in flight
    prompt_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """The devices of one pod; or, with an empty uid, those that one replica would have while the model sleeps."""

    uid: str = ""
    accelerator: str = ""
    devices: int = 1
    per_hour: float | None = None  # the price of all of them; None: unknown
    since: datetime | None = None  # when it was bound; None: since `Ledger.as_of`
    until: datetime | None = None  # when its containers ended; None: it still holds them
    counted: Use | None = None  # the part of its use that is in the sums; None: the next reading is where to start
    counted_at: datetime | None = None
    pod: str = ""  # its name, and that of its node
    node: str = ""
    is_silent: bool = False  # nothing reports how it is used


@dataclass(frozen=True, kw_only=True, slots=True)
class Sums:
    """Costs, and seconds of devices."""

    spent: float = 0.0
    used: float = 0.0
    held: float = 0.0
    busy: float = 0.0
    asleep: float = 0.0
    saved: float = 0.0
    unpriced: float = 0.0
    uncertain: float = 0.0  # of `spent`
    prompt_tokens: int = 0
    output_tokens: int = 0

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            spent=self.spent + other.spent,
            used=self.used + other.used,
            held=self.held + other.held,
            busy=self.busy + other.busy,
            asleep=self.asleep + other.asleep,
            saved=self.saved + other.saved,
            unpriced=self.unpriced + other.unpriced,
            uncertain=self.uncertain + other.uncertain,
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
        )


NOTHING = Sums()


class Window(NamedTuple):
    """A calendar day or month, in UTC."""

    start: datetime
    sums: Sums = NOTHING

    def with_pieces(self, pieces: Iterable[Piece]) -> Window:
        """With those parts of them that are in this window."""
        return Window(self.start, self.sums + _sum(pieces, self.start))


class Piece(NamedTuple):
    """A time in which something was held, or was not held because the model slept."""

    what: Held
    start: datetime
    end: datetime
    is_asleep: bool = False
    is_uncertain: bool = False  # it may have ended before


@dataclass(frozen=True, kw_only=True, slots=True)
class Ledger:
    as_of: datetime  # everything up to then is in the sums
    day: Window
    month: Window
    totals: Mapping[str, Sums] = field(default_factory=dict)  # by accelerator
    held: Mapping[str, Held] = field(default_factory=dict)  # by the uids of pods
    asleep: Held | None = None  # None: replicas are wanted
    is_stored: bool = False  # it was read from a status, so it isn't known what happened since
    is_cut: bool = False  # some pods that are in its sums are missing from `held`

    @classmethod
    def starting_at(cls, moment: datetime) -> Ledger:
        return cls(as_of=moment, day=Window(day_of(moment)), month=Window(month_of(moment)))

    @property
    def per_hour(self) -> float | None:
        """Of what is held now; None: a price is unknown."""
        prices = [each.per_hour for each in self.held.values() if each.until is None]
        return None if None in prices else sum(price for price in prices if price is not None)

    @property
    def devices(self) -> int:
        return sum(each.devices for each in self.held.values() if each.until is None)

    @property
    def silent(self) -> tuple[Held, ...]:
        """What is held now without a report of its use."""
        return tuple(each for each in self.held.values() if each.is_silent and each.until is None)

    def at(self, now: datetime) -> Ledger:
        """As it will be then, if nothing changes."""
        ledger = _rolled(self, now)
        now = max(now, ledger.as_of)
        return _counted(ledger, _of_known(ledger, ledger.held, now), ledger.held, ledger.asleep, now)


def day_of(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def month_of(moment: datetime) -> datetime:
    return day_of(moment).replace(day=1)


def next_day(moment: datetime) -> datetime:
    return day_of(moment) + timedelta(days=1)


def next_month(moment: datetime) -> datetime:
    return month_of(month_of(moment) + timedelta(days=32))


# --- what happens -----------------------------------------------------------------------------------------------------


def settle(ledger: Ledger, seen: Iterable[Held], asleep: Held | None, now: datetime) -> Ledger:
    """With all costs up to now. `seen`: what pods hold now, with the present prices; `asleep`: what one replica would
    hold, if no replica is wanted."""
    ledger = _rolled(ledger, now)
    now = max(now, ledger.as_of)
    there = {each.uid: each for each in seen}
    held = {uid: _continued(ledger.held.get(uid), each, ledger) for uid, each in there.items()}
    pieces = chain(_of_known(ledger, there, now), _of_new(ledger, there, now))
    return _counted(ledger, pieces, held, asleep, now)


def used(ledger: Ledger, uid: str, reading: Use | None, now: datetime) -> Ledger:
    """With what a pod has done since its last reading, as far as that is possible. None: it doesn't report it."""
    held = ledger.held.get(uid)
    if held is None:
        return ledger
    if reading is None:
        return replace(ledger, held={**ledger.held, uid: replace(held, is_silent=True)})
    ledger = _rolled(ledger, now)
    new = Sums() if held.counted is None else _difference(held, held.counted, reading, ledger.as_of, now)
    totals = {**ledger.totals, held.accelerator: ledger.totals.get(held.accelerator, NOTHING) + new}
    return replace(
        ledger,
        day=Window(ledger.day.start, ledger.day.sums + new),
        month=Window(ledger.month.start, ledger.month.sums + new),
        totals=totals,
        held={**ledger.held, uid: replace(held, counted=reading, counted_at=now, is_silent=False)},
    )


# --- inside -----------------------------------------------------------------------------------------------------------


def _rolled(ledger: Ledger, now: datetime) -> Ledger:
    """Sums of another day or month are over. A clock that was set back ends them, too."""
    as_of = now if ledger.as_of - now > FURTHEST else ledger.as_of
    moment = max(now, as_of)
    day, month = day_of(moment), month_of(moment)
    return replace(
        ledger,
        as_of=as_of,
        day=ledger.day if ledger.day.start == day else Window(day),
        month=ledger.month if ledger.month.start == month else Window(month),
    )


def _counted(
    ledger: Ledger, pieces: Iterable[Piece], held: Mapping[str, Held], asleep: Held | None, now: datetime
) -> Ledger:
    """With these pieces in its sums, and `held` from now on."""
    pieces = list(pieces)
    pieces += _of_sleep(ledger, pieces, now)
    of_accelerators: dict[str, list[Piece]] = {}
    for piece in pieces:
        of_accelerators.setdefault(piece.what.accelerator, []).append(piece)
    totals = {name: ledger.totals.get(name, NOTHING) + _sum(them) for name, them in of_accelerators.items()}
    return Ledger(
        as_of=now,
        day=ledger.day.with_pieces(pieces),
        month=ledger.month.with_pieces(pieces),
        totals={**ledger.totals, **totals},
        held=held,
        asleep=None if _is_held(held) else asleep,
    )


def _sum(pieces: Iterable[Piece], since: datetime | None = None) -> Sums:
    """Of those parts of them that come after `since`. There can be a thousand, so no object is made for each."""
    spent = held = asleep = saved = unpriced = uncertain = 0.0
    for what, start, end, is_asleep, is_uncertain in pieces:
        seconds = (end - (max(start, since) if since else start)).total_seconds()
        if seconds <= 0:
            continue
        on_devices, price = seconds * what.devices, (what.per_hour or 0.0) * seconds / HOUR
        if is_asleep:
            asleep, saved = asleep + on_devices, saved + price
            continue
        spent, held = spent + price, held + on_devices
        unpriced += on_devices if what.per_hour is None else 0.0
        uncertain += price if is_uncertain else 0.0
    return Sums(spent=spent, held=held, asleep=asleep, saved=saved, unpriced=unpriced, uncertain=uncertain)


def _of_known(ledger: Ledger, there: Mapping[str, Held], now: datetime) -> Iterator[Piece]:
    """A pod that is gone ended just now; unless that was missed, because no operator was there. All that have held
    theirs until now are one piece for each accelerator, so that many pods don't take long."""
    together: dict[tuple[str, bool, bool], tuple[int, float]] = {}
    for uid, held in ledger.held.items():
        seen = there.get(uid)
        until = held.until or (seen.until if seen else None)
        is_uncertain = ledger.is_stored and seen is None
        if until is None:
            group = held.accelerator, held.per_hour is None, is_uncertain
            devices, price = together.get(group, (0, 0.0))
            together[group] = devices + held.devices, price + (held.per_hour or 0.0)
        elif until > ledger.as_of:
            yield Piece(held, ledger.as_of, min(until, now), is_uncertain=is_uncertain)
    for (accelerator, is_unpriced, is_uncertain), (devices, price) in together.items():
        what = Held(accelerator=accelerator, devices=devices, per_hour=None if is_unpriced else price)
        yield Piece(what, ledger.as_of, now, is_uncertain=is_uncertain)


def _of_new(ledger: Ledger, there: Mapping[str, Held], now: datetime) -> Iterator[Piece]:
    for uid, held in there.items():
        if uid in ledger.held or (held.until and held.until <= ledger.as_of):
            continue  # it is counted already
        start = max(min(held.since or now, now), _seen_from(ledger))
        yield Piece(held, start, max(start, min(held.until or now, now)))


def _seen_from(ledger: Ledger) -> datetime:
    """What was held before that is counted, if the pod is new to the ledger."""
    return ledger.as_of if ledger.is_cut else ledger.as_of - NOTICED_WITHIN


def _of_sleep(ledger: Ledger, pieces: Iterable[Piece], now: datetime) -> list[Piece]:
    if ledger.asleep is None:
        return []
    end = max(min((each.start for each in pieces if each.end > each.start), default=now), ledger.as_of)
    return [Piece(ledger.asleep, ledger.as_of, end, is_asleep=True)]


def _continued(before: Held | None, seen: Held, ledger: Ledger) -> Held:
    """What a pod holds doesn't change; its price does. All use of a new pod is still to be counted; one that has ended
    is read no more."""
    is_new = before is None and not seen.until and seen.since is not None and seen.since >= _seen_from(ledger)
    if before is seen or (before is None and not is_new):
        return seen
    known = before or seen
    return Held(  # `replace` takes three times as long
        uid=seen.uid,
        accelerator=known.accelerator,
        devices=known.devices,
        per_hour=seen.per_hour,
        since=known.since,
        until=known.until or seen.until,
        counted=Use() if is_new else known.counted,
        counted_at=seen.since if is_new else known.counted_at,
        pod=seen.pod,
        node=seen.node,
        is_silent=known.is_silent,
    )


def _is_held(held: Mapping[str, Held]) -> bool:
    return any(each.until is None for each in held.values())


def _difference(held: Held, before: Use, reading: Use, as_of: datetime, now: datetime) -> Sums:
    """A smaller number than before is that of an engine that has started again."""
    seconds = max(0.0, (now - (held.counted_at or as_of)).total_seconds())
    most = int(seconds * MOST_TOKENS_PER_SECOND)
    busy, prompt, output = (new - old if new >= old else new for old, new in zip(before, reading, strict=True))
    busy = min(max(busy, 0.0), seconds)
    return Sums(
        used=(held.per_hour or 0.0) * busy / HOUR,
        busy=busy * held.devices,
        prompt_tokens=min(max(int(prompt), 0), most),
        output_tokens=min(max(int(output), 0), most),
    )
