"""The command-line tool on a real cluster, as a user of kubectl runs it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.cluster.kube import Kube

PROGRAMS = Path(sys.executable).parent


@dataclass(frozen=True)
class Said:
    """What a command wrote, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found


async def llm(kube: Kube, *arguments: str, within: float = 120) -> Said:
    """`kubectl llm …` in the namespace of `kube`: kubectl finds the plugin on the PATH."""
    return await shell(kube, " ".join(["kubectl", "llm", *arguments, f"--namespace={kube.namespace}"]), within=within)


async def shell(kube: Kube, command: str, *, within: float = 120) -> Said:
    """A command as the tool prints it, with kubectl and the tool on the PATH."""
    path = f"{kube.kubectl.parent}:{PROGRAMS}:{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "NO_COLOR": "1"}
    if kube.kubeconfig:
        env["KUBECONFIG"] = str(kube.kubeconfig)
    process = await asyncio.create_subprocess_exec(
        "bash",
        "-c",
        command,
        env=env,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), within)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    return Said(process.returncode or 0, out.decode(), err.decode())
