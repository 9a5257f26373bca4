"""Measures what the command-line tool takes to answer: `--help`, completion, and a plan without a cluster.

    .venv/bin/python benchmarks/cli_startup.py --rounds 10

CPU time is that of the process and its children; on a machine that does something else, the wall clock says little.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

BIN = Path(sys.executable).parent
COMMANDS = (
    ["slipway", "--help"],
    ["slipway", "plan", "--help"],
    ["kubectl_complete-llm", "pl"],
    ["slipway", "explain", "GpuOutOfMemory"],
    ["slipway", "plan", "meta-llama/Llama-3.1-70B-Instruct"],
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    measured: dict[int, list[tuple[float, float]]] = {at: [] for at in range(len(COMMANDS))}
    for _ in range(rounds):
        for at, command in enumerate(COMMANDS):
            measured[at].append(measure(command))
    print(f"{'command':<60} {'CPU s':>8} {'wall s':>8} {'worst wall':>10}   n={rounds}")
    for at, times in measured.items():
        cpu, wall = (statistics.median(each) for each in zip(*times, strict=True))
        worst = max(each for _, each in times)
        print(f"{' '.join(COMMANDS[at]):<60} {cpu:>8.2f} {wall:>8.2f} {worst:>10.2f}")


def measure(command: list[str]) -> tuple[float, float]:
    """CPU time and wall time."""
    before, start = os.times(), time.perf_counter()
    subprocess.run([BIN / command[0], *command[1:]], stdout=subprocess.DEVNULL, check=True)
    wall, after = time.perf_counter() - start, os.times()
    user, system = after.children_user - before.children_user, after.children_system - before.children_system
    return user + system, wall


if __name__ == "__main__":
    main()
