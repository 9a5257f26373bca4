"""The Mermaid diagrams of the pages, as pictures: GitHub draws them itself, the site would need a script of 3 MB.

Each picture is named by the digest of its source, so that a diagram that was changed and not drawn again is an error of
the build. To draw all of them: `python website/diagrams.py --browser=CHROMIUM --mermaid=mermaid.min.js`, with the
script out of the npm package `mermaid`.
"""

from __future__ import annotations

import argparse
import hashlib
import html
import json
import posixpath
import re
import subprocess
import sys
import tempfile
from collections.abc import Collection
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDER = "website/assets/diagrams"
_DIAGRAM = re.compile(r"^```mermaid\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PAGE = """<html><body><div id="drawn"></div><script>{script}</script><script>
const flowchart = {{htmlLabels: false, subGraphTitleMargin: {{top: 4, bottom: 12}}}};
mermaid.initialize({{startOnLoad: false, theme: "neutral", htmlLabels: false, flowchart}});
mermaid.render("diagram", {source}).then(({{svg}}) => {{ document.getElementById("drawn").textContent = svg; }});
</script></body></html>"""
_DRAWN = re.compile(r'<div id="drawn">(.+?)</div>', re.DOTALL)


class NotDrawnError(Exception):
    """Which diagram has no picture, with the remedy."""


def diagrams(text: str) -> list[str]:
    """The sources of a page's diagrams."""
    return _DIAGRAM.findall(text)


def picture(source: str) -> str:
    """The path of a diagram's picture in the repository."""
    return f"{FOLDER}/{hashlib.sha256(source.encode()).hexdigest()[:16]}.svg"


def with_pictures(page: str, text: str, files: Collection[str]) -> str:
    """The text of a page with a picture in place of each diagram."""

    def image(found: re.Match[str]) -> str:
        path = picture(found[1])
        if path not in files:
            raise NotDrawnError(
                f"{page}: the diagram that begins with {found[1].strip().splitlines()[0]!r} was changed and has no "
                f"picture {path}. Draw it as website/diagrams.py says, and add the file to git."
            )
        return f"![Diagram]({posixpath.relpath(path, posixpath.dirname(page) or '.')})"

    return _DIAGRAM.sub(image, text)


def draw(source: str, *, browser: str, script: str) -> str:
    """A diagram as SVG, drawn by a headless Chromium."""
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, "page.html")
        page.write_text(_PAGE.format(script=script, source=json.dumps(source)))
        command = [browser, "--headless", "--no-sandbox", "--virtual-time-budget=20000", "--dump-dom", page.as_uri()]
        dom = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout
    found = _DRAWN.search(dom)
    if found is None:
        raise NotDrawnError(f"Mermaid has drawn nothing of: {source}")
    return html.unescape(found[1]) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--browser", required=True, help="the program of a Chromium or Chrome")
    parser.add_argument("--mermaid", required=True, type=Path, help="mermaid.min.js, out of the npm package")
    arguments = parser.parse_args()
    pages = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    sources = [each for page in pages.split() for each in diagrams((ROOT / page).read_text())]
    (ROOT / FOLDER).mkdir(parents=True, exist_ok=True)
    for old in (ROOT / FOLDER).glob("*.svg"):
        old.unlink()
    for source in sources:
        path = picture(source)
        (ROOT / path).write_text(draw(source, browser=arguments.browser, script=arguments.mermaid.read_text()))
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
