"""API keys from the folder of a mounted Secret, read again when it changes.

Each file is named as the key's owner and holds the key, or several, one a line. The rules, which hold for whoever else
checks the same Secret:

- A file is bytes. A UTF-8 byte order mark at its begin is no part of it. Lines end with LF, CR LF or CR.
- A key is what a line holds without the ASCII white space around it; within it, a space is a character like others.
- A key has 8 to 512 bytes. Empty lines are no keys; others that are shorter or longer are not taken, and it is logged.
- The first 1,000 keys count, in the order of the files' names. Further ones are not taken, and it is logged.
- What a client shows is bytes, too: of the header Authorization what follows the scheme Bearer, in any case, and a
  space; with another scheme or none the header X-Api-Key, else Api-Key. White space around it is no part of it. Of a
  header that comes twice, the first counts.
- It is the key if it has the same bytes, or if one is in UTF-8 what the other is in Latin-1: clients send a letter
  beyond ASCII in either.

A mounted Secret changes by a link that turns to another folder, so what the folder looks like is asked at most once a
second. Keys are kept and compared as digests under a random key of this process: nothing about a stored key can be
learned from how long a comparison takes.
"""

import hashlib
import logging
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from slipway_runtime.guard.guesses import Guesses

SHORTEST, LONGEST = 8, 512  # bytes: less can be guessed, and is rather a mistake
MOST_KEYS = 1000
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
LOOK_EVERY = 1.0

log = logging.getLogger(__name__)


class Keys:
    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._clock = clock
        self._salt = secrets.token_bytes(32)
        self._owners: dict[bytes, str] = {}
        self._guesses = Guesses()
        self._looks: object = None
        self._next_look = 0.0
        self._refresh()

    def owner(self, shown: bytes) -> str | None:
        """Whose key it is; None if it is nobody's."""
        return self.check(shown, client="")[0]

    def check(self, shown: bytes, *, client: str) -> tuple[str | None, float]:
        """Whose key it is, and the seconds for which this client isn't told, since it has guessed too much."""
        now = self._clock()
        if now >= self._next_look:
            self._refresh()
        if not shown:
            return None, 0.0
        digest = self._digest(shown.strip()[: LONGEST + 1])
        if wait := self._guesses.wait(client, digest, now):
            return None, wait
        owner = self._owners.get(digest)
        if owner is None:
            self._guesses.was_wrong(client, digest, now)
        else:
            self._guesses.was_valid(client, digest)
        return owner, 0.0

    def _digest(self, key: bytes) -> bytes:
        return hashlib.blake2b(key, key=self._salt, digest_size=32).digest()

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
        taken = 0
        for file in _files(self._folder):
            for key in keys_in(file.read_bytes()):
                if SHORTEST <= len(key) <= LONGEST:
                    if taken == MOST_KEYS:
                        log.warning("The first %d keys count, and there are more: those are not valid.", MOST_KEYS)
                        return
                    taken += 1
                    yield from ((self._digest(form), file.name) for form in forms_of(key))
                else:
                    log.warning("A key of %s is not taken: keys have %d to %d bytes.", file.name, SHORTEST, LONGEST)


def keys_in(text: bytes) -> list[bytes]:
    lines = text.removeprefix(BYTE_ORDER_MARK).splitlines()
    return [key for line in lines if (key := line.strip())]


def forms_of(key: bytes) -> set[bytes]:
    """All the bytes by which a client may show it."""
    try:
        text = key.decode()
    except UnicodeDecodeError:
        return {key, key.decode("latin-1").encode()}
    try:
        return {key, text.encode("latin-1")}
    except UnicodeEncodeError:
        return {key}


def _files(folder: Path) -> list[Path]:
    """Without the hidden ones, which are how a mounted Secret changes."""
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith(".") and entry.is_file())
