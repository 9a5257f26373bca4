"""The last start of a model, phase by phase, as bars of text and as SVG. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from slipway.api.units import seconds

MEANINGS = {
    "held": "the first request is held",
    "push": "the wake is pushed to KEDA",
    "scale": "the number of replicas is raised",
    "schedule": "the pod gets a node",
    "pull": "the images are pulled",
    "start": "the container starts",
    "import": "the engine's code is loaded",
    "load": "the weights are loaded",
    "compile": "kernels and graphs are compiled",
    "ready": "until the pod is ready",
    "firstToken": "until the first token",
}
"""The phases of `status.lastColdStart`, in their order."""

BAR, SHORT = "█", "▏"
LEAST_BAR = 10


@dataclass(frozen=True)
class Phase:
    name: str
    start: float  # seconds since the start of the first phase
    length: float

    @property
    def meaning(self) -> str:
        return MEANINGS[self.name]


def phases_in(cold_start: Mapping[str, object]) -> list[Phase]:
    """Those that are known, one after the other."""
    found: list[Phase] = []
    at = 0.0
    for name in MEANINGS:
        value = cold_start.get(name)
        try:
            length = seconds(value) if isinstance(value, str) else None
        except ValueError:
            length = None
        if length is not None:
            found.append(Phase(name, at, length))
            at += length
    return found


def total_of(phases: Sequence[Phase]) -> float:
    return sum(each.length for each in phases)


def bars(phases: Sequence[Phase], width: int) -> list[str]:
    """One line for each phase: its name, its length, and where it is in the whole."""
    total = total_of(phases) or 1.0
    names = max(len(each.name) for each in phases)
    lengths = [_time(each.length) for each in phases]
    room = max(LEAST_BAR, width - names - max(map(len, lengths)) - 4)
    lines = []
    for each, length in zip(phases, lengths, strict=True):
        before = round(each.start / total * room)
        bar = BAR * round(each.length / total * room) or SHORT
        text = f"{each.name.ljust(names)}  {length.rjust(max(map(len, lengths)))}  {' ' * min(before, room - 1)}{bar}"
        lines.append(text[:width].rstrip())
    return lines


def _time(length: float) -> str:
    return f"{length * 1e3:.0f}ms" if length < 1 else f"{length:.1f}s"


COLOURS = ("#4c78a8", "#f58518", "#54a24b", "#e45756", "#72b7b2", "#b279a2", "#ff9da6", "#9d755d")
ROW, LEFT, WIDE = 26, 110, 640  # of the picture, in pixels


def svg(phases: Sequence[Phase], title: str) -> str:
    total = total_of(phases) or 1.0
    height = ROW * (len(phases) + 1) + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDE + 90}" height="{height}" '
        'font-family="sans-serif" font-size="13">',
        f"<title>{escape(title)}</title>",
        f'<text x="8" y="18" font-weight="bold">{escape(title)}</text>',
    ]
    for at, each in enumerate(phases):
        y = ROW * (at + 1) + 8
        x, wide = LEFT + each.start / total * WIDE, max(1.0, each.length / total * WIDE)
        parts += [
            f'<text x="8" y="{y + 14}">{escape(each.name)}</text>',
            f'<rect x="{x:.1f}" y="{y}" width="{wide:.1f}" height="18" fill="{COLOURS[at % len(COLOURS)]}"/>',
            f'<text x="{x + wide + 6:.1f}" y="{y + 14}">{_time(each.length)}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])
