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

A mounted Secret changes by a link, `..data`, that turns to another folder: where it is, a look is at it alone, at most
once a second. Elsewhere a look is at each file. Both that and reading are done in steps, between which requests have
their turn, and meanwhile the keys that were known hold.

Keys are kept and compared as digests under a random key of this process: nothing about a stored key can be learned from
how long a comparison takes.
"""

import asyncio
import hashlib
import logging
import os
import secrets
import stat
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from pathlib import Path

from slipway_runtime.guard.guesses import Guesses

SHORTEST, LONGEST = 8, 512  # bytes: less can be guessed, and is rather a mistake
MOST_KEYS = 1000
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
LOOK_EVERY = 1.0
AT_ONCE = 32  # files or keys; of more, others get their turn in between
DATA = "..data"

Steps = Generator[None, None, None]

logger = logging.getLogger(__name__)


class Keys:
    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._clock = clock
        self._salt = secrets.token_bytes(32)
        self._owners: dict[bytes, str] = {}
        self._guesses = Guesses()
        self.owners = 0
        self._looks: object = None
        self._next_look = 0.0
        self._steps: Iterator[None] | None = None
        """Of the look that is under way."""
        for _ in self._look():
            pass

    def owner(self, shown: bytes) -> str | None:
        """Whose key it is; None if it is nobody's."""
        return self.check(shown, client="")[0]

    def check(self, shown: bytes, *, client: str) -> tuple[str | None, float]:
        """Whose key it is, and the seconds for which this client isn't told, since it has guessed too much."""
        now = self._clock()
        if self._steps is None and now >= self._next_look:
            self._steps = self._look()
            self._go_on()
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

    def _go_on(self) -> None:
        """One step, and the next when others have had their turn; all at once where nobody waits."""
        for _ in self._steps or ():
            with suppress(RuntimeError):  # no loop runs
                asyncio.get_running_loop().call_soon(self._go_on)
                return
        self._steps = None

    def _look(self) -> Steps:
        self._next_look = self._clock() + LOOK_EVERY
        try:
            if data := _mounted(self._folder):
                folder, looks = data
                if looks != self._looks:
                    yield from self._take((yield from _files(folder)), looks)
            else:
                files = yield from _files(self._folder)
                if files != self._looks:
                    yield from self._take(files, files)
        except OSError as error:
            logger.warning("API keys can't be read, the ones known stay valid: %s", error)

    def _take(self, files: "list[File]", looks: object) -> Steps:
        owners: dict[bytes, str] = {}
        for number, (owner, key) in enumerate(_keys_of(files), 1):
            owners |= dict.fromkeys(map(self._digest, forms_of(key)), owner)
            if number % AT_ONCE == 0:
                yield
        self._owners, self._looks = owners, looks
        self.owners = len(set(owners.values()))
        logger.info("API keys of %d owners are valid.", self.owners)


def _keys_of(files: "list[File]") -> Iterator[tuple[str, bytes]]:
    taken = 0
    for path, *_ in files:
        owner = Path(path).name
        for key in keys_in(Path(path).read_bytes()):
            if not SHORTEST <= len(key) <= LONGEST:
                logger.warning("A key of %s is not taken: keys have %d to %d bytes.", owner, SHORTEST, LONGEST)
            elif taken == MOST_KEYS:
                logger.warning("The first %d keys count, and there are more: those are not valid.", MOST_KEYS)
                return
            else:
                taken += 1
                yield owner, key


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


File = tuple[str, int, int]
"""Its path, when it was changed, and its inode."""


def _mounted(folder: Path) -> tuple[Path, object] | None:
    """Where a mounted Secret has its files now, and what is another whenever they are others; None of other folders.

    Names beside the link are made after it has turned, so a look at those could come too early for a new one.
    """
    link = folder / DATA
    try:
        target = link.readlink()
        return folder / target, (str(target), link.lstat().st_ino)
    except OSError:
        return None


def _files(folder: Path) -> Generator[None, None, list[File]]:
    """Without the hidden ones, which are how a mounted Secret changes."""
    found: list[File] = []
    with os.scandir(folder) as entries:
        for number, entry in enumerate(entries, 1):
            with suppress(FileNotFoundError):  # a link to nowhere
                status = entry.stat()
                if stat.S_ISREG(status.st_mode) and not entry.name.startswith("."):
                    found.append((entry.path, status.st_mtime_ns, status.st_ino))
            if number % AT_ONCE == 0:
                yield
    return sorted(found)
