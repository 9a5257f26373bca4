"""Reports words that make an English reader stop: `make lint` runs it over the repository, or give it paths.

The words and their remedies are the table in CONTRIBUTING.md, section "English", and are written down nowhere else. Of
Python it reads comments, docstrings and strings; of Markdown the prose; of other files all that is in them. A word in
backticks is a name, and so is a string without a space: neither is reported.

Why neither codespell nor vale: codespell matches single words only, and in identifiers, too; vale reads a program's
comments but not its strings, and is one more binary to fetch.

A line on which such a word is right says why, on it or on the line above: `english: the name of a field of vLLM`.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tokenize
from bisect import bisect
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
RULES = "CONTRIBUTING.md"
HEADER = "| not this | but that |"
CHECKED = frozenset(
    ("", ".py", ".md", ".yaml", ".yml", ".txt", ".tpl", ".toml", ".lua", ".proto", ".Containerfile", ".importlinter")
)
NOT_PROSE = re.compile(
    r"(^|/)(LICENSE|uv\.lock|[^/]*_pb2\w*\.pyi?)$|(^|/)(requirements|vendor)/|requirements[^/]*\.txt$|\.lock$"
    r"|^charts/slipway-crds/files/|^adrs/|/recorded/"
)
"""Generated copies, files and recorded output of other projects, and decision records, which stay as written."""
_CODE = "\0"
_ESCAPE = re.compile(r"english: \S+ \S+")
_FENCE = re.compile(r"^( *)(```+|~~~+).*?(?:^\1\2|\Z)", re.MULTILINE | re.DOTALL)
_NAMES = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)|https?://\S+|\]\([^)\n]*\)", re.DOTALL)


@dataclass(frozen=True)
class Word:
    """A row of the table: what not to write, and what to write instead."""

    pattern: re.Pattern[str]
    remedy: str


@dataclass(frozen=True)
class Hit:
    """A place where such a word is."""

    path: Path
    line: int
    found: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: not {self.found!r}, but: {self.remedy}"


def words(rules: str) -> list[Word]:
    """The rows of the table in CONTRIBUTING.md; each `phrase` in backticks of its first column is one."""
    _, found, rest = rules.partition(HEADER)
    if not found:
        raise ValueError(f"{RULES} has no table that starts with {HEADER!r}: the words are in it")
    table = re.match(r"\n\|[-| ]+\|\n((?:\|.*\|\n)+)", rest)
    rows = [row.strip("| ").split(" | ", 1) for row in table[1].splitlines()] if table else []
    return [Word(_pattern(phrase), remedy.strip()) for row, remedy in rows for phrase in re.findall("`(.+?)`", row)]


def _pattern(phrase: str) -> re.Pattern[str]:
    """Whole words, which the end of a line may separate; a hyphen or an underscore makes them part of a name."""
    spaced = r"(?:[^\S\n]+|[^\S\n]*\n[^\S\n]*)".join(map(re.escape, phrase.split()))
    return re.compile(rf"(?<![\w-]){spaced}(?![\w-])", re.IGNORECASE)


def hits(path: Path, text: str, table: Iterable[Word]) -> list[Hit]:
    """The places of a file where a word of the table is, in their order."""
    prose = _prose(path, text)
    lines = text.splitlines()
    starts = [0, *(match.end() for match in re.finditer("\n", text))]
    found = [
        Hit(path, bisect(starts, match.start()), " ".join(match[0].split()), word.remedy)
        for word in table
        for match in word.pattern.finditer(prose)
    ]
    return sorted((hit for hit in found if not _is_excused(lines, hit.line)), key=lambda hit: hit.line)


def _is_excused(lines: list[str], line: int) -> bool:
    return any(_ESCAPE.search(each) for each in lines[max(line - 2, 0) : line])


def _prose(path: Path, text: str) -> str:
    """The text with everything that isn't prose blanked, so that each word keeps its place."""
    if path.suffix == ".py":
        text = _python(text)
    elif path.suffix == ".md":
        text = _FENCE.sub(_blank, text)
    return _NAMES.sub(_blank, text)


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", _CODE, match[0])


def _python(text: str) -> str:
    """Comments and strings alone. Between the parts of a string that goes on in the next line there are only spaces."""
    rows = [list(re.sub(r"\S", _CODE, line)) for line in text.splitlines(keepends=True)]
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            _show(rows, token.start, " " + token.string[1:])
        elif token.type == tokenize.STRING and re.search(r"\s", token.string):
            _show(rows, token.start, _string(token.string))
    return "".join("".join(row) for row in rows)


def _string(literal: str) -> str:
    prefix, quote = re.match(r"(\w*)(\"\"\"|'''|\"|')", literal).groups()  # type: ignore[union-attr]
    inside = literal[len(prefix + quote) : -len(quote)]
    if "f" in prefix.lower():
        inside = re.sub(r"\{[^{}]*\}", _blank, inside)
    inside = re.sub(r"\\n", "  ", inside)
    return " " * len(prefix + quote) + inside + " " * len(quote)


def _show(rows: list[list[str]], start: tuple[int, int], text: str) -> None:
    row, column = start[0] - 1, start[1]
    for line in text.split("\n"):
        rows[row][column : column + len(line)] = line
        row, column = row + 1, 0


def files(paths: Iterable[Path], root: Path = Path()) -> Iterator[Path]:
    """What Git tracks of these folders and files, and what it would, if it is a kind of file that has prose."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *map(str, paths)],
        cwd=root,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in sorted({name for name in listed.stdout.split("\0") if name}):
        path = Path(name)
        if _kind(path) in CHECKED and not NOT_PROSE.search(name) and (root / path).is_file():
            yield path


def _kind(path: Path) -> str:
    return path.suffix or (path.name if path.name.startswith(".") else "")


def main(arguments: list[str]) -> int:
    """0: there is none; 1: there are some, which are printed."""
    table = words((ROOT / RULES).read_text())
    checked = list(files(map(Path, arguments or ["."])))
    found = [hit for path in checked for hit in hits(path, path.read_text(), table)]
    for hit in found:
        print(hit)
    if not found:
        return 0
    counts = Counter("/".join(hit.path.parts[:3][:-1]) or "." for hit in found)
    for folder, count in sorted(counts.items()):
        print(f"{count:6} {folder}")
    print(f"{len(found)} words that {RULES}, section English, says otherwise; a name in backticks is not reported.")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
