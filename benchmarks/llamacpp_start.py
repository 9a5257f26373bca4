"""How long `slipway-runtime serve llamacpp` takes from its process's start to ready with the demo model, by phase, and
how long it takes to end once it is told to, idle and while it loads.

    .venv/bin/python benchmarks/llamacpp_start.py [--rounds N]
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from slipway_devcluster import model
from slipway_devcluster.paths import default_cache
from slipway_devcluster.progress import Steps

PORT, MANAGEMENT_PORT = 18493, 18494
DELAY = 0  # of SIGTERM for endpoints to follow: nobody leads here


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="(default: %(default)s)")
    rounds = parser.parse_args().rounds
    cache = default_cache()
    file = model.ensure_gguf(cache, Steps(cache)) / model.GGUF_FILE
    starts = [started_and_stopped(file) for _ in range(rounds)]
    for phase in starts[0][0]:
        print(f"{phase:10} {spread([phases[phase] for phases, _ in starts])}")
    print(f"stop, idle      {spread([stop for _, stop in starts])}")
    print(f"stop, loading   {spread([stopped_while_loading(file) for _ in range(rounds)])}")


def spread(values: list[float]) -> str:
    return f"median {statistics.median(values):6.2f} s, {min(values):.2f} to {max(values):.2f}, n = {len(values)}"


def started_and_stopped(file: Path) -> tuple[dict[str, float], float]:
    """When each phase was reached, in seconds since the process began, and how long the end took."""
    process = serving(file)
    until(process, lambda line: "Ready after" in line)
    with urlopen(f"http://127.0.0.1:{MANAGEMENT_PORT}/info") as answer:
        info: dict[str, Any] = json.load(answer)
    return {moment["name"]: moment["seconds"] for moment in info["phases"]}, stopped(process)


def stopped_while_loading(file: Path) -> float:
    process = serving(file)
    until(process, lambda line: "loading model" in line)
    return stopped(process)


def stopped(process: subprocess.Popen[str]) -> float:
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.communicate()
    if process.returncode:
        raise SystemExit(f"It ended with {process.returncode}.")
    return time.monotonic() - began


def serving(file: Path) -> subprocess.Popen[str]:
    options = [f"--port={PORT}", f"--management-port={MANAGEMENT_PORT}", f"--endpoints-delay={DELAY}"]
    where = ["--host=127.0.0.1", f"--termination-log={tempfile.mkdtemp()}/log"]
    command = [sys.executable, "-m", "slipway_runtime.cli", "serve", "llamacpp", f"--model={file}", *options, *where]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def until(process: subprocess.Popen[str], wanted: Callable[[str], bool]) -> None:
    assert process.stderr
    if not any(wanted(line) for line in process.stderr):
        raise SystemExit("It ended before it was ready.")


if __name__ == "__main__":
    main()
