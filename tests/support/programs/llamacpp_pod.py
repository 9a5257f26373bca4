"""A model's pod as one process on this machine: process 1 with a real llama.cpp."""

from __future__ import annotations

from pathlib import Path

from support.programs.engine_pod import EnginePod


class LlamacppPod(EnginePod):
    async def serve(self, model: Path, *options: str, flags: tuple[str, ...] = ()) -> None:
        """Starts it by a container's command line, but with a shorter drain."""
        await self.run(
            *("-m", "slipway_runtime", "serve", "llamacpp", f"--model={model}", f"--served-name={self.model}"),
            *("--host=127.0.0.1", f"--port={self.engine_port}", f"--management-port={self.port}"),
            *("--endpoints-delay=0", *options),
            engine_flags=flags,
        )
