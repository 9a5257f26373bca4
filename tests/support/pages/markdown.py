"""Reads a Markdown page: its headings, fenced blocks and links, each with its line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^(?P<indent>[ \t]*)(?P<fence>`{3,}|~{3,})[ \t]*(?P<language>[\w+-]*)")
_HEADING = re.compile(r"^(#{1,6})[ \t]+(.+?)[ \t]*#*$")
_LINK = re.compile(r"!?\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)[^)]*\)")
_CODE = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)", re.DOTALL)
_STARTS_A_PARAGRAPH = re.compile(r"[ \t]*(?:$|[-*+>|][ \t]?|\d+\.[ \t])")


class PageError(Exception):
    """A page that can't be read as it is written: one sentence with page, line and remedy."""


@dataclass(frozen=True)
class Heading:
    level: int
    text: str
    line: int

    @property
    def anchor(self) -> str:
        """The fragment of a link to it, as GitHub and mkdocs write it."""
        words = re.sub(r"[^\w\- ]", "", self.text.replace("`", "").lower()).strip()
        return words.replace(" ", "-")


@dataclass(frozen=True)
class Block:
    """A fenced block. `line` is that of its first line; `below` are the headings above it, the outermost first."""

    language: str
    text: str
    line: int
    below: tuple[str, ...]
    page: Path

    @property
    def place(self) -> str:
        return f"{self.page.name}:{self.line}"


@dataclass(frozen=True)
class Link:
    text: str
    target: str
    line: int


@dataclass(frozen=True)
class Page:
    path: Path
    headings: tuple[Heading, ...]
    blocks: tuple[Block, ...]
    links: tuple[Link, ...]
    first_sentence: str

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def sections(self) -> list[str]:
        """The headings of the second level."""
        return [each.text for each in self.headings if each.level == 2]

    def under(self, *headings: str, language: str = "console") -> list[Block]:
        """Returns the blocks directly below these headings, which start at the second level."""
        return [each for each in self.blocks if each.below[1:] == headings and each.language == language]

    @property
    def runbooks(self) -> set[str]:
        """The names of the pages in the same folder to which links lead."""
        found = (re.fullmatch(r"([\w-]+)\.md(?:#.*)?", each.target) for each in self.links)
        return {each[1] for each in found if each}

    def links_to(self, name: str) -> bool:
        return name in self.runbooks


def read(path: Path) -> Page:
    return parse(path.read_text(), path)


def parse(text: str, path: Path) -> Page:
    headings: list[Heading] = []
    blocks: list[Block] = []
    prose: list[str] = []
    written: list[tuple[int, str]] = []
    numbered = iter(enumerate(text.splitlines(), start=1))
    for number, line in numbered:
        if opened := _FENCE.match(line):
            below = tuple(each.text for each in _above(headings))
            content = "\n".join(_until_closed(numbered, opened, path, number))
            blocks.append(Block(opened["language"], content, number + 1, below, path))
        elif found := _HEADING.match(line):
            headings.append(Heading(len(found[1]), found[2], number))
        else:
            written.append((number, line))
            if len(headings) == 1:
                prose.append(line)
    links = tuple(link for start, lines in _paragraphs(written) for link in _links(start, lines))
    return Page(path, tuple(headings), tuple(blocks), links, _first_paragraph(prose))


def _paragraphs(lines: list[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Yields the lines within which a link may be, as one string each, with the number of the first."""
    start, text, last = 0, "", 0
    for number, line in lines:
        if number != last + 1 or _STARTS_A_PARAGRAPH.match(line):
            yield start, text
            start, text = number, line
        else:
            text += f"\n{line}"
        last = number
    yield start, text


def _links(start: int, paragraph: str) -> Iterator[Link]:
    text = _CODE.sub(lambda code: "\n" * code[0].count("\n"), paragraph)
    for each in _LINK.finditer(text):
        yield Link(" ".join(each["text"].split()), each["target"], start + text.count("\n", 0, each.start()))


def _until_closed(lines: Iterator[tuple[int, str]], opened: re.Match[str], path: Path, start: int) -> Iterator[str]:
    fence, indent = opened["fence"], opened["indent"]
    for _, line in lines:
        if re.fullmatch(rf"[ \t]*{re.escape(fence[0])}{{{len(fence)},}}[ \t]*", line):
            return
        yield line.removeprefix(indent)
    raise PageError(f"{path.name}:{start}: the block is never closed: end it with a line {fence!r}.")


def _above(headings: list[Heading]) -> list[Heading]:
    """Returns the headings that the next line is below, the outermost first."""
    found: list[Heading] = []
    for each in headings:
        found = [*(outer for outer in found if outer.level < each.level), each]
    return found


def _first_paragraph(lines: list[str]) -> str:
    text = "\n".join(lines).strip()
    return " ".join(text.split("\n\n", 1)[0].split())
