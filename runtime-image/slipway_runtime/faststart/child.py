"""The engine core, which forks the server when it has imported vLLM: `python -m slipway_runtime.faststart.child FLAGS`.

Both need nearly the same 5,000 modules. Importing them takes several seconds of one processor, and longer if another
process does the same at that time.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from slipway_runtime.faststart import import_cache, page_cache, read_ahead_notes, source_names, triton_names
from slipway_runtime.faststart.adapters import adapter_for
from slipway_runtime.faststart.adapters.parts import UnexpectedError
from slipway_runtime.faststart.addresses import Addresses
from slipway_runtime.faststart.child_messages import ChildEvent, MessageSender
from slipway_runtime.faststart.forking import ServerFork
from slipway_runtime.faststart.gc_control import GcControl
from slipway_runtime.faststart.linux import die_with_parent, name_thread
from slipway_runtime.faststart.settings import FastStartSettings

Ready = Callable[[], None]
"""Called when the engine core can take requests, or when the server is about to."""


class Child:
    """What the two processes have in common."""

    def __init__(self, flags: list[str]) -> None:
        self.flags = flags
        self.gc_control = GcControl()
        self.settings = FastStartSettings.from_environment(os.environ)
        self.addresses = Addresses.from_environment(os.environ)

    def run(self, sender: MessageSender, body: Callable[[Child, MessageSender, Ready], None]) -> int:
        """Runs one of the two until it ends; returns its exit code."""

        def ready() -> None:
            self.gc_control.release()
            read_ahead_notes.note(sender.who)
            sender.send(ChildEvent.READY)

        try:
            body(self, sender, ready)
        except UnexpectedError as error:
            sender.send(ChildEvent.GIVES_UP, str(error))
            return 1
        return 0


def main() -> int:
    die_with_parent()
    name_thread("slipway-core")
    child = Child(sys.argv[1:])
    child.gc_control.hold()
    sender = MessageSender.of("core", os.environ)
    fork = ServerFork.of(os.environ)
    sender.say("has started")
    import_cache.install(os.environ)

    def core(child: Child, sender: MessageSender, ready: Ready) -> None:
        _core(child, sender, ready, fork)

    return child.run(sender, core)


def _core(child: Child, sender: MessageSender, ready: Ready, fork: ServerFork) -> None:
    settings = child.settings
    adapter = adapter_for(settings.version)
    copy = None
    if settings.copy_weights:
        from slipway_runtime.faststart import device_copy  # noqa: PLC0415 - CPUs don't need it

        copy = device_copy.begin(
            settings.weights, say=sender.say, wait=lambda: page_cache.until_read(child.addresses.folder)
        )
    triton_names.choose_ptxas(os.environ)
    with source_names.found_quickly():
        import torch  # noqa: F401, PLC0415 - the longest import of all, and a phase of its own

        sender.say("has imported torch")
        parts = adapter.core_parts()
        sender.say("has imported vLLM")
    fork.fork(lambda sender_of_server: _serve(child, sender, sender_of_server))
    if copy:
        from slipway_runtime.faststart import loading  # noqa: PLC0415 - as above

        loading.take_weights_from(copy, parts.loader, say=sender.say)
    from slipway_runtime.faststart import core_process, shortcuts  # noqa: PLC0415 - as above

    triton_names.keep_key(os.environ.get(triton_names.ENVIRONMENT))
    ours = shortcuts.CoreShortcuts(adapter, sender.say, on_device=settings.device != "cpu")

    def ready_for_more() -> None:
        ready()
        ours.start_the_rest()

    core_process.run(parts, child.flags, child.addresses, graphs=ours.graphs, sender=sender, ready=ready_for_more)


def _serve(child: Child, of_core: MessageSender, sender: MessageSender) -> int:
    of_core.close()
    sender.say("has started")
    return child.run(sender, _server)


def _server(child: Child, sender: MessageSender, ready: Ready) -> None:
    from slipway_runtime.faststart import server_process, shortcuts  # noqa: PLC0415 - the core doesn't need them

    adapter = adapter_for(child.settings.version)
    parts = adapter.server_parts()
    sender.say("has imported vLLM")
    server_process.run(
        parts,
        child.flags,
        child.addresses,
        also_imported=adapter.ALSO_IMPORTED,
        work_early=lambda arguments: shortcuts.of_server(adapter, arguments, sender.say),
        sender=sender,
        ready=ready,
    )


if __name__ == "__main__":
    sys.exit(main())
