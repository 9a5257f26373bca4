"""The site as `make docs` builds it: each link leads somewhere, and a browser fetches nothing from elsewhere."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from diagrams import diagrams, picture
from support.repository import ROOT

FETCHING = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "link": "href",
    "use": "href",
}
"""The elements that make a browser fetch something, and by which attribute."""
IN_STYLES = re.compile(r"(?:url\(|@import )\s*[\"']?((?:https?:)?//[^\"')]+)")
IN_SCRIPTS = re.compile(r"[\"'`](https?://[^\"'`]+)")
NAMESPACES = ("http://www.w3.org/",)
NEVER_FETCHED = ("https://api.github.com/", "https://${e}/api/v4/")  # the theme: where `repo_url` is set, here not


class _Fetched(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag == "link" and named.get("rel") in ("canonical", "prev", "next"):
            return
        if url := named.get(FETCHING.get(tag, "")):
            self.urls.append(url)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A link that leads nowhere, or a page in no menu, is an error of the build."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, str(ROOT / "website/build.py"), f"--into={folder}"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    return folder


class _Menu(HTMLParser):
    """The names of pages in the sidebar, by where each leads."""

    def __init__(self) -> None:
        super().__init__()
        self.pages: dict[str, str] = {}
        self._target = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag == "a":
            is_page = "md-nav__link" in (named.get("class") or "") and "#" not in (named.get("href") or "#")
            self._target = (named.get("href") or "") if is_page else ""

    def handle_endtag(self, tag: str) -> None:
        self._target = "" if tag == "a" else self._target

    def handle_data(self, data: str) -> None:
        if self._target:
            self.pages[self._target] = f"{self.pages.get(self._target, '')} {data.strip()}".strip()


def foreign(urls: Iterator[str] | list[str]) -> list[str]:
    return [url for url in urls if url.startswith(("http:", "https:", "//")) and not url.startswith(NAMESPACES)]


def test_no_page_makes_a_browser_fetch_anything_from_elsewhere(site: Path) -> None:
    found: dict[str, list[str]] = {}
    for page in site.rglob("*.html"):
        parser = _Fetched()
        text = page.read_text()
        parser.feed(text)
        styles = "".join(re.findall(r"<style.*?</style>", text, re.DOTALL))
        if urls := foreign([*parser.urls, *IN_STYLES.findall(styles)]):
            found[page.name] = urls
    assert not found


def test_neither_do_styles_and_scripts(site: Path) -> None:
    styles = [url for file in site.rglob("*.css") for url in IN_STYLES.findall(file.read_text())]
    files = [file for file in site.rglob("*.js") if file.name != "search_index.js"]
    scripts = [url for file in files for url in IN_SCRIPTS.findall(file.read_text())]
    assert styles == []
    assert [url for url in foreign(scripts) if not url.startswith(NEVER_FETCHED)] == []
    assert not [page for page in site.rglob("*.html") if 'data-md-component="source"' in page.read_text()]


def test_what_a_page_fetches_is_a_file_of_the_site(site: Path) -> None:
    """So that it can be read from a folder, without a web server."""
    for page in [site / "index.html", *site.glob("runbooks/*.html"), *site.glob("docs/*.html")]:
        parser = _Fetched()
        parser.feed(page.read_text())
        paths = [re.split("[#?]", url)[0] for url in parser.urls if not url.startswith(("data:", "http"))]
        assert not [path for path in paths if path and not (page.parent / path).exists()], page.name


def test_every_page_is_found_by_the_search_and_source_files_are_not(site: Path) -> None:
    index = json.loads((site / "search/search_index.json").read_text())
    places = {each["location"].partition("#")[0] for each in index["docs"]}
    pages = [*ROOT.glob("docs/**/*.md"), *ROOT.glob("runbooks/*.md"), *ROOT.glob("adrs/*.md")]
    wanted = {str(page.relative_to(ROOT)).replace(".md", ".html") for page in pages}
    assert {path.replace("README.html", "index.html") for path in wanted} <= places
    assert not [place for place in places if place.startswith("source/")]


def test_a_file_that_a_page_links_to_is_shown_on_the_site(site: Path) -> None:
    assert "LLMDeployment" in (site / "source/manifests/samples/llama-8b.yaml.html").read_text()


def test_diagrams_are_pictures(site: Path) -> None:
    """GitHub draws Mermaid's source, the site doesn't."""
    assert '<img alt="Diagram"' in (site / "docs/architecture.html").read_text()
    assert not [page for page in site.rglob("docs/**/*.html") if 'class="mermaid"' in page.read_text()]
    wanted = {picture(each) for page in ROOT.glob("docs/**/*.md") for each in diagrams(page.read_text())}
    assert {str(file.relative_to(ROOT)) for file in ROOT.glob("website/assets/diagrams/*.svg")} == wanted


def test_no_two_pages_have_the_same_name_in_the_menu(site: Path) -> None:
    menu = _Menu()
    menu.feed((site / "docs/sleeping.html").read_text())
    assert len(menu.pages) > 100
    assert [name for name, count in Counter(menu.pages.values()).items() if count > 1] == []
