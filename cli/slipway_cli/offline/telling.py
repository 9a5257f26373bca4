"""An answer, for people: the table of what fits, the one to take, why, and what to do next."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import click
from slipway.models.facts import Model
from slipway.operator.planning import Plan, Unplannable
from slipway.operator.planning.choosing import PROMPT
from slipway.operator.planning.words import gib, number

from slipway_cli.offline.answering import Answer, at_price, headline
from slipway_cli.offline.comparing import Offer, has_target
from slipway_cli.offline.profiles import Profiles
from slipway_cli.output import screen
from slipway_cli.output.table import Cell, Column

MOST_REFUSED = 5  # unless all are wanted
MOST_OFFERS = 12
UNKNOWN = "-"


def _price(price: float) -> str:
    return UNKNOWN if price == float("inf") else f"{price:.2f}"


def _cost_of(offer: Offer) -> str:
    cost = offer.speed.cost_per_million_tokens if offer.speed else None
    return UNKNOWN if cost is None else f"{cost:.2f}"


def _time(length: float) -> str:
    if length == float("inf"):
        return UNKNOWN
    return f"{length * 1e3:.1f} ms" if length < 1 else f"{length:.1f} s"


COLUMNS: tuple[tuple[Column, Callable[[Offer], str]], ...] = (
    (Column("PER HOUR", right=True), lambda each: _price(each.price)),
    (Column("CONTEXT", right=True, rank=1), lambda each: number(each.fit.context_length)),
    (Column("REQUESTS", right=True, rank=1), lambda each: str(each.fit.max_concurrency or UNKNOWN)),
    (Column("FULL LENGTH", right=True, rank=4), lambda each: f"{each.fit.at_full_length:.1f}"),
    (Column("TOKENS/S", right=True, rank=1), lambda each: number(each.speed.tokens_per_second) if each.speed else "-"),
    (Column("PER TOKEN", right=True, rank=2), lambda each: _time(each.time_per_token)),
    (Column("FIRST TOKEN", right=True, rank=3), lambda each: _time(each.time_to_first_token)),
    (Column("PER MILLION", right=True, rank=2), _cost_of),
)
WIDE: tuple[tuple[Column, Callable[[Offer], str]], ...] = (
    (Column("WEIGHTS", right=True, rank=5), lambda each: gib(each.fit.memory.weights)),
    (Column("KV CACHE", right=True, rank=5), lambda each: gib(each.fit.memory.kv_cache)),
    (Column("KV TOKENS", right=True, rank=5), lambda each: number(each.fit.kv_tokens)),
    (Column("DEVICE", right=True, rank=5), lambda each: gib(each.fit.memory.total)),
)


def tell(answer: Answer, *, wide: bool, everything: bool) -> None:
    _tell_model(answer)
    if answer.comparison.offers:
        click.echo()
        _tell_offers(answer, wide=wide, everything=everything)
    click.echo()
    if isinstance(answer.plan, Unplannable):
        screen.paragraph(f"Nothing fits. {answer.plan.message}", paint=screen.bad)
    else:
        _tell_choice(answer, answer.plan)
    _tell_refused(answer, everything=everything)
    _tell_next(answer)


def _tell_model(answer: Answer) -> None:
    model, uri = answer.known.model, answer.deployment.spec.model.uri
    about = f": {facts_of(model)}" if model else ""
    sources = f" (from {' and '.join(answer.known.sources)})" if answer.known.sources else ""
    screen.paragraph(f"{uri}{about}{sources}.", paint=screen.strong)
    for problem in answer.known.problems:
        screen.paragraph(problem, paint=screen.uncertain)


def facts_of(model: Model) -> str:
    """`70.6 billion parameters, 80 layers, 131,072 tokens of context`."""
    parts = []
    if model.weights:
        parts.append(f"{_billions(model.weights.total)} parameters")
        if model.weights.active < model.weights.total:
            parts[-1] += f", {_billions(model.weights.active)} active"
    if model.quantization:
        parts.append(f"quantized ({model.quantization.format or model.quantization.method})")
    if model.layer_count:
        parts.append(f"{model.layer_count} layers")
    if length := model.longest_context or model.context_length:
        parts.append(f"{number(length)} tokens of context")
    return ", ".join(parts)


def _billions(count: int) -> str:
    return f"{count / 1e9:.1f} billion" if count >= 1e9 else f"{count / 1e6:.0f} million"


# --- what fits -------------------------------------------------------------------------------------------------------


def _tell_offers(answer: Answer, *, wide: bool, everything: bool) -> None:
    with_target = has_target(answer.deployment.spec)
    shown = COLUMNS + (WIDE if wide else ())
    table = [Column(""), Column("PROFILE"), *(column for column, _ in shown)]
    table += [Column("TARGET")] if with_target else []
    offers, chosen = answer.comparison.offers, answer.chosen
    few = offers if everything or len(offers) <= MOST_OFFERS else offers[: MOST_OFFERS - 2]
    rows = []
    for each in few:
        paint = screen.good if each is chosen else None
        texts = [("*" if each is chosen else ""), each.candidate.label, *(text(each) for _, text in shown)]
        row = [Cell(text, paint) for text in texts]
        if with_target:
            row.append(_target_of(each))
        rows.append(row)
    left_out = screen.table(table, rows)
    if hidden := len(offers) - len(few):
        screen.paragraph(f"   and {hidden} more on which it fits: --all", paint=screen.faint)
    notes = [f"Estimates for one replica; the first token is that of a prompt of {number(PROMPT)} tokens."]
    if left_out:
        notes.append(f"A wider terminal also shows {', '.join(left_out)}.")
    screen.paragraph(" ".join(notes), paint=screen.faint)


def _target_of(offer: Offer) -> Cell:
    if offer.missed == "unknown":
        return Cell("unknown", screen.uncertain)
    return Cell(f"misses {offer.missed}", screen.uncertain) if offer.missed else Cell("met", screen.good)


def _tell_choice(answer: Answer, plan: Plan) -> None:
    first, why, chosen = headline(answer), plan.why[1:], answer.chosen
    mark = screen.bad if chosen is not None and chosen.missed else screen.good
    screen.paragraph(first, paint=mark)
    for each in why:
        screen.paragraph(each, indent="  ", first="- ")
    for each in _alternatives(answer):
        screen.paragraph(each, indent="  ", first="> ")
    for each in plan.warnings:
        screen.paragraph(each, indent="  ", first="! ", paint=screen.uncertain)


def _alternatives(answer: Answer) -> Iterator[str]:
    """Of those that meet the target as well as the chosen one: what is better than it by another measure."""
    chosen = answer.chosen
    others = [each for each in answer.comparison.offers if bool(each.missed) <= bool(chosen and chosen.missed)]
    priced = [each for each in others if each.speed and each.speed.cost_per_million_tokens is not None]
    timed = [each for each in others if each.speed]
    if priced and (best := min(priced, key=_million)) is not chosen:
        yield (
            f"Per token, {best.candidate.label} costs least once it is busy: {_cost_of(best)} per million tokens, at "
            f"{_price(best.price)} per hour. Choose it by --gpu {best.candidate.name}."
        )
    if timed and (best := min(timed, key=lambda each: each.time_per_token)) is not chosen:
        yield (
            f"Of these, one request alone is fastest on {best.candidate.label}: {_time(best.time_per_token)} per token"
            f"{at_price(best)}."
        )


def _million(offer: Offer) -> float:
    cost = offer.speed.cost_per_million_tokens if offer.speed else None
    return float("inf") if cost is None else cost


def _tell_refused(answer: Answer, *, everything: bool) -> None:
    refused = answer.comparison.refused
    if not refused or (answer.comparison.offers and not everything):
        if refused:
            said = f"It fits on none of {len(refused)} other profiles: --all says what they lack."
            screen.paragraph(said, paint=screen.faint)
        return
    click.echo()
    shown = refused if everything else refused[:MOST_REFUSED]
    rows = [[Cell(each.profile), Cell(each.why)] for each in shown]
    screen.table([Column("DOESN'T FIT"), Column("WHY", wraps=True)], rows)
    if len(refused) > len(shown):
        screen.paragraph(f"and {len(refused) - len(shown)} more: --all", paint=screen.faint)


def _tell_next(answer: Answer) -> None:
    if answer.chosen is None or answer.chosen.missed:
        return
    click.echo()
    screen.paragraph(
        "Prices are round on-demand prices in US dollars; --price NAME=2.50 puts in yours.", paint=screen.faint
    )
    screen.paragraph("--manifest prints the LLMDeployment for this.", paint=screen.faint)


# --- profiles --------------------------------------------------------------------------------------------------------


def tell_profiles(profiles: Profiles) -> None:
    table = [
        Column("PROFILE"),
        Column("VENDOR"),
        Column("MEMORY", right=True),
        Column("BANDWIDTH", right=True, rank=1),
        Column("PER HOUR", right=True),
        Column("PER NODE", right=True, rank=2),
    ]
    rows = []
    for name, each in sorted(profiles.items()):
        spec = each.spec
        price = UNKNOWN if spec.cost_per_hour is None else f"{spec.cost_per_hour:.2f}"
        bandwidth = f"{spec.bandwidth}B/s" if spec.bandwidth else UNKNOWN
        texts = (name, spec.vendor, spec.memory, bandwidth, price, str(spec.devices_per_node))
        rows.append([Cell(text) for text in texts])
    screen.table(table, rows)
