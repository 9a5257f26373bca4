"""The fork of the server off the process that has imported vLLM's modules, so that they are imported once.

The server becomes a child of the launcher: the process between them ends immediately, and the kernel then hands the
server to the launcher. Its own variables, which the engine core must not have, come through a file in memory.
"""

from __future__ import annotations

import atexit
import json
import os
import sys
import time
import traceback
import warnings
from collections.abc import Callable, MutableMapping
from typing import NoReturn, Self

from slipway_runtime.faststart.adapters.parts import UnexpectedError
from slipway_runtime.faststart.child_messages import SERVER_PIPE, ChildEvent, MessageSender
from slipway_runtime.faststart.linux import die_with_parent, name_thread

VARIABLES = "SLIPWAY_FASTSTART_SERVER_VARIABLES"
"""The file descriptor of the variables that only the server may have, as JSON."""

Serve = Callable[[MessageSender], int]
"""What the server does; returns its exit code."""


class ServerFork:
    """What the engine core needs to fork the server once."""

    def __init__(self, pipe: int, variables: int) -> None:
        self._pipe, self._variables = pipe, variables
        self._launcher = os.getppid()

    @classmethod
    def of(cls, environment: MutableMapping[str, str]) -> Self:
        return cls(*(_private(int(environment.pop(name))) for name in (SERVER_PIPE, VARIABLES)))

    def fork(self, serve: Serve) -> None:
        """Forks the server; returns only in the engine core."""
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        if between := _fork():
            _, status = os.waitpid(between, 0)
            os.close(self._pipe)
            os.close(self._variables)
            if status:
                raise UnexpectedError("the server's process can't be created")
            return
        self._fork_again(serve)

    def _fork_again(self, serve: Serve) -> NoReturn:
        """Ends the process between the two, or the server: nothing may go on to run the engine core's code."""
        code = 1
        try:
            between = os.getpid()
            code = self._be_the_server(between, serve) if _fork() == 0 else 0
        except BaseException:  # whatever it is, it ends here
            traceback.print_exc()
        finally:
            _end(code)

    def _be_the_server(self, between: int, serve: Serve) -> int:
        name_thread("slipway-server")
        while os.getppid() == between:
            time.sleep(0.0005)
        die_with_parent()
        if os.getppid() != self._launcher:  # it has ended meanwhile
            return 1
        sender = MessageSender("server", self._pipe)
        sender.send(ChildEvent.STARTED, str(os.getpid()))
        with os.fdopen(self._variables, "rb") as file:
            file.seek(0)
            os.environ.update(json.load(file))
        try:
            return serve(sender)
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else 1
        finally:
            atexit._run_exitfuncs()


def _end(code: int) -> NoReturn:
    """Ends without the destructors of libraries: CUDA's belong to the engine core, whose memory this is a copy of."""
    try:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    finally:
        os._exit(code)


def _fork() -> int:
    """Forks. Python warns of other threads: those here copy weights, and hold no lock that a fork would keep locked."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _private(descriptor: int) -> int:
    """Keeps a file descriptor from the processes that this one starts."""
    os.set_inheritable(descriptor, False)
    return descriptor
