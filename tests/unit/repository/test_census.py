"""The census counts correctly, in small sources of the tests and in the repository."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from repository import census, english

PATH = Path("operator/slipway/kube/lease.py")


def source(text: str, path: Path = PATH) -> census.Source:
    return census.Source(path, text)


@pytest.mark.parametrize(
    ("path", "package", "is_product"),
    [
        ("operator/slipway/kube/lease.py", "operator/slipway/kube", True),
        ("operator/slipway/operator/planning/deep/er.py", "operator/slipway/operator/planning", True),
        ("operator/generate_crds.py", "operator", False),
        ("tests/unit/kube/test_lease.py", "tests/unit", False),
    ],
)
def test_a_file_is_counted_with_its_package(path: str, package: str, is_product: bool) -> None:
    assert (source("", Path(path)).package, source("", Path(path)).is_product) == (package, is_product)


def test_the_length_of_a_function_includes_its_decorators() -> None:
    found = list(
        census.functions(source("@cache\ndef one(\n    x,\n):\n    return x\n\nclass A:\n    async def b(self): ...\n"))
    )
    assert [(each.name, each.line, each.lines) for each in found] == [("one", 1, 5), ("b", 8, 1)]


MODULES = ("p", "p.a", "p.b", "p.b.deep", "p.c", "p.d", "q.x")


@pytest.mark.parametrize(
    ("pairs", "edges", "floors", "circles"),
    [
        ((), 0, 1, 0),
        ((("p.a", "p.b"), ("p.b", "p.c"), ("p.a", "p.c")), 3, 3, 0),
        ((("p.a", "p.b"), ("p.a", "p.b.deep"), ("p.b", "p.b.deep")), 1, 2, 0),
        ((("p.a", "p.b"), ("p.b", "p.a"), ("p.b", "p.c")), 3, 2, 1),
        ((("p.a", "q.x"), ("p.a", "p")), 0, 1, 0),
    ],
    ids=["none", "a chain", "into a folder", "a circle", "out of the package"],
)
def test_the_floor_of_a_package_is_its_longest_chain_of_imports(
    pairs: tuple[tuple[str, str], ...], edges: int, floors: int, circles: int
) -> None:
    assert census.floors("p", frozenset(pairs), MODULES) == census.Floors(4, edges, floors, circles)


def test_names_with_several_definitions_are_found_and_private_ones_are_not() -> None:
    one = source("class A: ...\nclass _B: ...\nclass C: ...\n")
    other = source("class A: ...\nclass _B: ...\nclass D: ...\n", Path("operator/slipway/other.py"))
    found = census.several(name for each in (one, other) for name in census.classes(each))
    assert found == {"A": [PATH, other.path]}


def test_names_of_dictionaries_are_found() -> None:
    text = (
        "Object = dict[str, Any]\nOther: TypeAlias = dict[str, Any]\nx: dict[str, Any] = {}\nSmall = dict[str, str]\n"
    )
    assert [name for name, _ in census.aliases(source(text))] == ["Object = dict[str, Any]", "Other = dict[str, Any]"]


def test_docstrings_and_comments_are_prose_and_strings_are_not() -> None:
    text = '"""One."""\nX = 1\n"""Two."""\n\n# Three\n# and more.\n\n# Four.\nlog("no prose")  # Five.\n'
    assert census.prose(source(text)) == ["One.", "Two.", "Three and more.", "Four. Five."]


def test_generated_code_is_not_counted() -> None:
    assert not [each for each in census.sources(english.ROOT) if "_pb2" in str(each.path)]


def test_another_checkout_is_counted_and_this_one_is_not(tmp_path: Path) -> None:
    package = tmp_path / "operator/slipway"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text('"""Nothing."""\n')
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    assert [each.path for each in census.sources(tmp_path)] == [Path("operator/slipway/__init__.py")]


def test_every_module_of_the_product_is_in_the_imports() -> None:
    pairs, modules = census.imports(english.ROOT)
    assert {package.split(".")[0] for package in modules} == set(census.PRODUCT)
    assert {module for pair in pairs for module in pair} <= modules
    assert not [package for package in census.PRODUCT if census.floors(package, pairs, modules).circles]
