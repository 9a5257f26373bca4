"""How long `slipway-runtime serve llamacpp` takes from its process's start to ready with the demo model, by phase, and
how long it takes to end after the signal to stop, idle and while it loads. Then, alternately with llama.cpp's own
server, how long each takes to the first token; as root with an empty page cache, too.

    .venv/bin/python benchmarks/llamacpp_start.py [--rounds N]
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
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

import llamacpp_alone
from machine import empty_page_cache, piped, tidy_up_when_told_to_end
from slipway_devcluster import model
from slipway_devcluster.paths import default_cache
from slipway_devcluster.progress import Steps

PORT, MANAGEMENT_PORT = 18493, 18494
CONTEXT = 2048
DELAY = 0  # between SIGTERM and draining, for endpoints to be removed: there are none here


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="(default: %(default)s)")
    rounds = parser.parse_args().rounds
    tidy_up_when_told_to_end()
    cache = default_cache()
    file = model.ensure_gguf(cache, Steps(cache)) / model.GGUF_FILE
    starts = [started_and_stopped(file) for _ in range(rounds)]
    for phase in starts[0][0]:
        print(f"{phase:10} {spread([phases[phase] for phases, _ in starts])}")
    print(f"stop, idle      {spread([stop for _, stop in starts])}")
    print(f"stop, loading   {spread([stopped_while_loading(file) for _ in range(rounds)])}")
    for cold in (False, True) if os.geteuid() == 0 else (False,):
        for way, times in first_tokens(file, rounds, cold=cold).items():
            print(f"first token, {'nothing' if cold else 'all'} in the page cache, {way:8} {spread(times)}")


def first_tokens(file: Path, rounds: int, *, cold: bool) -> dict[str, list[float]]:
    ways = {"alone": llamacpp_alone.command(file, port=PORT, context=CONTEXT), "slipway": command(file)}
    times: dict[str, list[float]] = {}
    for way in [*ways] * rounds:
        if cold:
            empty_page_cache()
        times.setdefault(way, []).append(first_token(ways[way]))
    return times


def first_token(way: list[str]) -> float:
    began = time.monotonic()
    process = subprocess.Popen(way, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not answers():
            if process.poll() is not None:
                raise SystemExit("It ended before it answered.")
            time.sleep(0.005)
        return time.monotonic() - began
    finally:
        process.kill()
        process.wait()


def answers() -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", PORT)
    try:
        asked = json.dumps({"model": llamacpp_alone.NAME, "prompt": "Once", "max_tokens": 1})
        connection.request("POST", "/v1/completions", asked, {"Content-Type": "application/json"})
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


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
    return subprocess.Popen(command(file), stderr=subprocess.PIPE, text=True)


def command(file: Path) -> list[str]:
    serve = [sys.executable, "-m", "slipway_runtime", "serve", "llamacpp", f"--model={file}"]
    name = [f"--served-name={llamacpp_alone.NAME}", f"--context-length={CONTEXT}", "--parallel=4"]
    ports = ["--host=127.0.0.1", f"--port={PORT}", f"--management-port={MANAGEMENT_PORT}"]
    return [*serve, *name, *ports, f"--endpoints-delay={DELAY}", f"--termination-log={tempfile.mkdtemp()}/log"]


def until(process: subprocess.Popen[str], wanted: Callable[[str], bool]) -> None:
    if not any(wanted(line) for line in piped(process.stderr)):
        raise SystemExit("The server ended before it was ready.")


if __name__ == "__main__":
    main()
