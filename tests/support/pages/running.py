"""Runs the commands of a page and compares what they print with what the page shows."""

from __future__ import annotations

import re
import time

from support.pages.console import Step
from support.pages.matching import Difference, difference, shows
from support.pages.placeholders import Values, filled
from support.pages.shell import LIMIT, Ended, Shell

SETTLES_WITHIN = 30.0
"""What a command that only reads shows may still be on its way: it is run again for so long."""

PAUSE = 1.0
READS = frozenset(
    ("api-resources", "auth", "cluster-info", "describe", "events", "explain", "get", "logs", "query", "top", "version")
)
HELM_READS = frozenset(("get", "history", "list", "show", "status", "version"))
_CALLS = re.compile(r"\b(kubectl|helm|promtool)\s+(?:(?:-n|--namespace|--context)\s+\S+\s+|-\S+\s+)*([a-z-]+)")
_WRITES = re.compile(r">(?!&|\s*/dev/null)|\b(?:rm|mv|tee|curl|ssh|nerdctl|crictl|docker)\b")


class DiffersError(AssertionError):
    """The world isn't as the page says; the message shows both."""


def check(step: Step, shell: Shell, values: Values, *, within: float = SETTLES_WITHIN, limit: float = LIMIT) -> Ended:
    """Runs it; if it only reads, again until its output is as on the page, or `within` seconds are over."""
    deadline = time.monotonic() + (within if only_reads(step.command) else 0)
    while True:
        command = filled(step.command, values)
        ended = shell.run(command, limit=limit)
        complaint = complaint_about(step, command, ended, values)
        if not complaint:
            return ended
        if time.monotonic() >= deadline:
            raise DiffersError(complaint)
        time.sleep(PAUSE)


def only_reads(command: str) -> bool:
    """Whether it may be run any number of times."""
    calls = _CALLS.findall(command)
    reads = all(verb in (HELM_READS if program == "helm" else READS) for program, verb in calls)
    return bool(calls) and reads and not _WRITES.search(command)


def complaint_about(step: Step, command: str, ended: Ended, values: Values) -> str:
    """Returns what is wrong; nothing: it ended as the page shows."""
    seen = _without_blank_ends(ended.lines)
    found = difference(step.output, seen, values)
    if ended.code is None:
        why = "the command did not end within its time limit"
    elif ended.code and not _is_shown_to_fail(step, seen, values):
        why = f"the command failed with exit code {ended.code}, and the page doesn't show its last line"
    elif found:
        why = _where(found, step, seen)
    else:
        return ""
    return "\n".join([f"{step.place}: {why}", f"  $ {command}", *_side_by_side(step.output, seen, found)])


def _is_shown_to_fail(step: Step, seen: list[str], values: Values) -> bool:
    """Whether the page shows the error in words: output that matches anything doesn't count."""
    return bool(seen) and shows(step.output, seen[-1], values)


def _where(found: Difference, step: Step, seen: list[str]) -> str:
    if found.of_page is None:
        assert found.of_output is not None
        return f"the command printed a line that the page doesn't show: {seen[found.of_output]!r}"
    return f"the page shows a line that the command didn't print there: {step.output[found.of_page]!r}"


def _side_by_side(page: tuple[str, ...], seen: list[str], found: Difference | None) -> list[str]:
    of_page, of_output = (found.of_page, found.of_output) if found else (None, None)
    return [
        "  the page shows" if page else "  the page shows no output",
        *_marked(page, of_page),
        "  the command printed" if seen else "  the command printed nothing",
        *_marked(seen, of_output),
    ]


def _marked(lines: tuple[str, ...] | list[str], marked: int | None) -> list[str]:
    return [f"  {'>' if at == marked else ' '} {line}" for at, line in enumerate(lines)]


def _without_blank_ends(lines: tuple[str, ...]) -> list[str]:
    return "\n".join(lines).strip("\n").splitlines()
