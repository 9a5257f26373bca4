"""`devcluster builds`: the programs that are built from source, and what each build took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from slipway_devcluster.builds import Build, expected_builds
from slipway_devcluster.forecast import BUILD_CPU_SECONDS, build_seconds
from slipway_devcluster.paths import Cache
from slipway_devcluster.programs import UPSTREAMS
from slipway_devcluster.progress import in_words

MB = 1_000_000
EVERY_CLUSTER, ON_DEMAND = "every cluster", "on demand"
HEADINGS = ("program", "version", "needed by", "in the cache", "elapsed", "CPU time", "size")


@dataclass(frozen=True)
class Row:
    """One upstream. While its build is not in the cache, its times are estimates and its size is None."""

    program: str
    version: str
    needed_by: str
    cached: bool
    elapsed_seconds: float | None
    cpu_seconds: float | None
    size: int | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def cells(self) -> tuple[str, ...]:
        def words(seconds: float | None) -> str:
            return "unknown" if seconds is None else f"{'' if self.cached else '~ '}{in_words(seconds)}"

        size = "" if self.size is None else f"{self.size / MB:.0f} MB"
        times = (words(self.elapsed_seconds), words(self.cpu_seconds))
        return (self.program, self.version, self.needed_by, "yes" if self.cached else "no", *times, size)


def rows(cache: Cache) -> list[Row]:
    """A row for each program, in the order of building. Nothing is built or downloaded for it."""
    return [_row(name, build, cache) for name, build in expected_builds(UPSTREAMS, cache).items()]


def _row(name: str, build: Build | None, cache: Cache) -> Row:
    upstream = UPSTREAMS[name]
    needed_by = ON_DEMAND if upstream.on_demand else EVERY_CLUSTER
    if not build or not build.is_finished:
        return Row(name, upstream.version, needed_by, False, build_seconds(name, cache), BUILD_CPU_SECONDS[name], None)
    cost = build.cost
    elapsed, cpu = (cost.elapsed_seconds, cost.cpu_seconds) if cost else (None, None)
    return Row(name, upstream.version, needed_by, True, elapsed, cpu, build.size)


def lines(table: Sequence[Row]) -> list[str]:
    """The table in aligned columns, and below it the sum of what every cluster needs."""
    cells = [HEADINGS, *(row.cells() for row in table)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(HEADINGS))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    cpu = sum(row.cpu_seconds or 0 for row in table if row.needed_by == EVERY_CLUSTER)
    return [*text, "", f"The programs of every cluster take {in_words(cpu)} of CPU time to build (~: estimated)."]
