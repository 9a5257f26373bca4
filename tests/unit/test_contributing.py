"""The section of CONTRIBUTING.md about tests shows a test that runs, and names what exists."""

from __future__ import annotations

import re

from support.repository import ROOT

PAGE = (ROOT / "CONTRIBUTING.md").read_text()
SUPPORT = ROOT / "tests/support"


def test_the_example_is_a_test_of_the_suite() -> None:
    [example] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert example == (ROOT / "tests/cluster/test_example.py").read_text()


def test_every_fixture_in_contributing_exists() -> None:
    fixtures = (SUPPORT / "cluster/fixtures.py").read_text()
    _, _, rows = PAGE.partition("| fixture |")
    rows = rows.partition("\n\n")[0]
    names = [name for row in rows.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert names
    assert [name for name in names if f"def {name}(" not in fixtures] == []


def test_every_folder_of_helpers_is_in_contributing() -> None:
    folders = {path.parent.name for path in SUPPORT.glob("*/__init__.py")}
    assert folders == set(re.findall(r"^\| `support/(\w+)/`", PAGE, re.MULTILINE))
