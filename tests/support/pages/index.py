"""Writes runbooks/README.md: all runbooks by what one sees, and when each was walked. `make generate` runs it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from textwrap import dedent
from typing import Any

from slipway.api.reasons import Reason

from support.pages import markdown, walked
from support.pages.markdown import Page
from support.repository import RUNBOOKS

README = RUNBOOKS / "README.md"
START = dedent(
    """\
    # Runbooks

    <!-- Written by `make generate` from the runbooks, walked.yaml and not-walked.yaml; change those instead. -->

    What to do when something is wrong with a model, or with Slipway. Each page has the name of what you see: an alert,
    or the reason in the status, in an event or in an error. `kubectl get llm -A -o wide` shows each model's reason.

    Words in capitals stand for your own names: `NAME` is the LLMDeployment and `NAMESPACE` its namespace. A
    test walked the commands that start with `$`, except those that [the table](#when-each-was-walked) calls not walked:
    it ran them, and they printed what is below them; `…` stands for what was left out. No test ran commands without
    `$`. `$PROMETHEUS` is the address of your Prometheus
    ([how to query it](../docs/monitoring.md#ask-prometheus-from-a-shell)). Where your models are in Git, make the
    changes there: what Argo CD or Flux applies replaces what `kubectl patch` writes.
    """
)
NEVER_WALKED = "not walked: {}"


def pages() -> list[Page]:
    return [markdown.read(path) for path in sorted(RUNBOOKS.glob("*.md")) if path != README]


def index(pages: Iterable[Page], walks: walked.Walks, reasons: Mapping[str, str | Mapping[str, str]]) -> str:
    by_name = {page.name: page for page in pages}
    words = [each for each in Reason if each in by_name]
    alerts = [name for name in by_name if name.startswith("Slipway")]
    tasks = [name for name in by_name if re.fullmatch(r"[a-z0-9-]+", name)]
    errors = [name for name in by_name if name not in {*words, *alerts, *tasks}]
    parts = [
        START,
        *_list("An alert fires", by_name, alerts),
        *_list("A reason in the status, an event or an error", by_name, words),
        *_list("Another code in an error", by_name, errors),
        *_list("Something is to be done, or to be found out", by_name, tasks),
        *_table(by_name, walks, reasons),
    ]
    return "\n".join(parts) + "\n"


def _list(title: str, pages: Mapping[str, Page], names: Iterable[str]) -> Iterator[str]:
    rows = [f"| [{_title(pages[name])}]({name}.md) | {pages[name].first_sentence} |" for name in names]
    if rows:
        yield "\n".join([f"## {title}", "", "| runbook | |", "| --- | --- |", *rows, ""])


def _title(page: Page) -> str:
    return page.headings[0].text


def _table(
    pages: Mapping[str, Page], walks: walked.Walks, reasons: Mapping[str, str | Mapping[str, str]]
) -> Iterator[str]:
    yield (
        "## When each was walked\n\nA test provokes the fault on a devcluster, runs the commands of the page, compares "
        "what they print with what the page\nshows, and sees the model healthy again. `make runbooks` does all of it.\n"
    )
    yield "| runbook | date | fault | what was seen |\n| --- | --- | --- | --- |"
    for name in sorted(pages):
        yield from (_row(name, each) for each in walks.get(name, []))
        why = reasons.get(name, {})
        told = [why] if isinstance(why, str) else [f"{where}: {reason}" for where, reason in why.items()]
        yield from (f"| [{name}]({name}.md) | — | | {NEVER_WALKED.format(each)} |" for each in told)


def _row(name: str, walk: Mapping[str, Any]) -> str:
    return f"| [{name}]({name}.md) | {walk['date']} | {walk['fault']} | {walk['seen']} |"


if __name__ == "__main__":
    README.write_text(index(pages(), walked.walks(), walked.reasons_not_walked()))
