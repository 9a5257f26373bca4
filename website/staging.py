"""Copies the pages of the site out of the repository, with links that lead to pages of the site.

The repository's layout stays, so links between pages stay as they are. A link to another file or to a folder of the
repository leads to a page below `source/` that shows it: the site is complete without a network. Pure, but for `stage`.
"""

from __future__ import annotations

import posixpath
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from diagrams import with_pictures

SOURCE = "source"
MOST_SHOWN = 200_000  # characters of a file
LANGUAGES = {".py": "python", ".yaml": "yaml", ".yml": "yaml", ".json": "json", ".toml": "toml", ".tpl": "text"}
COPIED = (".svg", ".png", ".gz")
_FENCE = re.compile(r"^ *(```+|~~~+)")
_LINK = re.compile(
    r"(?P<before>!?\[(?:[^\]\[`]|`[^`]*`|!?\[[^\]]*\]\([^)]*\))*\]\()(?P<target>[^)\s#]+)(?P<rest>[^)]*\))"
)
_ITEM = re.compile(r" *([-*]|\d+\.) ")
_COMMENT = re.compile(r"^<!--.*?-->\n", re.DOTALL)


class StagingError(Exception):
    """Why there are no pages: a sentence with the remedy."""


@dataclass(frozen=True)
class Repository:
    """`files`: paths of all of its files, with slashes."""

    files: frozenset[str]

    @property
    def pages(self) -> list[str]:
        return sorted(each for each in self.files if each.endswith(".md"))

    def is_folder(self, path: str) -> bool:
        return any(each.startswith(f"{path}/") for each in self.files)

    def within(self, folder: str) -> list[str]:
        """The names in a folder; those of folders end with a slash."""
        rest = (each[len(folder) + 1 :] for each in self.files if each.startswith(f"{folder}/"))
        return sorted({name + "/" if more else name for name, more, _ in (each.partition("/") for each in rest)})


class Links:
    """Rewrites links, and remembers to which files and folders they lead."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self.shown: set[str] = set()
        self.copied: set[str] = set()

    def rewritten(self, page: str, text: str) -> str:
        """The text of a page, as the site's Markdown needs it."""
        return "\n".join(self._lines(page, text))

    def _lines(self, page: str, text: str) -> Iterator[str]:
        fence, before = "", ""
        for line in _COMMENT.sub("", text).split("\n"):
            mark = _FENCE.match(line)
            if mark and (not fence or line.strip().startswith(fence)):
                fence = "" if fence else mark[1]
            elif not fence:
                if _ITEM.match(line) and before.strip() and not _ITEM.match(before) and before[0] not in " |#":
                    yield ""  # GitHub needs no empty line before a list
                before = line
                yield _LINK.sub(lambda link: link["before"] + self._target(page, link["target"]) + link["rest"], line)
                continue
            yield line
            before = line

    def _target(self, page: str, target: str) -> str:
        if "://" in target or target.startswith(("mailto:", "/")):
            return target
        folder = posixpath.dirname(page)
        path = posixpath.normpath(posixpath.join(folder, target))
        return posixpath.relpath(self.place(path), folder or ".")

    def place(self, path: str) -> str:
        """The page or file of the site for a file or folder of the repository."""
        if path in self._repository.files:
            if path.endswith(COPIED):
                self.copied.add(path)
                return path
            if path.endswith(".md"):
                return path
            self.shown.add(path)
            return f"{SOURCE}/{path}.md"
        readme = f"{path}/README.md"
        if readme in self._repository.files:
            return readme
        if self._repository.is_folder(path):
            self.shown.add(path)
            return f"{SOURCE}/{path}/index.md"
        return path  # leads nowhere: the build says so


def sources(links: Links, repository: Repository, read: Callable[[str], str]) -> dict[str, str]:
    """The pages that show files and folders to which other pages link, and those to which these lead."""
    made: dict[str, str] = {}
    while missing := sorted(each for each in links.shown if links.place(each) not in made):
        for path in missing:
            is_file = path in repository.files
            made[links.place(path)] = _file(path, read(path)) if is_file else _folder(path, links, repository)
    return made


_HIDDEN = "---\nsearch: {exclude: true}\nhide: [toc]\n---\n"


def _file(path: str, text: str) -> str:
    language = LANGUAGES.get(posixpath.splitext(path)[1], "text")
    rest = "\n\nOnly the beginning is shown." if len(text) > MOST_SHOWN else ""
    return f"{_HIDDEN}# {path}\n\n``````{language}\n{text[:MOST_SHOWN].rstrip()}\n``````{rest}\n"


def _folder(path: str, links: Links, repository: Repository) -> str:
    here = posixpath.dirname(links.place(path))
    lines = []
    for name in repository.within(path):
        target = posixpath.relpath(links.place(posixpath.join(path, name.rstrip("/"))), here)
        lines.append(f"- [{name}]({target})")
    return f"{_HIDDEN}# {path}\n\n" + "\n".join(lines) + "\n"


def title_of(text: str) -> str:
    found = re.search(r"^# (.+)$", text, re.MULTILINE)
    return found[1].replace("`", "") if found else ""


Nav = list[object]


def expanded(nav: Iterable[object], pages: Mapping[str, str], *, named: frozenset[str] | None = None) -> Nav:
    """The navigation with titles, and with all pages of the folders that it names by `FOLDER/*`; empty parts are left
    out. `pages`: the text of each."""
    nav = list(nav)
    named = frozenset(_named(nav)) if named is None else named
    made: Nav = []
    for each in nav:
        if isinstance(each, dict):
            [(title, inside)] = each.items()
            if found := expanded(inside, pages, named=named):
                made.append({title: found})
        elif isinstance(each, str):
            made += [{title_of(pages[page]) or page: page} for page in _matching(each, pages, named)]
    return made


def _matching(entry: str, pages: Mapping[str, str], named: frozenset[str]) -> list[str]:
    if not entry.endswith("*"):
        return [entry] if entry in pages else []
    folder = entry.rstrip("*")
    inside = {each for each in pages if each.startswith(folder) and each not in named}
    longer = [each.rstrip("*") for each in named if each.endswith("*") and each != entry and each.startswith(folder)]
    return sorted(each for each in inside if not each.startswith(tuple(longer)))


def _named(nav: Iterable[object]) -> Iterator[str]:
    for each in nav:
        if isinstance(each, dict):
            for inside in each.values():
                yield from _named(inside)
        else:
            yield str(each)


def repository_at(root: Path) -> Repository:
    """Its files are those that Git tracks: notes and drafts that lie next to them don't get onto the site."""
    try:
        told = subprocess.run(["git", "ls-files", "-z"], cwd=root, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        why = getattr(error, "stderr", "") or error
        raise StagingError(
            f"git can't list the files of {root}: {str(why).strip()}. Build in a clone of the repository, with git."
        ) from error
    return Repository(frozenset(each for each in told.split("\0") if each and (root / each).is_file()))


def stage(root: Path, to: Path) -> dict[str, str]:
    """Writes everything that the site is built from into a folder; returns the pages for the navigation."""
    repository = repository_at(root)
    links = Links(repository)
    pages = {page: (root / page).read_text() for page in repository.pages}
    texts = {page: links.rewritten(page, with_pictures(page, text, repository.files)) for page, text in pages.items()}
    texts |= sources(links, repository, lambda path: (root / path).read_text(errors="replace"))
    for page, text in texts.items():
        file = to / page
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    for path in (*links.copied, *(each for each in repository.files if each.startswith("website/assets/"))):
        (to / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / path, to / path)
    return pages
