"""The API server, next to the engine core: it gets the addresses of an engine that it did not start."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from typing import Any

from slipway_runtime.faststart.adapters.parts import ServerParts, UnexpectedError
from slipway_runtime.faststart.addresses import Addresses, digest
from slipway_runtime.faststart.child_messages import ChildEvent, MessageSender


def run(
    parts: ServerParts,
    flags: list[str],
    addresses: Addresses,
    *,
    also_imported: Iterable[str],
    work_early: Callable[[Any], None],
    sender: MessageSender,
    ready: Callable[[], None],
) -> None:
    """Runs the server; returns or raises when it has ended. `work_early` gets its arguments."""
    parts.prepare()
    arguments = parts.make_parser(parts.parser()).parse_args(flags)
    parts.configure(arguments)
    parts.validate(arguments)
    sender.send(ChildEvent.FLAGS, digest(parts.arguments.from_cli_args(arguments)))
    _import(also_imported)
    work_early(arguments)
    sender.say("waits for the engine core")
    _join(parts.api, addresses)
    _tell_when_it_serves(parts, sender=sender, ready=ready)
    parts.run(parts.api.run_server(arguments))


def _import(modules: Iterable[str]) -> None:
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise UnexpectedError(f"{module} can't be imported: {error}") from error


def _join(api: Any, addresses: Addresses) -> None:
    alone = api.run_server_worker

    async def run_server_worker(listen_address: Any, sock: Any, args: Any, **more: Any) -> None:
        client = {
            "input_address": addresses.input,
            "output_address": addresses.output,
            "client_count": 1,
            "client_index": 0,
        }
        await alone(listen_address, sock, args, client, **more)

    api.run_server_worker = run_server_worker


def _tell_when_it_serves(parts: ServerParts, *, sender: MessageSender, ready: Callable[[], None]) -> None:
    serve = parts.api.serve_http

    async def serve_http(*args: Any, **kwargs: Any) -> Any:
        parts.settle()
        sender.say("starts to serve")
        ready()
        return await serve(*args, **kwargs)

    parts.api.serve_http = serve_http
