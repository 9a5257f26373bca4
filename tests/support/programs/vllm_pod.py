"""A model's pod as one process on this machine: process 1 with a real vLLM, on CPUs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Self

import aiohttp
from slipway_runtime.supervisor import shared_memory

from support.programs import vllm_environment
from support.programs.engine_pod import EnginePod
from support.programs.processes import tree

ALONE = "vllm.entrypoints.launchers.api_server.entry"


class VllmPod(EnginePod):
    patience = 1500.0  # seconds: it imports gigabytes, three times, maybe on a busy machine

    def __init__(self, folder: Path, http: aiohttp.ClientSession, python: Path) -> None:
        super().__init__(folder, http)
        self.python = str(python)
        self.environment = vllm_environment.environment(python)
        self._shared_before = shared_memory.names()

    async def serve(self, model: Path, *options: str, flags: tuple[str, ...] = ()) -> None:
        """Starts it by a container's command line, but with a shorter drain, and without compiling kernels."""
        allowed = [f"--allow={flag.partition('=')[0].lstrip('-')}" for flag in flags]
        await self.run(
            *("-m", "slipway_runtime", "serve", "vllm", f"--model={model}", f"--served-name={self.model}"),
            *("--host=127.0.0.1", f"--port={self.engine_port}", f"--management-port={self.port}"),
            *("--device=cpu", "--endpoints-delay=0", *allowed, *options),
            engine_flags=("--enforce-eager", *flags),
        )

    async def serve_alone(self, model: Path, *flags: str) -> None:
        """Starts vLLM itself as process 1, without any of our code."""
        await self.start_command(
            *("sh", "-c", 'exec "$@" >&2', "sh", self.python, "-m", ALONE, f"--model={model}"),
            *(f"--served-model-name={self.model}", "--host=127.0.0.1", f"--port={self.engine_port}"),
            *("--enforce-eager", *flags),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Removes everything that it left, however the test ended."""
        await self.kill()
        shared_memory.clear(self._shared_before)

    async def refuses_a_head_without_an_end(self) -> bool:
        """Whether it rejects an endless head by our web server's own error, which is sent before any other response."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.engine_port)
        writer.write(b"GET /health HTTP/1.1\r\nx: " + b"x" * (200 << 10))
        try:
            answer = await reader.readuntil(b"}}")
        finally:
            writer.transport.abort()
        return answer.startswith(b"HTTP/1.1 431") and b'"head_too_long"' in answer

    async def until_serving(self) -> None:
        """Waits for vLLM alone, which reports that it is ready a moment before it can be reached."""
        await self.until_reached(f"{self.url}/health")

    def process_named(self, words: str) -> int:
        """Returns the vLLM process whose command line contains these words."""
        [pid] = [pid for pid in tree(self.process.pid) if words in command_line(pid)]
        return pid


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:  # it has ended meanwhile
        return ""
