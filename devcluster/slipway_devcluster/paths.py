"""Where files are: everything downloaded, built or running is under one folder, so that removing it removes all."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cache:
    """The one folder outside the checkout."""

    root: Path

    @property
    def builds(self) -> Path:
        """Finished Go builds, one folder per upstream and key."""
        return self.root / "builds"

    @property
    def go(self) -> Path:
        """Go's own module and build caches while something is being built."""
        return self.root / "go"

    @property
    def images(self) -> Path:
        """Image archives, and the seeds of nodes' containerd roots."""
        return self.root / "images"

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def logs(self) -> Path:
        """Full logs of long steps."""
        return self.root / "logs"

    @property
    def locks(self) -> Path:
        return self.root / "locks"

    @property
    def clusters(self) -> Path:
        """State of the clusters that are up, one folder each; `down` removes it."""
        return self.root / "clusters"


def default_cache() -> Cache:
    """The cache in `$SLIPWAY_CACHE`, by default `slipway` in the user's cache folder."""
    explicit = os.environ.get("SLIPWAY_CACHE")
    if explicit:
        return Cache(Path(explicit).expanduser().absolute())
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Cache(Path(base).expanduser().absolute() / "slipway")
