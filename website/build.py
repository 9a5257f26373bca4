"""Builds the site, or serves it while pages are being written: `make docs`, `make docs-serve`."""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml
from diagrams import NotDrawnError
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import MkDocsException
from pymdownx.slugs import slugify
from staging import StagingError, expanded, stage

HERE = Path(__file__).parent
ROOT = HERE.parent
FOREIGN = ("https://unpkg.com/mermaid@11/dist/mermaid.min.js", "https://unpkg.com/resize-observer-polyfill")
"""From where the theme's script would fetch what no page here uses."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--into", type=Path, default=ROOT / "dist/site", help="folder of the site (now %(default)s)")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    try:
        made(arguments.into.resolve())
    except (MkDocsException, StagingError, NotDrawnError) as error:
        print(f"The site is not built: {error}", file=sys.stderr)
        return 1
    print(f"The site is in {arguments.into}: open index.html, or serve the folder by any web server.")
    return 0


def made(into: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        staged = Path(folder)
        pages = stage(ROOT, staged)
        build(configuration(staged, pages, into))
    for script in into.glob("assets/javascripts/bundle.*.js"):
        text = script.read_text()
        for url in FOREIGN:
            text = text.replace(url, "")
        script.write_text(text)


def configuration(staged: Path, pages: dict[str, str], into: Path) -> MkDocsConfig:
    told: dict[str, Any] = yaml.safe_load((HERE / "mkdocs.yml").read_text())
    told["nav"] = expanded(told["nav"], pages)
    told["markdown_extensions"] += [
        {"toc": {"permalink": True, "slugify": slugify(case="lower")}},  # anchors as on GitHub
        "tab_length",
    ]
    sys.path.insert(0, str(HERE))
    return load_config(str(HERE / "mkdocs.yml"), docs_dir=str(staged), site_dir=str(into), **told)


if __name__ == "__main__":
    sys.exit(main())
