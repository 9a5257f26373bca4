"""The tests and code that the documentation names exist, and the files that it shows are unchanged copies."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "README.md").read_text()
ARCHITECTURE = (REPOSITORY / "docs/architecture.md").read_text()
FOLDERS = ("docs/**/*.md", "adrs/**/*.md", "*/README.md")
PAGES = sorted({*REPOSITORY.glob("*.md"), *(page for folder in FOLDERS for page in REPOSITORY.glob(folder))})
FILES = [*(REPOSITORY / "tests").rglob("*.py")]
TESTS = {name for file in FILES for name in re.findall(r"\bdef (test_\w+)\(", file.read_text())}
MODULES = {file.stem for file in FILES}

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))


@each_page
def test_tests_that_a_page_names_exist(page: Path) -> None:
    named = re.findall(r"\b(test_\w+)(\.py)?", page.read_text())
    assert not [name for name, is_file in named if name not in (MODULES if is_file else TESTS | MODULES)]


def test_every_promise_of_the_readme_is_kept_by_tests_that_exist() -> None:
    promises = README.split("## What it promises")[1].split("\n## ")[0]
    rows = [line for line in promises.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 6
    for row in rows:
        files = re.findall(r"\]\((tests/[^)#]+\.py)\)", row)
        assert files, row
        assert all((REPOSITORY / file).is_file() for file in files), row
        for name, file in re.findall(r"`…?(\w+)` in \[\w+\.py\]\(([^)]+)\)", row):
            assert name in (REPOSITORY / file).read_text(), name


def test_every_measured_number_of_the_readme_leads_to_how_it_was_measured() -> None:
    prose = re.sub(r"```.*?```", "", README, flags=re.DOTALL)
    measured = [part for part in prose.split("\n\n") if re.search(r"\d ?(s|ms|min|GB|MB|%)\b|\bmedian\b", part)]
    assert measured
    for part in measured:
        assert re.search(r"\]\((benchmarks/|docs/|tests/)", part), part


def test_the_readme_shows_a_sample_unchanged() -> None:
    [shown] = re.findall(r"```yaml\n# (\S+)\n(.*?)```", README, re.DOTALL)
    path, text = shown
    sample = (REPOSITORY / path).read_text()
    assert text == sample[sample.index("apiVersion:") :]


def test_the_readme_shows_the_columns_that_kubectl_prints() -> None:
    definition = yaml.safe_load((REPOSITORY / "crds/slipway.dev_llmdeployments.yaml").read_text())
    columns = definition["spec"]["versions"][0]["additionalPrinterColumns"]
    header = ["NAME", *(column["name"].upper() for column in columns if not column.get("priority"))]
    headers = re.findall(r"^NAME .*$", README, re.MULTILINE)
    assert headers
    assert all(shown.split() == header for shown in headers)


# --- pages about the code ---------------------------------------------------------------------------------------------

HOMES = ("", "operator/slipway/", "runtime-image/slipway_runtime/")
"""Folders from which the pages name files."""
ABOUT_CODE = [
    REPOSITORY / "docs/architecture.md",
    *(page for folder in ("concepts", "contribute") for page in sorted((REPOSITORY / "docs" / folder).glob("*.md"))),
]
each_page_about_code = pytest.mark.parametrize(
    "page", ABOUT_CODE, ids=lambda page: str(page.relative_to(REPOSITORY / "docs"))
)


def places(path: str) -> list[Path]:
    return [REPOSITORY / home / path for home in HOMES if (REPOSITORY / home / path).exists()]


def test_the_pages_about_the_code_name_files() -> None:
    assert len(re.findall(r"`[\w./-]+\.py`", "".join(page.read_text() for page in ABOUT_CODE))) > 100


@each_page_about_code
def test_every_path_in_a_page_about_the_code_exists(page: Path) -> None:
    """Those of vLLM are compared with vLLM itself, in tests/vllm_cpu/."""
    named = set(re.findall(r"`(?!slipway\.dev/|vllm/)([\w.-]+(?:/[\w.-]*)+)`", page.read_text()))
    assert not [path for path in sorted(named) if not places(path)]


@each_page_about_code
def test_every_definition_in_a_page_about_the_code_is_in_the_file_named_before_it(page: Path) -> None:
    named = re.findall(r"`(?!vllm/)([\w./-]+\.(?:py|json|yaml))`,?\s`(?!\w+\.py`)([\w.]+?)(?:\(\))?`", page.read_text())
    for path, definition in named:
        text = "".join(place.read_text() for place in places(path))
        missing = [name for name in definition.split(".") if not re.search(rf"\b{name}\b", text)]
        assert not missing, f"{path} has no {definition}"


def test_every_module_in_the_architecture_exists() -> None:
    named = set(re.findall(r"`(slipway(?:_\w+)?(?:\.\w+)+)`", ARCHITECTURE))
    roots = ("operator", "runtime-image", "devcluster", "release")
    files = [Path(root, *module.split(".")) for module in named for root in roots]
    found = {file for file in files if (REPOSITORY / file).is_dir() or (REPOSITORY / file).with_suffix(".py").exists()}
    assert {".".join(file.parts[1:]) for file in found} == named
