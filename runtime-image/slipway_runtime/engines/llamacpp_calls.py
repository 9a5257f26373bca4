"""Streams out of llama.cpp, called in this process: between its threads and the event loop there is no socket.

A call blocks a thread for as long as its stream goes on. llama.cpp looks whether its caller is still there with each
piece, so a stream that nobody wants any more ends with its next token; while it reads the prompt it can't be ended.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

Handle = Callable[[bytes, Callable[[bytes], bool]], None]
"""xllamacpp's handle_...: the request's body, and what is called with each piece until it returns True."""


class Calls:
    def __init__(self, parallel: int) -> None:
        self._threads = ThreadPoolExecutor(parallel, thread_name_prefix="call")
        self.slots = asyncio.Semaphore(parallel)
        """Who waits for one can leave at once; who waits inside of llama.cpp could not."""

    async def start(self, handle: Handle, body: bytes) -> Call:
        await self.slots.acquire()
        call = Call(asyncio.get_running_loop())
        thread = asyncio.get_running_loop().run_in_executor(self._threads, call.run, handle, body)
        thread.add_done_callback(lambda _: self.slots.release())
        return call


class Call:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._unwanted = False
        self.failed = False

    def run(self, handle: Handle, body: bytes) -> None:
        """The thread's part."""
        try:
            handle(body, self._take)
        except Exception:
            self.failed = True
        finally:
            self._loop.call_soon_threadsafe(self._pieces.put_nowait, None)

    def _take(self, piece: bytes) -> bool:
        if not self._unwanted:
            self._loop.call_soon_threadsafe(self._pieces.put_nowait, piece)
        return self._unwanted

    async def pieces(self) -> list[bytes]:
        """All that are there, at least one; none at the end."""
        found = [await self._pieces.get()]
        while found[-1] is not None and not self._pieces.empty():
            found.append(self._pieces.get_nowait())
        if found[-1] is None and len(found) > 1:
            self._pieces.put_nowait(None)
        return [piece for piece in found if piece is not None]

    def end(self) -> None:
        """Nobody wants any more of it."""
        self._unwanted = True


def events(pieces: list[bytes]) -> bytes:
    """As server-sent events. What isn't JSON is what is left of a comment that llama.cpp sends to keep a line open."""
    return b"".join(b"data: %s\n\n" % piece.strip() for piece in pieces if piece.lstrip().startswith(b"{"))


def error_status(piece: bytes) -> int | None:
    """The status of a stream's first piece, if that is an error; nothing of the answer has been sent then."""
    if not piece.lstrip().startswith(b'{"error"'):
        return None
    code = json.loads(piece)["error"].get("code")
    return code if isinstance(code, int) and 400 <= code <= 599 else 500


def wants_stream(body: bytes) -> bool:
    if b'"stream"' not in body:
        return False
    try:
        request = json.loads(body)
    except ValueError:  # llama.cpp will say what is wrong with it
        return False
    return isinstance(request, dict) and request.get("stream") is True
