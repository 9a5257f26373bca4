"""The engine core as a separate process: it knows its addresses in advance, so it doesn't wait for the server's
handshake.

vLLM starts a core the same way under Ray, where addresses are known in advance, too. The server is started with an
engine that is managed elsewhere, as vLLM starts several servers that share one.
"""

from __future__ import annotations

import contextlib
import multiprocessing
from collections.abc import Callable, Iterator
from typing import Any

from slipway_runtime.faststart.adapters.parts import CoreParts, UnexpectedError
from slipway_runtime.faststart.addresses import Addresses, digest
from slipway_runtime.faststart.child_messages import ChildEvent, MessageSender
from slipway_runtime.faststart.late_graphs import LateGraphs


def run(
    parts: CoreParts,
    flags: list[str],
    addresses: Addresses,
    *,
    graphs: LateGraphs | None,
    sender: MessageSender,
    ready: Callable[[], None],
) -> None:
    """Runs the engine core; returns or raises when it has ended. `graphs`: those that are captured later, if any."""
    multiprocessing.current_process().name = "EngineCore"  # how vLLM marks its log lines
    arguments = read_flags(parts, flags)
    sender.send(ChildEvent.FLAGS, digest(arguments))
    config = arguments.create_engine_config(usage_context=parts.usage)
    refuse(config)
    sender.say("has its configuration")
    alone = _alone(parts, addresses, sender=sender, ready=ready)
    parts.core.EngineCoreProc = _with_late_graphs(alone, graphs) if graphs else alone
    parts.core.EngineCoreProc.run_engine_core(
        vllm_config=config,
        local_client=True,
        handshake_address="",
        executor_class=parts.executor.get_class(config),
        log_stats=not arguments.disable_log_stats,
    )


def read_flags(parts: CoreParts, flags: list[str]) -> Any:
    """Returns the engine's arguments. Flags of the server alone are ignored here; the server reports its digest of the
    others."""

    class Parser(parts.parser):  # type: ignore[misc, name-defined]
        def parse_known_args(self, *args: Any, **kwargs: Any) -> Any:
            namespace, _ = super().parse_known_args(*args, **kwargs)
            return namespace, []

    namespace = parts.arguments.add_cli_args(Parser()).parse_args(flags)
    parts.configure(namespace)
    return parts.arguments.from_cli_args(namespace)


def refuse(config: Any) -> None:
    """Refuses configurations that were never tried with one process for the core and one for the server, or that don't
    work with a server that was forked from a process which uses CUDA.
    """
    parallel = config.parallel_config
    if parallel.world_size != 1 or parallel.data_parallel_size != 1:
        raise UnexpectedError("the engine core would be more than one process")
    multimodal = config.model_config.multimodal_config
    if multimodal is None:
        return
    if multimodal.mm_tensor_ipc == "torch_shm":
        raise UnexpectedError("tensors would go through a queue that only vLLM's own launcher creates")
    for name in ("mm_processor_kwargs", "media_io_kwargs"):
        if "cuda" in repr(getattr(multimodal, name, None)):
            raise UnexpectedError(f"{name} would let the server use the device")


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


def _with_late_graphs(core: type[Any], graphs: LateGraphs) -> type[Any]:
    class Core(core):  # type: ignore[misc]
        def _process_input_queue(self) -> Any:
            graphs.while_idle(self._is_idle, self.input_queue)
            return super()._process_input_queue()

        def _handle_client_request(self, *request: Any) -> Any:
            """vLLM waits for the next one without a return to `_process_input_queue` if this one brings no work, as a
            question about its state does."""
            handled = super()._handle_client_request(*request)
            graphs.while_idle(self._is_idle, self.input_queue)
            return handled

        def _is_idle(self) -> bool:
            """Returns whether no one waits for anything. While paused or asleep, it may have given up memory."""
            waiting = self.has_work() or self._idle_state_callbacks
            without_memory = self.is_scheduler_paused() or getattr(self.model_executor, "is_sleeping", False)
            return self.is_running() and not waiting and not without_memory

        def _process_engine_step(self) -> Any:
            executed = super()._process_engine_step()
            graphs.between_steps(len(getattr(self.scheduler, "running", ())))
            return executed

    return Core
