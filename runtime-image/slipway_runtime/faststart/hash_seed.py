"""The seed of Python's hashes: random, and the same at each start with one cache.

Names of compiled code depend on the order of sets of strings, which depends on the seed. A constant would be known to
clients, who could send a server JSON whose members all have the same hash. So the seed is stored in the cache.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

from slipway_runtime.faststart.settings import IMPORT_CACHE

ENVIRONMENT = "PYTHONHASHSEED"
LARGEST = 2**32 - 1  # that Python accepts; 0 would switch the randomness off


def seed_in(environment: Mapping[str, str]) -> str:
    """Returns the cache's seed, and stores one if there is none. Without a cache, each start has its own."""
    prefix = environment.get(IMPORT_CACHE)
    stored = Path(f"{prefix}-hash-seed")
    if prefix and (seed := _read(stored)):
        return seed
    seed = str(1 + int.from_bytes(os.urandom(8)) % LARGEST)
    if prefix:
        with contextlib.suppress(OSError):
            stored.touch(mode=0o600)
            stored.write_text(seed)
    return seed


def _read(file: Path) -> str:
    """Returns an empty string if there is no valid seed."""
    with contextlib.suppress(OSError, ValueError):
        text = file.read_bytes()[:16].decode("ascii")
        if text.isdecimal() and 0 < int(text) <= LARGEST:
            return text
    return ""
