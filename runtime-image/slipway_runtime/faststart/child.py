"""One of the two processes that the launcher starts: `python -m slipway_runtime.faststart.child core|server FLAGS`."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from . import page_cache, surveys, triton_names, wanted
from .adapters import adapter_for
from .adapters.parts import UnexpectedError
from .addresses import Addresses
from .collector import Collector
from .news import Event, Teller
from .settings import Settings

PR_SET_PDEATHSIG = 1
FOLDER = "SLIPWAY_FASTSTART_FOLDER"

Ready = Callable[[], None]
"""To be called when the engine core could take requests, or the server is about to."""


def main() -> int:
    who, flags = sys.argv[1], sys.argv[2:]
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    collector = Collector()
    collector.hold()
    teller = Teller.of(who, os.environ)
    settings = Settings.from_environment(os.environ)
    addresses = Addresses(Path(os.environ[FOLDER]))
    teller.say("has begun")
    surveys.keep(os.environ)

    def ready() -> None:
        collector.release()
        wanted.note(who)
        teller.tell(Event.READY)

    try:
        run = _core if who == "core" else _server
        run(settings, flags, addresses, teller, ready)
    except UnexpectedError as error:
        teller.tell(Event.GIVES_UP, str(error))
        return 1
    return 0


def _core(settings: Settings, flags: list[str], addresses: Addresses, teller: Teller, ready: Ready) -> None:
    adapter = adapter_for(settings.version)
    copy = None
    if settings.copy_weights:
        from . import device_copy  # noqa: PLC0415 - CPUs have no use for it

        copy = device_copy.begin(settings.weights, say=teller.say, wait=lambda: page_cache.until_read(addresses.folder))
    triton_names.choose_ptxas(os.environ)
    import torch  # noqa: F401, PLC0415 - the longest import of all, and a phase of its own

    teller.say("has imported torch")
    parts = adapter.core_parts()
    teller.say("has imported vLLM")
    if copy:
        from . import loading  # noqa: PLC0415 - as above

        loading.take_weights_from(copy, parts.loader, say=teller.say)
    from . import core_process  # noqa: PLC0415 - as above

    triton_names.keep_key(os.environ.get("SLIPWAY_TRITON_KEY"))
    core_process.run(parts, flags, addresses, teller=teller, ready=ready)


def _server(settings: Settings, flags: list[str], addresses: Addresses, teller: Teller, ready: Ready) -> None:
    from . import server_process  # noqa: PLC0415 - the core has no use for it

    adapter = adapter_for(settings.version)
    parts = adapter.server_parts()
    teller.say("has imported vLLM")
    server_process.run(parts, flags, addresses, also_imported=adapter.ALSO_IMPORTED, teller=teller, ready=ready)


if __name__ == "__main__":
    sys.exit(main())
