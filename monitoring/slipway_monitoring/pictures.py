"""Pictures for the documentation, drawn as SVG from what a real Prometheus answered to the queries of panels.

`python -m slipway_monitoring.pictures` draws docs/images/monitoring/*.svg again from the answers next to them, and
writes the table of the story into docs/monitoring.md.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from slipway_monitoring.dashboards.panels import in_words

DOCS = Path(__file__).parents[2] / "docs"
PICTURES = DOCS / "images/monitoring"
PAGE = DOCS / "monitoring.md"
STORY = "story.json"
"""Numbers of the story in docs/monitoring.md, each with its query."""

MARK, END = "<!-- written by `make pictures` -->\n", "<!-- end -->\n"
WIDTH, HEIGHT, LEFT, RIGHT, TOP, LINE = 860, 190, 64, 16, 56, 18
INK, GRID, FAINT = "#24292f", "#d8dee4", "#57606a"
COLOURS = ("#0969da", "#cf222e", "#1a7f37", "#9a6700", "#8250df", "#bc4c00", "#0a7d91", "#6e7781")
FEWEST_TICKS = 3

Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    name: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Answers:
    """What one panel's queries returned, and where and when that was."""

    title: str
    unit: str
    source: str
    queries: tuple[str, ...]
    lines: tuple[Line, ...]
    step: float

    @classmethod
    def read(cls, stored: dict[str, Any]) -> Answers:
        lines = (Line(name, tuple((t, v) for t, v in points)) for name, points in stored["lines"].items())
        return cls(
            stored["title"], stored["unit"], stored["source"], tuple(stored["queries"]), tuple(lines), stored["step"]
        )


def svg(answers: Answers) -> str:
    """One chart over time. Times are minutes after the first point."""
    legend_rows = -(-len(answers.lines) // 3)
    height = TOP + HEIGHT + 44 + LINE * (legend_rows + 1)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
            f'font-size="12" fill="{INK}">',
            f"<desc>{escape(' ; '.join(answers.queries))}</desc>",
            f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
            f'<text x="12" y="20" font-size="14" font-weight="bold">{escape(answers.title)}</text>',
            f'<text x="12" y="38" fill="{FAINT}">{escape(in_words(answers.unit))}</text>',
            *_chart(answers),
            *_legend(answers.lines),
            f'<text x="12" y="{height - 8}" fill="{FAINT}">{escape(_drawn_from(answers))}</text>',
            "</svg>\n",
        ]
    )


def _drawn_from(answers: Answers) -> str:
    return f"Drawn from Prometheus' answers of {answers.source}; not a screenshot of Grafana."


def _chart(answers: Answers) -> Iterator[str]:
    start, end = _span(answers.lines)
    ticks = _ticks(max((v for line in answers.lines for _, v in line.points), default=1.0))
    across, up = (WIDTH - LEFT - RIGHT) / (end - start), HEIGHT / ticks[-1]
    for tick in ticks:
        y = TOP + HEIGHT - tick * up
        yield f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="{GRID}"/>'
        yield f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{_number(tick)}</text>'
    for minutes in _ticks((end - start) / 60):
        if (x := LEFT + minutes * 60 * across) <= WIDTH - RIGHT:
            yield f'<text x="{x:.1f}" y="{TOP + HEIGHT + 18}" text-anchor="middle">{_number(minutes)} min</text>'
    for number, line in enumerate(answers.lines):
        path = _path(line.points, answers.step, lambda t, v: (LEFT + (t - start) * across, TOP + HEIGHT - v * up))
        yield f'<path d="{path}" fill="none" stroke="{COLOURS[number % len(COLOURS)]}" stroke-width="1.6"/>'


def _path(points: Sequence[Point], step: float, place: Callable[[float, float], Point]) -> str:
    """A line that has a gap where Prometheus had no value."""
    parts, before = [], None
    for t, v in points:
        x, y = place(t, v)
        parts.append(f"{'L' if before is not None and t - before <= step * 1.5 else 'M'}{x:.1f} {y:.1f}")
        before = t
    return "".join(parts)


def _legend(lines: Sequence[Line]) -> Iterator[str]:
    for number, line in enumerate(lines):
        x, y = LEFT + (number % 3) * 265, TOP + HEIGHT + 40 + LINE * (number // 3)
        yield f'<rect x="{x}" y="{y - 8}" width="12" height="4" fill="{COLOURS[number % len(COLOURS)]}"/>'
        yield f'<text x="{x + 18}" y="{y}">{escape(line.name)}</text>'


def _span(lines: Sequence[Line]) -> tuple[float, float]:
    times = [t for line in lines for t, _ in line.points] or [0.0, 1.0]
    return min(times), max(*times, min(times) + 1)


def _ticks(largest: float) -> list[float]:
    """From 0 to at least the largest value, at round numbers."""
    if largest <= 0:
        return [0.0, 1.0]
    power = (
        10.0 ** (len(str(int(largest))) - 1)
        if largest >= 1
        else 10.0 ** -next(n for n in range(1, 20) if largest * 10**n >= 1)
    )
    step = next(size for size in (power / 5, power / 2, power, power * 2) if largest / size <= FEWEST_TICKS * 2)
    return [step * number for number in range(int(largest / step + 0.999) + 1)]


def _number(value: float) -> str:
    return f"{value:,.4g}".replace(",", " ")


def drawn(folder: Path) -> dict[Path, str]:
    """Returns the content of the picture of each file of answers."""
    files = [file for file in sorted(folder.glob("*.json")) if file.name != STORY]
    return {file.with_suffix(".svg"): svg(Answers.read(json.loads(file.read_text()))) for file in files}


def told(page: str, story: dict[str, Any]) -> str:
    """Returns the page with the tables of the story between its marks."""
    before, _, rest = page.partition(MARK)
    _, _, after = rest.partition(END)
    parts = [f"Run on {story['source']}.", "", *_facts(story["facts"])]
    if alerts := story.get("alerts"):
        parts += ["", *_alerts(alerts)]
    return "\n".join([f"{before}{MARK}", *parts, "", f"{END}{after}"])


def _facts(facts: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield "| minute | what | value | query |"
    yield "|---|---|---|---|"
    for each in facts:
        yield f"| {each['minute']:g} | {each['what']} | {_number(each['value'])} | `{each['query']}` |"


def _alerts(alerts: dict[str, Any]) -> Iterator[str]:
    yield f"The alerts that fired, by `{alerts['query']}`:"
    yield ""
    yield "| alert | severity | from minute | to minute |"
    yield "|---|---|---|---|"
    for each in alerts["fired"]:
        end = "it still fires" if each["to"] is None else f"{each['to']:g}"
        yield f"| {each['alert']} | {each['severity']} | {each['from']:g} | {end} |"


def main() -> None:
    for file, picture in drawn(PICTURES).items():
        file.write_text(picture)
    PAGE.write_text(told(PAGE.read_text(), json.loads((PICTURES / STORY).read_text())))


if __name__ == "__main__":
    main()
