"""A picture of the median wake: one bar for each step, beginning where the one before it ended."""

from __future__ import annotations

from collections.abc import Sequence

WIDTH, ROW, LEFT, RIGHT, TOP = 860, 26, 290, 80, 34
INK, BAR, LAST = "#24292f", "#5b8def", "#2da44e"


def svg(title: str, steps: Sequence[tuple[str, float]]) -> str:
    """`steps`: what each is, and its seconds."""
    whole = sum(seconds for _, seconds in steps) or 1.0
    scale = (WIDTH - LEFT - RIGHT) / whole
    height = TOP + ROW * len(steps) + 10
    begun, rows = 0.0, []
    for number, (words, seconds) in enumerate(steps):
        y = TOP + ROW * number
        colour = LAST if number == len(steps) - 1 else BAR
        x, width = LEFT + begun * scale, max(seconds * scale, 1.5)
        rows += [
            f'<text x="{LEFT - 12}" y="{y + 16}" text-anchor="end">{words}</text>',
            f'<rect x="{x:.1f}" y="{y + 4}" width="{width:.1f}" height="16" rx="3" fill="{colour}"/>',
            f'<text x="{x + width + 6:.1f}" y="{y + 16}">{_told(seconds)}</text>',
        ]
        begun += seconds
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
            f'font-size="13" fill="{INK}">',
            f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
            f'<text x="12" y="20" font-weight="bold">{title}</text>',
            *rows,
            "</svg>\n",
        ]
    )


def _told(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"
