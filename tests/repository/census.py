"""Counts what makes the repository easy or hard to read: `make census`; with the root of another checkout, to compare.

Sizes, long functions and files, imports inside each package, names that mean several things, dictionaries that several
modules give a name, and how much prose there is, with the hits of the word list in CONTRIBUTING.md. It judges nothing.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median, quantiles

import grimp
from repository import english

PRODUCT: Mapping[str, str] = {
    "slipway": "operator",
    "slipway_runtime": "runtime-image",
    "slipway_devcluster": "devcluster",
    "slipway_release": "release",
}
"""The packages of the product, and the folder that has to be on Python's path for each."""
OTHERS = ("tests", "benchmarks")
GENERATED = re.compile(r"_pb2\w*\.pyi?$|/_generated/")
LONGEST = 15
LONG_FUNCTION, LONG_FILE = 40, 400

Pairs = frozenset[tuple[str, str]]
"""Imports: the module that imports, and the one that is imported."""


@dataclass(frozen=True)
class Source:
    """A file of Python, parsed once."""

    path: Path
    """From the root of the checkout."""
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @property
    def lines(self) -> int:
        return self.text.count("\n")

    @property
    def package(self) -> str:
        """The folder that it is counted with: of the product a deeper one than of tests."""
        folders = self.path.parts[:-1]
        return "/".join(folders[: 4 if self.is_product else 2])

    @property
    def is_product(self) -> bool:
        return len(self.path.parts) > 1 and self.path.parts[1] in PRODUCT


@dataclass(frozen=True)
class Function:
    """A function or method, with its decorators."""

    path: Path
    line: int
    name: str
    lines: int


@dataclass(frozen=True)
class Floors:
    """How the modules and folders directly inside one package import each other."""

    children: int
    edges: int
    floors: int
    """Of the longest chain of imports; those of a circle are one floor."""
    circles: int


def sources(root: Path) -> list[Source]:
    """What was written by hand: no generated code."""
    found = (path for path in english.files([Path()], root) if path.suffix == ".py")
    return [Source(path, (root / path).read_text()) for path in found if not GENERATED.search(str(path))]


# --- sizes -----------------------------------------------------------------------------------------------------------


def functions(source: Source) -> Iterator[Function]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            yield Function(source.path, first, node.name, (node.end_lineno or first) - first + 1)


# --- imports ---------------------------------------------------------------------------------------------------------


def imports(root: Path) -> tuple[Pairs, frozenset[str]]:
    """All imports within the product, and all of its modules."""
    there = {package: root / folder for package, folder in PRODUCT.items() if (root / folder / package).is_dir()}
    sys.path[:0] = map(str, there.values())
    graph = grimp.build_graph(*there, include_external_packages=False, cache_dir=None)
    pairs = {(one, other) for one in graph.modules for other in graph.find_modules_directly_imported_by(one)}
    return frozenset(pairs), frozenset(graph.modules)


def floors(package: str, pairs: Pairs, modules: Iterable[str]) -> Floors:
    def child(module: str) -> str | None:
        name = module.removeprefix(package + ".")
        return name.split(".")[0] if name != module else None

    children = {name for name in map(child, modules) if name}
    edges = {(one, other) for one, other in ((child(a), child(b)) for a, b in pairs) if one and other and one != other}
    below: dict[str, set[str]] = {name: {other for one, other in edges if one == name} for name in children}
    reach = {name: _reachable(name, below) for name in children}
    together = {name: frozenset({name, *(other for other in reach[name] if name in reach[other])}) for name in children}
    return Floors(
        children=len(children),
        edges=len(edges),
        floors=max((_height(group, below, together, {}) for group in set(together.values())), default=0),
        circles=sum(len(group) > 1 for group in set(together.values())),
    )


def _reachable(name: str, below: Mapping[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    waiting = list(below[name])
    while waiting:
        other = waiting.pop()
        if other not in seen:
            seen.add(other)
            waiting.extend(below[other])
    return seen


def _height(
    group: frozenset[str],
    below: Mapping[str, set[str]],
    together: Mapping[str, frozenset[str]],
    known: dict[frozenset[str], int],
) -> int:
    if group not in known:
        lower = {together[other] for name in group for other in below[name]} - {group}
        known[group] = 1 + max((_height(each, below, together, known) for each in lower), default=0)
    return known[group]


# --- names -----------------------------------------------------------------------------------------------------------


def several(names: Iterable[tuple[str, Path]]) -> dict[str, list[Path]]:
    """Names that are defined in more than one place, the most frequent first."""
    places: dict[str, list[Path]] = defaultdict(list)
    for name, path in names:
        places[name].append(path)
    return dict(sorted(((n, p) for n, p in places.items() if len(p) > 1), key=lambda item: (-len(item[1]), item[0])))


def classes(source: Source) -> Iterator[tuple[str, Path]]:
    """The public classes of a module."""
    for node in source.tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield node.name, source.path


def public_functions(source: Source) -> Iterator[tuple[str, Path]]:
    for node in source.tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            yield node.name, source.path


def aliases(source: Source) -> Iterator[tuple[str, Path]]:
    """Names that a module gives to `dict[str, Any]`."""
    for node in source.tree.body:
        match node:
            case (
                ast.Assign(targets=[ast.Name(name)], value=value) | ast.AnnAssign(target=ast.Name(name), value=value)
            ) if value is not None and ast.unparse(value) in ("dict[str, Any]", "Mapping[str, Any]"):
                yield f"{name} = {ast.unparse(value)}", source.path


# --- English ---------------------------------------------------------------------------------------------------------


def prose(source: Source) -> list[str]:
    """The docstrings, of attributes too, and the comments; comments on lines that follow each other are one."""
    expressions = (node.value for node in ast.walk(source.tree) if isinstance(node, ast.Expr))
    docstrings = [each.value for each in expressions if isinstance(each, ast.Constant) and isinstance(each.value, str)]
    comments: list[str] = []
    last = -1
    for token in tokenize.generate_tokens(io.StringIO(source.text).readline):
        if token.type == tokenize.COMMENT:
            text = token.string.lstrip("# ")
            if token.start[0] == last + 1 and comments:
                comments[-1] += f" {text}"
            else:
                comments.append(text)
            last = token.start[0]
    return docstrings + comments


def hits(source: Source, table: list[english.Word]) -> int:
    return len(english.hits(source.path, source.text, table))


# --- the page --------------------------------------------------------------------------------------------------------


def page(root: Path) -> Iterator[str]:
    """The lines of the census."""
    everything = sources(root)
    product = [source for source in everything if source.is_product]
    table = english.words((english.ROOT / english.RULES).read_text())
    yield from _sizes(everything, table)
    yield from _long(product)
    yield from _floors(root)
    yield from _names("Class names with several definitions", product, classes)
    yield from _names("Names of functions with several definitions", product, public_functions)
    modules = several((s.path.stem, s.path) for s in product if not s.path.stem.startswith("__"))
    yield from _listed("Names of modules that several packages have", modules)
    yield from _listed("Aliases of the same dictionary", several(a for s in product for a in aliases(s)))


def _sizes(everything: list[Source], table: list[english.Word]) -> Iterator[str]:
    yield from _title("Sizes and English")
    yield f"{'package':44}{'files':>6}{'lines':>8}{'prose':>7}{'words':>8}{'hits':>6}"
    packages: dict[str, list[Source]] = defaultdict(list)
    for source in everything:
        packages[source.package].append(source)
    rows = [(name, packages[name]) for name in sorted(packages)]
    product = [source for source in everything if source.is_product]
    for name, members in [*rows, ("the product", product), ("everything", everything)]:
        said = [text for source in members for text in prose(source)]
        count = sum(len(text.split()) for text in said)
        found = sum(hits(source, table) for source in members)
        lines = sum(source.lines for source in members)
        yield f"{name:44}{len(members):6}{lines:8}{len(said):7}{count:8}{found:6}"
    yield "Prose: docstrings and comments, with their words. Hits: words of the list, in those and in strings."


def _long(product: list[Source]) -> Iterator[str]:
    found = sorted((f for source in product for f in functions(source)), key=lambda f: -f.lines)
    lengths = [function.lines for function in found]
    yield from _title("Functions of the product")
    ninth = round(quantiles(lengths, n=10)[-1])
    yield f"{len(found)} functions: median {median(lengths):g} lines, p90 {ninth}, longest {lengths[0]}"
    yield f"{sum(length > LONG_FUNCTION for length in lengths)} have more than {LONG_FUNCTION} lines; the longest:"
    yield from (f"{f.lines:6}  {f.path}:{f.line} {f.name}" for f in found[:LONGEST])
    yield from _title("Files of the product")
    files = sorted(product, key=lambda source: -source.lines)
    yield f"{sum(source.lines > LONG_FILE for source in files)} have more than {LONG_FILE} lines; the longest:"
    yield from (f"{source.lines:6}  {source.path}" for source in files[:LONGEST])


def _floors(root: Path) -> Iterator[str]:
    pairs, modules = imports(root)
    yield from _title("Imports inside each package")
    yield f"{'package':44}{'inside':>7}{'floors':>8}{'edges':>7}{'circles':>9}"
    packages = {module.rpartition(".")[0] for module in modules} - {""}
    for package in sorted(packages):
        of = floors(package, pairs, modules)
        if of.children > 1:
            yield f"{package:44}{of.children:7}{of.floors:8}{of.edges:7}{of.circles:9}"
    yield f"All modules together: {len(modules)}, with {len(pairs)} imports."


def _names(title: str, product: list[Source], read: Callable[[Source], Iterable[tuple[str, Path]]]) -> Iterator[str]:
    yield from _listed(title, several(name for source in product for name in read(source)))


def _listed(title: str, names: Mapping[str, list[Path]]) -> Iterator[str]:
    yield from _title(f"{title}: {len(names)}")
    for name, paths in names.items():
        counts = Counter(str(path) for path in paths)
        yield f"{len(paths):6}  {name}: {', '.join(sorted(counts))}"


def _title(text: str) -> Iterator[str]:
    yield from ("", text, "-" * len(text))


def main(arguments: list[str]) -> int:
    root = Path(arguments[0] if arguments else english.ROOT).resolve()
    for line in page(root):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
