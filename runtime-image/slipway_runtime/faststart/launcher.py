"""The launcher: starts two processes in parallel, and falls back to vLLM's ordinary start if that fails."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from slipway_runtime import control
from slipway_runtime.faststart import hash_seed, page_cache, read_ahead_notes
from slipway_runtime.faststart.adapters import adapter_for
from slipway_runtime.faststart.addresses import FOLDER
from slipway_runtime.faststart.child_messages import ChildMessage, say
from slipway_runtime.faststart.page_cache import Piece
from slipway_runtime.faststart.pair import CORE, SERVER, ChildEnded, Pair, Progress, SignalReceived
from slipway_runtime.faststart.settings import ENVIRONMENT, FastStartSettings
from slipway_runtime.scratch import scratch_folder

NOT_FOR_THE_CORE = ("VLLM_API_KEY", "SLIPWAY_GUARD", "SLIPWAY_RUNBOOKS")
"""It takes no requests, and they would end up in its cache's name."""
ANSWER_LAST = 1.0  # seconds for the server to answer requests in flight when the engine core has died
TIDY_UP = 3.0  # seconds for the engine core to end on its own


def main(flags: Sequence[str]) -> int:
    settings, stops = FastStartSettings.from_environment(os.environ), Stops()
    try:
        with scratch_folder(within=control.folder()) as folder:
            _read_ahead(settings, folder)
            both, of_server = environments(settings, folder, os.environ)
            with Pair([*flags, *settings.flags], both, of_server) as pair:
                stops.go_to(pair)
                trouble = until_it_serves(pair)
                if not trouble:
                    return until_it_ends(pair)
    except Exception as error:
        trouble = f"{type(error).__name__}: {error}"
    stops.obey()
    say(f"{trouble}; so vLLM is started the ordinary way.")
    return _start_ordinarily(settings)


class Stops:
    """The signals that ask for an end while there is a pair."""

    def __init__(self) -> None:
        self._received: list[int] = []
        self._handlers: dict[int, Any] = {}

    def go_to(self, pair: Pair) -> None:
        def receive(number: int, _: object) -> None:
            self._received.append(number)
            pair.occurrences.put(SignalReceived(number))

        for number in (signal.SIGTERM, signal.SIGINT):
            self._handlers[number] = signal.signal(number, receive)

    def obey(self) -> None:
        """Ends if there was one, which the pair perhaps never saw; from now on, the next one ends this process."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        if self._received:
            sys.exit(128 + self._received[0])


def _read_ahead(settings: FastStartSettings, folder: Path) -> None:
    """Reads imported files first: they would be lost among the weights, which are so much larger."""
    weights = () if settings.copy_weights else map(Piece.whole, settings.weights)
    page_cache.read_ahead([*read_ahead_notes.noted(os.environ), *weights], folder)


def environments(
    settings: FastStartSettings, folder: Path, environment: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Returns the variables of both children, and those of the server alone. Those that were set by hand override those
    of the adapter.
    """
    all_of_them = {**adapter_for(settings.version).environment(settings.device), **environment}
    both = {name: value for name, value in all_of_them.items() if name not in NOT_FOR_THE_CORE}
    both |= {FOLDER: str(folder), hash_seed.ENVIRONMENT: hash_seed.seed_in(environment)}
    return both, {name: environment[name] for name in NOT_FOR_THE_CORE if name in environment}


def until_it_serves(pair: Pair) -> str:
    """Waits until the pair serves; returns what went wrong, or an empty string."""
    progress = Progress()
    while not (progress.serves or progress.trouble):
        match pair.occurrences.get():
            case ChildMessage() as message:
                progress.receive(message)
            case ChildEnded() as end:
                progress.fail(str(end))
            case SignalReceived(number):
                sys.exit(128 + number)
    return progress.trouble


def until_it_ends(pair: Pair) -> int:
    """Waits for the end; returns the exit code as in subprocess."""
    stopping = False
    while True:
        match pair.occurrences.get():
            case SignalReceived(number):
                stopping = True
                pair.send_signal(SERVER, number)
            case ChildEnded(who, code) if who == SERVER:
                pair.terminate(CORE, TIDY_UP)
                return code if code > 0 or stopping else 1
            case ChildEnded(who, code) as end if who == CORE and not stopping:
                say(f"{end}.")
                pair.terminate(SERVER, ANSWER_LAST)
                return code or 1


def _start_ordinarily(settings: FastStartSettings) -> NoReturn:
    with contextlib.suppress(ChildProcessError):  # vLLM would never reap children that it doesn't know
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    environment = {name: value for name, value in os.environ.items() if name != ENVIRONMENT}
    os.execvpe(settings.ordinary[0], list(settings.ordinary), environment)
