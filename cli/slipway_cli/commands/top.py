"""`top`: what models do now, the busiest first; once, or live with `--watch`."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from slipway_cli.cluster.options import everywhere, names, on_cluster, selector, target_of
from slipway_cli.commands.wait import seconds_of
from slipway_cli.output import documents, screen
from slipway_cli.output.table import Cell, Column
from slipway_cli.problems import NOT_WELL, Misused

if TYPE_CHECKING:
    from slipway_cli.cluster.scraping import Scraper
    from slipway_cli.cluster.usage import Use

OTHER_SCREEN, OWN_SCREEN, HOME = "\x1b[?1049h", "\x1b[?1049l", "\x1b[H\x1b[J"
UNKNOWN = "-"


@click.command(short_help="Show what models do now: requests, tokens, times, KV cache and cost.")
@click.argument("name", required=False, shell_complete=names)
@click.option("--watch", "-w", is_flag=True, help="Go on until Ctrl-C.")
@click.option("--interval", default="2s", show_default=True, metavar="TIME", help="Between two readings.")
@click.option(
    "--sort-by",
    type=click.Choice(["busy", "name", "tokens", "cost"]),
    default="busy",
    show_default=True,
    help="The order.",
)
@click.option("--slipway-namespace", default="slipway-system", show_default=True, help="Where Slipway is installed.")
@click.option(
    "--output", "-o", "form", type=click.Choice(["json", "yaml", "wide", "name"]), help="Print it in this form."
)
@everywhere
@selector
@on_cluster
@click.pass_context
def command(ctx: click.Context, /, name: str | None, form: str | None, selector: str | None, **given: Any) -> None:
    """Show what models do now, the busiest first: requests in flight and held, tokens per second, time to first token,
    KV cache and cost. It reads the metrics of pods and activators twice, since rates are the difference.

    Values are from the status, from pods' metrics (list pods, get pods/proxy) and from those of the activators (the
    same in the namespace of Slipway). Where a right is missing, the column shows - and the last lines say which. Exit
    code 0: all models are well; 1: one isn't; with --watch always 0.
    """
    from slipway_cli.cluster.kubectl import Kubectl
    from slipway_cli.cluster.proxying import proxied
    from slipway_cli.cluster.scraping import ACCEPTED, SECONDS, Scraper

    watch, sort, slipway = given.pop("watch"), given.pop("sort_by"), given.pop("slipway_namespace")
    pause = seconds_of("interval", given.pop("interval"))
    if not 0.5 <= pause <= 3600:
        raise Misused(f"--interval {pause:g}s is out of range: write a time from 500ms to 1h.")
    target = target_of(given)
    if name and (target.everywhere or selector):
        raise Misused(f"{name} is one model: leave out --all-namespaces and --selector.")
    kubectl = Kubectl(target.flags, target.namespace)
    namespace = None if target.everywhere else kubectl.place().namespace
    with proxied(kubectl, ACCEPTED, SECONDS) as proxy:
        scraper = Scraper(kubectl, proxy, namespace, selector or "", slipway, name or "")
        if watch:
            _watch(scraper, sort, form, pause)
            return
        if scraper.read():
            time.sleep(pause)
        uses = _sorted(scraper.read(), sort)
    _tell(uses, scraper, form)
    if not all(each.state.is_well for each in uses):
        ctx.exit(NOT_WELL)


def _sorted(uses: list[Use], order: str) -> list[Use]:
    from slipway_cli.cluster.usage import ORDERS

    return sorted(uses, key=ORDERS[order])


def _tell(uses: list[Use], scraper: Scraper, form: str | None, most: int | None = None) -> None:
    from slipway_cli.cluster.usage import SOURCES, as_members

    if form in ("json", "yaml"):
        items = [as_members(each) for each in uses]
        gaps = list(scraper.gaps.values()) or None
        documents.write(documents.document("Top", items=items, sources=SOURCES, gaps=gaps), form)
    elif form == "name":
        for each in uses:
            click.echo(f"llmdeployment.slipway.dev/{each.state.name}")
    elif not uses:
        where = f"namespace {scraper.namespace}" if scraper.namespace else "the cluster"
        click.echo(f"No LLMDeployments in {where}.", err=True)
    else:
        _table(uses[:most], everywhere=scraper.namespace is None, wide=form == "wide")
        if most is not None and len(uses) > most:
            click.echo(f"and {len(uses) - most} more")
        if any(each.is_since_start and each.ttft is not None for each in uses):
            screen.paragraph("*: since the pods started; in the last minute no request has ended.", paint=screen.faint)
        for gap in scraper.gaps.values():
            screen.paragraph(gap, indent="  ", first="! ", paint=screen.uncertain)


def _table(uses: list[Use], *, everywhere: bool, wide: bool) -> None:
    columns = [
        *([Column("NAMESPACE")] if everywhere else []),
        Column("NAME"),
        Column("STATE"),
        Column("READY", right=True),
        Column("IN FLIGHT", right=True),
        Column("HELD", right=True, rank=2),
        Column("TOKENS/S", right=True),
        Column("FIRST TOKEN", right=True, rank=1),
        Column("KV CACHE", right=True, rank=3),
        *([Column("PROMPT/S", right=True, rank=5), Column("PER TOKEN", right=True, rank=5)] if wide else []),
        Column("PER HOUR", right=True, rank=4),
    ]
    left_out = screen.table(columns, [_row(each, everywhere=everywhere, wide=wide) for each in uses])
    if left_out:
        screen.paragraph(f"A wider terminal also shows {', '.join(left_out)}.", paint=screen.faint)


def _row(use: Use, *, everywhere: bool, wide: bool) -> list[Cell]:
    state, star = use.state, "*" if use.is_since_start else ""
    paint = screen.good if state.word == "Serving" else None if state.is_well else screen.bad
    more = [_number(use.prompt_tokens, ",.0f"), _time(use.tpot, star)] if wide else []
    texts = [
        _number(use.in_flight, ",.0f"),
        _number(use.held, ",.0f"),
        _number(use.tokens, ",.1f"),
        _time(use.ttft, star),
        UNKNOWN if use.kv is None else f"{use.kv:.0%}",
        *more,
        _number(state.per_hour, ",.2f"),
    ]
    names = [Cell(state.namespace)] if everywhere else []
    names += [Cell(state.name), Cell(state.word, paint), Cell(f"{state.ready}/{state.desired}")]
    return [*names, *map(Cell, texts)]


def _number(value: float | None, form: str) -> str:
    return UNKNOWN if value is None else format(value, form)


def _time(seconds: float | None, star: str) -> str:
    if seconds is None:
        return UNKNOWN
    return f"{seconds * 1e3:.0f}ms{star}" if seconds < 1 else f"{seconds:.1f}s{star}"


def _read_again(scraper: Scraper, before: list[Use]) -> list[Use]:
    """Once there is something to show, a moment without an answer doesn't end it."""
    from slipway_cli.cluster.kubectl import ApiError
    from slipway_cli.cluster.watching import is_final

    try:
        return scraper.read()
    except ApiError as error:
        if not before or is_final(error):
            raise
        scraper.gaps = {"reading": f"These values are from before: {error.message}"}
        return before


def _watch(scraper: Scraper, sort: str, form: str | None, pause: float) -> None:
    """In a terminal on a screen of its own, whose last state stays at the end; in a pipe one table after the other."""
    is_drawn = sys.stdout.isatty() and form in (None, "wide")
    uses: list[Use] = []
    try:
        if is_drawn:
            click.echo(OTHER_SCREEN, nl=False)
        while True:
            uses = _sorted(_read_again(scraper, uses), sort)
            if is_drawn:
                click.echo(HOME, nl=False)
            _tell(uses, scraper, form, max(1, shutil.get_terminal_size().lines - 4) if is_drawn else None)
            if not is_drawn and form in (None, "wide"):
                click.echo()
            time.sleep(pause)
    except KeyboardInterrupt:
        pass
    finally:
        if is_drawn:
            click.echo(OWN_SCREEN, nl=False)
    if is_drawn:
        _tell(uses, scraper, form)
