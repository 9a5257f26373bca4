"""A model's pod as one process on this machine: process 1 with the fake engine."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp

from support.ports import free_port
from support.programs.processes import kill_all

PATIENCE = 60.0  # seconds, for a busy machine
SUPPORT = Path(__file__).parents[2]


class SupervisedPod:
    patience = PATIENCE
    python = sys.executable
    environment: Mapping[str, str] | None = None  # None: the tests' environment

    def __init__(self, folder: Path, http: aiohttp.ClientSession) -> None:
        self.termination_log = folder / "termination-log"
        self.port, self.engine_port = free_port(), free_port()
        self.http = http
        self.log_lines: list[str] = []
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, *engine_flags: str, options: list[str] | None = None) -> None:
        ports = [f"--port={self.port}", f"--engine-port={self.engine_port}"]
        await self.run("-m", "support.programs.supervised_engine", *ports, *(options or []), engine_flags=engine_flags)

    async def run(self, *words: str, engine_flags: Sequence[str] = ()) -> None:
        await self.start_command(self.python, *words, f"--termination-log={self.termination_log}", "--", *engine_flags)

    async def start_command(self, *command: str) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *command,
            cwd=SUPPORT,
            env=self.environment,
            stderr=asyncio.subprocess.PIPE,
            limit=1 << 20,
        )

    @property
    def process(self) -> asyncio.subprocess.Process:
        assert self._process
        return self._process

    async def until_logged(self, words: str) -> str:
        """Waits until a line of the log contains these words; returns it."""
        assert self.process.stderr
        async with asyncio.timeout(self.patience):
            while line := (await self.process.stderr.readline()).decode():
                self.log_lines.append(line)
                if words in line:
                    return line
        raise AssertionError(f"it ended without logging {words!r}:\n{''.join(self.log_lines)}")

    async def until_ready(self) -> None:
        await self.until_logged("Ready after")

    async def until_open(self) -> None:
        """Waits for its management port, which it opens before the engine is ready."""
        await self.until_reached(f"http://127.0.0.1:{self.port}/livez")

    async def until_reached(self, url: str) -> None:
        """Waits until anything responds there."""
        async with asyncio.timeout(self.patience):
            while True:
                with suppress(aiohttp.ClientConnectionError):
                    async with self.http.get(url):
                        return
                await asyncio.sleep(0.01)

    async def until_response_has(self, path: str, words: str) -> str:
        """Polls the management port until the response contains these words; returns the response."""
        text = ""
        with suppress(TimeoutError):
            async with asyncio.timeout(self.patience):
                while words not in (text := (await self.get(path))[1]):  # noqa: ASYNC110 - there is no event
                    await asyncio.sleep(0.05)
        assert words in text
        return text

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    async def until_ended(self) -> int:
        """Waits until it has ended; returns its exit code."""
        assert self.process.stderr
        async with asyncio.timeout(self.patience):
            self.log_lines += (await self.process.stderr.read()).decode().splitlines(keepends=True)
            return await self.process.wait()

    async def get(self, path: str) -> tuple[int, str]:
        """Sends a request to the management port."""
        async with self.http.get(f"http://127.0.0.1:{self.port}{path}") as answer:
            return answer.status, await answer.text()

    async def info(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads((await self.get("/info"))[1])
        return answer

    async def post(self, path: str) -> tuple[int, str]:
        """Sends a request to the engine."""
        async with self.http.post(f"http://127.0.0.1:{self.engine_port}{path}") as answer:
            return answer.status, await answer.text()

    @asynccontextmanager
    async def streaming(self, *, tokens: int, every: float = 0.05) -> AsyncIterator[aiohttp.ClientResponse]:
        """Starts a stream; its first token has arrived."""
        url = f"http://127.0.0.1:{self.engine_port}/stream?tokens={tokens}&every={every}"
        async with self.http.post(url) as answer:
            await answer.content.readline()
            yield answer

    def termination_message(self) -> dict[str, Any]:
        """Returns the termination message."""
        message: dict[str, Any] = json.loads(self.termination_log.read_text())
        return message

    async def kill(self) -> None:
        if self._process is None:
            return
        if self._process.returncode is None:
            kill_all(self._process.pid)
        await self._process.communicate()  # waiting alone would never end, because nothing reads the log


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
