"""`explain`: what a word of the status means, whether waiting helps, and what its runbook says; without a cluster."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from slipway_cli.output import documents, screen
from slipway_cli.output.prose import lines_of
from slipway_cli.problems import Misused

if TYPE_CHECKING:
    from slipway_cli.offline.words import Word

SHORT = ("Meaning", "Mitigation")


def _complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from slipway_cli.offline.words import words

    return [
        CompletionItem(each.name, help=each.meaning)
        for each in words().values()
        if each.name.lower().startswith(incomplete.lower())
    ]


@click.command(short_help="Explain a reason, state or condition, with its runbook.")
@click.argument("word", required=False, metavar="WORD", shell_complete=_complete)
@click.option("--all", "everything", is_flag=True, help="Print the whole runbook.")
@click.option("--output", "-o", "form", type=click.Choice(["json", "yaml", "name"]), help="Print it in this form.")
def command(word: str | None, form: str | None, **given: Any) -> None:
    """Explain a reason, state or condition of an LLMDeployment, or an alert: what it means, whether waiting helps, and
    what to do, as far as it has a runbook. Without WORD, list them all.
    """
    from slipway_cli.offline.words import words

    known = words()
    if word is None:
        _list(list(known.values()), form)
        return
    found = known.get(word.lower())
    if found is None:
        close = get_close_matches(word.lower(), known, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(known[each].name for each in close)}?" if close else "`explain` lists them."
        raise Misused(f"{word} is not a reason, state, condition or alert: {hint}")
    if form == "name":
        click.echo(found.name)
    elif form:
        documents.write(documents.document("Explanation", **found.as_members()), form)
    else:
        _tell(found, everything=given["everything"])


def _list(known: list[Word], form: str | None) -> None:
    from slipway_cli.output.table import Cell, Column

    if form == "name":
        for each in known:
            click.echo(each.name)
    elif form:
        documents.write(documents.document("ExplanationList", items=[each.as_members() for each in known]), form)
    else:
        rows = [[Cell(each.name), Cell(each.kind), Cell(each.final), Cell(each.meaning)] for each in known]
        screen.table([Column("WORD"), Column("KIND", rank=1), Column("FINAL"), Column("MEANING", wraps=True)], rows)


def _prose(text: str) -> None:
    for line in lines_of(without_links(text).rstrip(), screen.width()):
        click.echo(line)


def without_links(text: str) -> str:
    """Links to other runbooks as commands, and other links as their text."""
    text = re.sub(r"\[([^\]]+)\]\(([A-Za-z][\w-]*)\.md[^)]*\)", _as_command, text)
    return re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", text)


def _as_command(link: re.Match[str]) -> str:
    return f"{link[1]} (`explain {link[2]}`)"


def _tell(word: Word, *, everything: bool) -> None:
    screen.paragraph(f"{word.name} ({word.kind}): {word.meaning}", paint=screen.strong)
    if word.final:
        screen.paragraph("Final: waiting doesn't help, a person has to act." if word.final == "yes" else "Not final.")
    found = word.runbook
    if found is None:
        return
    if everything:
        click.echo()
        _prose(found.text)
    else:
        for title in SHORT:
            if section := found.section(title):
                click.echo(f"\n{screen.strong(title)}")
                _prose(section)
    click.echo()
    more = "" if everything else f"--all prints all of it: {', '.join(found.sections)}. "
    screen.paragraph(f"{more}Runbook: {found.url}", paint=screen.faint)
