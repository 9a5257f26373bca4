"""API keys from the folder of a mounted Secret, read again when it changes.

Each file is named as the key's owner and holds the key, or several, one a line. A mounted Secret changes by a link that
turns to another folder, so what the folder looks like is asked at most once a second. Keys are kept and compared as
digests under a random key of this process: nothing about a stored key can be learned from how long a comparison takes.
"""

import hashlib
import logging
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path

SHORTEST = 8  # characters: less can be guessed, and is rather a mistake
LONGEST = 512
LOOK_EVERY = 1.0

log = logging.getLogger(__name__)


class Keys:
    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._clock = clock
        self._salt = secrets.token_bytes(32)
        self._owners: dict[bytes, str] = {}
        self._looks: object = None
        self._next_look = 0.0
        self._refresh()

    def owner(self, key: str) -> str | None:
        """Whose key it is; None if it is nobody's."""
        if self._clock() >= self._next_look:
            self._refresh()
        if not SHORTEST <= len(key) <= LONGEST:
            return None
        return self._owners.get(self._digest(key))

    def _digest(self, key: str) -> bytes:
        return hashlib.blake2b(key.encode("utf-8", "surrogateescape"), key=self._salt, digest_size=32).digest()

    def _refresh(self) -> None:
        self._next_look = self._clock() + LOOK_EVERY
        try:
            looks = [(entry.name, entry.stat().st_mtime_ns, entry.stat().st_ino) for entry in _files(self._folder)]
            if looks != self._looks:
                self._owners = dict(self._read())
                self._looks = looks
                log.info("API keys of %d owners are valid.", len(set(self._owners.values())))
        except OSError as error:
            log.warning("API keys can't be read, the ones known stay valid: %s", error)

    def _read(self) -> Iterator[tuple[bytes, str]]:
        for file in _files(self._folder):
            for key in file.read_text(errors="surrogateescape").split():
                if SHORTEST <= len(key) <= LONGEST:
                    yield self._digest(key), file.name
                else:
                    log.warning(
                        "A key of %s is not taken: keys have %d to %d characters.", file.name, SHORTEST, LONGEST
                    )


def _files(folder: Path) -> list[Path]:
    """Without the hidden ones, which are how a mounted Secret changes."""
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith(".") and entry.is_file())
