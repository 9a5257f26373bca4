"""The engine core in a process of its own that nobody waits for: it doesn't ask the server for the addresses to use.

It is how vLLM starts a core under Ray, where addresses are known beforehand, too; and the server is told that its
engine is managed by others, as vLLM tells several servers that share one.
"""

from __future__ import annotations

import contextlib
import multiprocessing
from collections.abc import Callable, Iterator
from typing import Any

from slipway_runtime.faststart.adapters.parts import CoreParts, UnexpectedError
from slipway_runtime.faststart.addresses import Addresses, digest
from slipway_runtime.faststart.child_messages import ChildEvent, MessageSender


def run(
    parts: CoreParts, flags: list[str], addresses: Addresses, *, sender: MessageSender, ready: Callable[[], None]
) -> None:
    """Returns, or raises, when the engine core has ended."""
    multiprocessing.current_process().name = "EngineCore"  # as its lines in the log are marked
    arguments = read_flags(parts, flags)
    sender.send(ChildEvent.FLAGS, digest(arguments))
    config = arguments.create_engine_config(usage_context=parts.usage)
    refuse(config)
    sender.say("has its configuration")
    parts.core.EngineCoreProc = _alone(parts, addresses, sender=sender, ready=ready)
    parts.core.EngineCoreProc.run_engine_core(
        vllm_config=config,
        local_client=True,
        handshake_address="",
        executor_class=parts.executor.get_class(config),
        log_stats=not arguments.disable_log_stats,
    )


def read_flags(parts: CoreParts, flags: list[str]) -> Any:
    """Those of the server alone are left to the server, which tells what it has understood of the others."""

    class Parser(parts.parser):  # type: ignore[misc, name-defined]
        def parse_known_args(self, *args: Any, **kwargs: Any) -> Any:
            namespace, _ = super().parse_known_args(*args, **kwargs)
            return namespace, []

    namespace = parts.arguments.add_cli_args(Parser()).parse_args(flags)
    parts.configure(namespace)
    return parts.arguments.from_cli_args(namespace)


def refuse(config: Any) -> None:
    """What nobody has tried with one process for the core and one for the server."""
    parallel = config.parallel_config
    if parallel.world_size != 1 or parallel.data_parallel_size != 1:
        raise UnexpectedError("the engine core is to be more than one process")
    multimodal = config.model_config.multimodal_config
    if multimodal is not None and multimodal.mm_tensor_ipc == "torch_shm":
        raise UnexpectedError("tensors are to go through a queue that only vLLM's own launcher makes")


def _alone(parts: CoreParts, addresses: Addresses, *, sender: MessageSender, ready: Callable[[], None]) -> type[Any]:
    class Core(parts.core.EngineCoreProc):  # type: ignore[misc, name-defined]
        @contextlib.contextmanager
        def _perform_handshakes(
            self, handshake_address: str, identity: bytes, local_client: bool, vllm_config: Any, *_: object
        ) -> Iterator[Any]:
            yield parts.addresses(inputs=[addresses.input], outputs=[addresses.output])
            vllm_config.__post_init__()  # as after a real handshake

        def run_busy_loop(self) -> Any:
            sender.say("is ready")
            ready()
            return super().run_busy_loop()

    return Core
