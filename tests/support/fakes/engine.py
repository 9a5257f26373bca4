"""An engine that does what its flags say: it prints, loads, leaves processes or files behind, exits, or serves."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

COMPILED = "FAKE_COMPILED"
"""The variable with the folder for compiled code."""


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    add = parser.add_argument
    add("--port", type=int, required=True)
    add("--say", action="append", default=[], help="a line to print at the start")
    add("--flood", type=int, default=0, help="lines to print at the start, as fast as possible")
    add("--load", type=float, default=0.0, help="seconds until it answers")
    add("--ignore-sigterm", action="store_true")
    add("--die", type=int, help="the exit code to end with instead of serving")
    add("--orphan", type=Path, help="start a process in a session of its own, and write its pid there")
    add("--zombies", type=int, default=0, help="children that end at once, whose parent is gone before them")
    add("--shared-memory", type=Path, help="a file to leave behind")
    add("--compile", type=int, default=0, help="files to compile, unless they are in the folder for compiled code")
    add("--no-limits", action="store_true", help="heads of any size are taken")
    arguments = parser.parse_args(argv)
    if arguments.ignore_sigterm:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for line in arguments.say:
        sys.stdout.write(f"{line}\n")
    for number in range(arguments.flood):
        sys.stdout.write(f"line {number} {'x' * 200}\n")
    sys.stdout.flush()
    if arguments.orphan:
        arguments.orphan.write_text(str(_run_away()))
    for _ in range(arguments.zombies):
        _leave_a_zombie()
    if arguments.shared_memory:
        arguments.shared_memory.write_text("left behind")
    compile_files(arguments.compile)
    time.sleep(arguments.load)
    if arguments.die is not None:
        sys.exit(arguments.die)
    from support.fakes.engine_http import serve  # noqa: PLC0415 - slow to import, and some engines don't get that far

    serve(port=arguments.port, handle_signals=not arguments.ignore_sigterm, has_limits=not arguments.no_limits)


def compile_files(number: int, folder: Path | None = None) -> None:
    """Compiles files that are missing in the folder of the environment. A file's content is made of its name, so that
    one that is complete can be recognized."""
    if not number:
        return
    folder = folder or Path(os.environ[COMPILED])
    folder.mkdir(parents=True, exist_ok=True)
    missing = [file for file in map(folder.joinpath, map(str, range(number))) if not file.exists()]
    for file in missing:
        file.write_text(f"{file.name} " * 10_000)
    sys.stdout.write(f"compiled {len(missing)} of {number} files\n")
    sys.stdout.flush()


def _run_away() -> int:
    pid = os.fork()
    if pid == 0:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)
        os._exit(0)
    return pid


def _leave_a_zombie() -> None:
    pid = os.fork()
    if pid == 0:
        if os.fork() == 0:
            time.sleep(0.05)
        os._exit(0)
    os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
