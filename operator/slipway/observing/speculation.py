"""How well speculative decoding works: which share of its drafts the model accepts, and what to do about it. Pure."""

from __future__ import annotations

from typing import NamedTuple

from slipway.objects.kinds import Object

FEWEST = 1000  # drafted tokens, from which a share says something
MANY = 200_000  # drafted tokens, after which earlier ones count half
MARGIN = 2.0  # percentage points by which a band must be left, so that the status doesn't change back and forth
BANDS = {"Excellent": (80.0, 100.0), "Good": (60.0, 80.0), "Marginal": (40.0, 60.0), "Off": (0.0, 40.0)}
ADVICE = {
    "Excellent": "Nearly all drafts are accepted: more of spec.engine.speculative.tokens may gain more.",
    "Good": "Leave it as it is.",
    "Marginal": "Lower spec.engine.speculative.tokens, or choose another method, and measure whether it is faster.",
    "Off": "Remove spec.engine.speculative: drafting takes more time than the accepted tokens save.",
}


class Drafts(NamedTuple):
    """Numbers that only grow while an engine runs."""

    drafts: int = 0
    drafted: int = 0  # tokens
    accepted: int = 0  # of these

    @property
    def acceptance(self) -> float:
        """In percent."""
        return 100 * self.accepted / self.drafted if self.drafted else 0.0

    @property
    def accepted_length(self) -> float:
        """Tokens per step of the model: those accepted, and the one that it computes itself."""
        return 1 + self.accepted / self.drafts if self.drafts else 1.0

    @property
    def is_enough(self) -> bool:
        return self.drafted >= FEWEST and self.drafts > 0


NO_DRAFTS = Drafts()


def together(*them: Drafts) -> Drafts:
    return Drafts(*(sum(numbers) for numbers in zip(*them, strict=True))) if them else NO_DRAFTS


def recent(known: Drafts, before: Drafts, now: Drafts) -> Drafts:
    """With what was drafted since the reading before. An engine that has started again counts from zero."""
    since = now if any(new < old for new, old in zip(now, before, strict=True)) else _minus(now, before)
    found = together(known, since)
    return Drafts(*(number // 2 for number in found)) if found.drafted > MANY else found


def _minus(now: Drafts, before: Drafts) -> Drafts:
    return Drafts(*(new - old for new, old in zip(now, before, strict=True)))


def band_of(acceptance: float, before: str | None = None) -> str:
    """`before`: the last one, which stays until it is clearly left."""
    if before in BANDS:
        low, high = BANDS[before]
        if low - MARGIN <= acceptance <= high + MARGIN:
            return before
    if acceptance > BANDS["Excellent"][0]:
        return "Excellent"
    return next(name for name in ("Good", "Marginal", "Off") if acceptance >= BANDS[name][0])


def as_status(drafts: Drafts, before: Object | None) -> Object | None:
    """`status.measured.speculative`; None: too little was drafted to say anything. `before`: as it was, which stays as
    long as the band does."""
    if not drafts.is_enough:
        return before
    band = band_of(drafts.acceptance, (before or {}).get("band"))
    if before and before.get("band") == band:
        return before
    return {
        "acceptance": round(drafts.acceptance, 1),
        "acceptedLength": round(drafts.accepted_length, 2),
        "band": band,
        "advice": ADVICE[band],
    }


def with_speculative(status: Object, before: Object | None, drafts: Drafts, *, is_on: bool) -> Object:
    """`is_on`: whether the spec wants it; what was measured of it is removed otherwise."""
    measured = status.get("measured") or {}
    known = ((before or {}).get("measured") or {}).get("speculative")
    found = as_status(drafts, known) if is_on else None
    others = {name: value for name, value in measured.items() if name != "speculative"}
    merged = {**others, **({"speculative": found} if found else {})}
    rest = {name: value for name, value in status.items() if name != "measured"}
    return {**rest, "measured": merged} if merged else rest
