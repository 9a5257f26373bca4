"""One of the two processes that the launcher starts: `python -m slipway_runtime.faststart.child core|server FLAGS`."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable

from slipway_runtime.faststart import import_cache, page_cache, read_ahead_notes, triton_names
from slipway_runtime.faststart.adapters import adapter_for
from slipway_runtime.faststart.adapters.parts import UnexpectedError
from slipway_runtime.faststart.addresses import Addresses
from slipway_runtime.faststart.child_messages import ChildEvent, MessageSender
from slipway_runtime.faststart.gc_control import GcControl
from slipway_runtime.faststart.settings import FastStartSettings

PR_SET_PDEATHSIG = 1

Ready = Callable[[], None]
"""Called when the engine core can take requests, or when the server is about to."""


def main() -> int:
    who, flags = sys.argv[1], sys.argv[2:]
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    gc_control = GcControl()
    gc_control.hold()
    sender = MessageSender.of(who, os.environ)
    settings = FastStartSettings.from_environment(os.environ)
    addresses = Addresses.from_environment(os.environ)
    sender.say("has started")
    import_cache.install(os.environ)

    def ready() -> None:
        gc_control.release()
        read_ahead_notes.note(who)
        sender.send(ChildEvent.READY)

    try:
        run = _core if who == "core" else _server
        run(settings, flags, addresses, sender, ready)
    except UnexpectedError as error:
        sender.send(ChildEvent.GIVES_UP, str(error))
        return 1
    return 0


def _core(
    settings: FastStartSettings, flags: list[str], addresses: Addresses, sender: MessageSender, ready: Ready
) -> None:
    adapter = adapter_for(settings.version)
    copy = None
    if settings.copy_weights:
        from slipway_runtime.faststart import device_copy  # noqa: PLC0415 - CPUs don't need it

        copy = device_copy.begin(settings.weights, say=sender.say, wait=lambda: page_cache.until_read(addresses.folder))
    triton_names.choose_ptxas(os.environ)
    import torch  # noqa: F401, PLC0415 - the longest import of all, and a phase of its own

    sender.say("has imported torch")
    parts = adapter.core_parts()
    sender.say("has imported vLLM")
    if copy:
        from slipway_runtime.faststart import loading  # noqa: PLC0415 - as above

        loading.take_weights_from(copy, parts.loader, say=sender.say)
    from slipway_runtime.faststart import core_process  # noqa: PLC0415 - as above

    triton_names.keep_key(os.environ.get(triton_names.ENVIRONMENT))
    core_process.run(parts, flags, addresses, sender=sender, ready=ready)


def _server(
    settings: FastStartSettings, flags: list[str], addresses: Addresses, sender: MessageSender, ready: Ready
) -> None:
    from slipway_runtime.faststart import server_process  # noqa: PLC0415 - the core doesn't need it

    adapter = adapter_for(settings.version)
    parts = adapter.server_parts()
    sender.say("has imported vLLM")
    server_process.run(parts, flags, addresses, also_imported=adapter.ALSO_IMPORTED, sender=sender, ready=ready)


if __name__ == "__main__":
    sys.exit(main())
