"""How the program ends, whatever ends it. Exit code 1 is always an answer: neither Ctrl-C nor a bug gives it. Signals
end it in order, so that no kubectl is left."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import PurePath

import click

from slipway_cli.problems import UNKNOWN, WELL, Problem

INTERRUPTED = 128 + 2  # as shells have it for SIGINT
PIPED = 128 + 13  # as shells have it for SIGPIPE


class Piped(Exception):  # noqa: N818 - it isn't an error of this program
    """Who reads what it writes has ended."""


def run(command: click.Command, name: str) -> int:
    """The exit code."""
    try:
        return _run(command, name)
    except (Piped, BrokenPipeError):  # also while it writes why it fails
        _write_nowhere()
        return PIPED


def _run(command: click.Command, name: str) -> int:
    try:
        with _ended_by_signals():
            found = command.main(prog_name=name, standalone_mode=False)
    except click.Abort:
        click.echo("Aborted!", err=True)
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (Piped, BrokenPipeError):
        raise
    except OSError as error:
        Problem(f"{error}.").show()
        return UNKNOWN
    except Exception as error:
        Problem(f"This is a bug of {name} ({_place_of(error)}): please report it, with the command.").show()
        return UNKNOWN
    return found if isinstance(found, int) else WELL


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """A closed terminal, or a supervisor. What is to be ignored, as under nohup, stays so."""
    found = [each for name in ("SIGTERM", "SIGHUP") if (each := getattr(signal, name, None))]  # Windows has only one
    before = {each: signal.getsignal(each) for each in found if signal.getsignal(each) is not signal.SIG_IGN}
    for each in before:
        signal.signal(each, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _place_of(error: BaseException) -> str:
    """Without its message, which may have a key or a prompt in it."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    where = f" in {PurePath(trace.tb_frame.f_code.co_filename).name}, line {trace.tb_lineno}" if trace else ""
    return f"{type(error).__name__}{where}"


def _write_nowhere() -> None:
    """What is left in buffers would be an error once more, at the very end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
            continue
        os.dup2(nowhere, stream.fileno())
