"""Console blocks: commands after `$ `, each followed by the output that a reader sees."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from support.pages.markdown import Block, PageError

LANGUAGE = "console"
PROMPT = "$ "
_PROMPT = re.compile(r"\$(?: |$)")
ANY = "…"
_HERE_DOCUMENT = re.compile(r"<<-?\s*['\"]?(\w+)['\"]?")


@dataclass(frozen=True)
class Step:
    """A command and what the page shows below it; no line means that it prints nothing."""

    command: str
    output: tuple[str, ...]
    page: str
    line: int

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def steps_of(block: Block) -> list[Step]:
    lines = [(block.line + at, line.rstrip()) for at, line in enumerate(block.text.splitlines())]
    if not lines or not _PROMPT.match(lines[0][1]):
        raise PageError(f"{block.place}: a console block starts with a command: begin its first line with {PROMPT!r}.")
    return list(_steps(iter(lines), block))


def digest_of(blocks: list[Block]) -> str:
    """Identifies commands and output, so that a change of them shows."""
    return hashlib.sha256("\0".join(each.text for each in blocks).encode()).hexdigest()[:12]


def _steps(lines: Iterator[tuple[int, str]], block: Block) -> Iterator[Step]:
    number, line = next(lines)
    while True:
        command = "\n".join([_PROMPT.sub("", line, count=1), *_rest_of_command(lines, line)])
        output: list[str] = []
        following = next(lines, None)
        while following and not _PROMPT.match(following[1]):
            output.append(following[1])
            following = next(lines, None)
        yield _checked(Step(command, tuple(_without_blank_ends(output)), block.page.name, number))
        if not following:
            return
        number, line = following


def _rest_of_command(lines: Iterator[tuple[int, str]], first: str) -> Iterator[str]:
    """Yields the lines that continue it: after a backslash, or up to the end of a here-document."""
    line = first
    while line.endswith("\\"):
        _, line = next(lines, (0, ""))
        yield line
    if found := _HERE_DOCUMENT.search(line):
        for _, each in lines:
            yield each
            if each == found[1]:
                return


def _checked(step: Step) -> Step:
    if not step.command.strip():
        raise PageError(f"{step.place}: there is no command after {PROMPT!r}: write one, or remove the line.")
    if step.output and not any(line.replace(ANY, "").strip() for line in step.output):
        raise PageError(f"{step.place}: the output is {ANY} alone, which any output matches: show a part of it.")
    return step


def _without_blank_ends(lines: list[str]) -> list[str]:
    return "\n".join(lines).strip("\n").splitlines()
