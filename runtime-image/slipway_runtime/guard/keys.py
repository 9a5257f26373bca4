"""API keys from the folder of a mounted Secret, read again when it changes.

Each file is named after the keys' owner and holds one key per line. These rules hold for every program that reads the
same Secret:

- A file is bytes. A UTF-8 byte order mark at its start is no part of it. Lines end with LF, CR LF or CR.
- A key is a line without the ASCII white space around it; a space within it is a character like others.
- A key has 8 to 512 bytes. Empty lines are ignored; shorter or longer ones are ignored and logged.
- The first 1,000 keys count, in the order of the files' names. Further ones are ignored and logged.
- The client's key is bytes, too: in the header Authorization, what follows the scheme Bearer, in any case, and a space;
  with another scheme or none, the header X-Api-Key, else Api-Key. White space around it is no part of it. Of a header
  that occurs twice, the first counts.
- Two keys are the same if their bytes are, or if one is in UTF-8 what the other is in Latin-1: clients send characters
  beyond ASCII in either encoding.

A mounted Secret changes by a symbolic link, `..data`, that is replaced: where it exists, it alone is checked, at most
once a second. In other folders every file is checked. Checking and reading happen in steps, between which requests have
their turn; meanwhile the known keys stay valid.

Keys are stored and compared as digests under a random key of this process, so the time of a comparison says nothing
about a stored key.
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

SHORTEST, LONGEST = 8, 512  # bytes: a shorter one can be guessed, and is probably a mistake
MOST_KEYS = 1000
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
CHECK_EVERY = 1.0
AT_ONCE = 32  # files or keys; after each, requests get their turn
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
        self._seen: object = None
        self._next_check = 0.0
        self._steps: Iterator[None] | None = None
        """The rest of the check that is running."""
        for _ in self._check_files():
            pass

    def owner(self, shown: bytes) -> str | None:
        """Returns the owner of the key; None if it is not valid."""
        return self.check(shown, client="")[0]

    def check(self, shown: bytes, *, client: str) -> tuple[str | None, float]:
        """Returns the key's owner, and the seconds for which this client's keys aren't checked after wrong ones."""
        now = self._clock()
        if self._steps is None and now >= self._next_check:
            self._steps = self._check_files()
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
        """Runs one step, and schedules the next after other work; runs all steps where there is no event loop."""
        for _ in self._steps or ():
            with suppress(RuntimeError):  # no event loop is running
                asyncio.get_running_loop().call_soon(self._go_on)
                return
        self._steps = None

    def _check_files(self) -> Steps:
        self._next_check = self._clock() + CHECK_EVERY
        try:
            if data := _mounted(self._folder):
                folder, state = data
                if state != self._seen:
                    yield from self._take((yield from _files(folder)), state)
            else:
                files = yield from _files(self._folder)
                if files != self._seen:
                    yield from self._take(files, files)
        except OSError as error:
            logger.warning("API keys can't be read; the known ones stay valid: %s", error)

    def _take(self, files: "list[File]", state: object) -> Steps:
        owners: dict[bytes, str] = {}
        for number, (owner, key) in enumerate(_keys_of(files), 1):
            owners |= dict.fromkeys(map(self._digest, forms_of(key)), owner)
            if number % AT_ONCE == 0:
                yield
        self._owners, self._seen = owners, state
        self.owners = len(set(owners.values()))
        logger.info("API keys of %d owners are valid.", self.owners)


def _keys_of(files: "list[File]") -> Iterator[tuple[str, bytes]]:
    taken = 0
    for path, *_ in files:
        owner = Path(path).name
        for key in keys_in(Path(path).read_bytes()):
            if not SHORTEST <= len(key) <= LONGEST:
                logger.warning("A key of %s is ignored: keys must have %d to %d bytes.", owner, SHORTEST, LONGEST)
            elif taken == MOST_KEYS:
                logger.warning("Only the first %d keys are valid; the Secret has more, which are ignored.", MOST_KEYS)
                return
            else:
                taken += 1
                yield owner, key


def keys_in(text: bytes) -> list[bytes]:
    lines = text.removeprefix(BYTE_ORDER_MARK).splitlines()
    return [key for line in lines if (key := line.strip())]


def forms_of(key: bytes) -> set[bytes]:
    """Returns all byte strings in which a client may send the key."""
    try:
        text = key.decode()
    except UnicodeDecodeError:
        return {key, key.decode("latin-1").encode()}
    try:
        return {key, text.encode("latin-1")}
    except UnicodeEncodeError:
        return {key}


File = tuple[str, int, int]
"""Its path, modification time and inode."""


def _mounted(folder: Path) -> tuple[Path, object] | None:
    """Returns the folder of a mounted Secret's current files, and a value that differs whenever they do; None for other
    folders.

    Names next to the link are created after it has changed, so reading those could miss a new one.
    """
    link = folder / DATA
    try:
        target = link.readlink()
        return folder / target, (str(target), link.lstat().st_ino)
    except OSError:
        return None


def _files(folder: Path) -> Generator[None, None, list[File]]:
    """Lists the files without hidden ones, which belong to the mount's mechanism."""
    found: list[File] = []
    with os.scandir(folder) as entries:
        for number, entry in enumerate(entries, 1):
            with suppress(FileNotFoundError):  # a dangling link
                status = entry.stat()
                if stat.S_ISREG(status.st_mode) and not entry.name.startswith("."):
                    found.append((entry.path, status.st_mtime_ns, status.st_ino))
            if number % AT_ONCE == 0:
                yield
    return sorted(found)
