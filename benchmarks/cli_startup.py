"""Measures what the command-line tool takes to answer: `--help`, completion, and a plan without a cluster.

    .venv/bin/python benchmarks/cli_startup.py --rounds 20
    .venv/bin/python benchmarks/cli_startup.py --program ~/.krew/bin/kubectl-llm    # as it is installed there

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
    ["--help"],
    ["plan", "--help"],
    ["explain", "GpuOutOfMemory"],
    ["plan", "meta-llama/Llama-3.1-70B-Instruct"],
)
COMPLETION = ["kubectl_complete-llm", "pl"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--program", action="append", help="which; several are measured alternately")
    given = parser.parse_args()
    programs = given.program or [str(BIN / "slipway")]
    commands = [[program, *command] for command in COMMANDS for program in programs]
    commands += [] if given.program else [[str(BIN / COMPLETION[0]), *COMPLETION[1:]]]
    measured: list[list[tuple[float, float]]] = [[] for _ in commands]
    for _ in range(given.rounds):
        for command, times in zip(commands, measured, strict=True):
            times.append(measure(command))
    print(f"{'command':<90} {'CPU s':>8} {'wall s':>8} {'worst wall':>10}   n={given.rounds}")
    for command, times in zip(commands, measured, strict=True):
        cpu, wall = (statistics.median(each) for each in zip(*times, strict=True))
        worst = max(each for _, each in times)
        print(f"{' '.join(command):<90} {cpu:>8.2f} {wall:>8.2f} {worst:>10.2f}")


def measure(command: list[str]) -> tuple[float, float]:
    """CPU time and wall time."""
    before, start = os.times(), time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    wall, after = time.perf_counter() - start, os.times()
    user, system = after.children_user - before.children_user, after.children_system - before.children_system
    return user + system, wall


if __name__ == "__main__":
    main()
