"""CUDA graphs of most batch sizes are captured once the engine core is ready, so that its first requests don't wait.

Each size takes the same time, about a tenth of a second, whether its batch is small or large. Until the graph of a size
is there, its batches use that of the next larger size. For small batches that costs little, because they wait for the
weights; of large ones the padding is computed, so these graphs are captured between two steps when they are wanted, but
never when requests have just arrived. All others are captured while there are no requests.
"""

from __future__ import annotations

import functools
import gc
import queue
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from slipway_runtime.faststart.adapters.parts import GraphParts
from slipway_runtime.faststart.graph_memory import kept

ALONE = 1  # as the first request after a wake usually is: until it ends, no graph of a small batch is captured
EARLY = 64  # and the largest of each kind; each takes a tenth of a second or two
KV_CACHE = 4  # the position of its configuration among the capture's arguments, after the model and its state
QUIET = 1.0  # seconds without requests before any graph is captured, so that none waits for one at a wake
APART = 1.0  # seconds between two captures while requests run, and from the first request to the first of them


def early_of(kinds: Iterable[Collection[int]]) -> list[int]:
    """Returns the sizes that are captured before the engine core is ready.

    `kinds`: the sizes of each kind of graph. One kind is for batches of sequences that are being answered, and so not
    larger than their number; the other is for any batch. With the largest of each kind, every batch has a graph, and
    what all of them write to is made large enough.
    """
    sizes_of_kinds = [set(sizes) for sizes in kinds if sizes]
    largest = {max(sizes) for sizes in sizes_of_kinds}
    return sorted(size for size in set().union(*sizes_of_kinds) if size in {ALONE, EARLY, *largest})


def wanted(running: int, captured: Iterable[int], pending: Iterable[int]) -> int | None:
    """Returns the size whose graph is worth a pause, because this many requests would use it from now on."""
    if running <= EARLY:
        return None
    fits = min((size for size in pending if size >= running), default=None)
    used = min((size for size in captured if size >= running), default=None)
    return fits if fits is not None and (used is None or fits < used) else None


class LateGraphs:
    """The graphs of one engine core, from its start on."""

    def __init__(self, parts: GraphParts, say: Callable[[str], None]) -> None:
        self._parts, self._say = parts, say
        self._manager: Any = None
        self._capture: Callable[[], Any] = lambda: None
        self._last = 0.0
        self.captured: list[int] = []
        self.pending: list[int] = []

    def install(self) -> None:
        """Replaces the method that captures all sizes."""
        ours, theirs = self, self._parts.manager.capture

        @functools.wraps(theirs)
        def capture(self: Any, model: Any, model_state: Any, *args: Any, **kwargs: Any) -> Any:
            def capture_chosen() -> Any:
                return theirs(self, model, model_state, *args, **kwargs)

            can_wait = ours._can_wait(self, model_state, args[KV_CACHE] if args[KV_CACHE:] else None)
            return ours._capture_early(self, capture_chosen) if can_wait else capture_chosen()

        self._parts.manager.capture = capture

    def _capture_early(self, manager: Any, capture: Callable[[], Any]) -> Any:
        kinds = [{graph.num_tokens for graph in graphs} for graphs in manager._capture_descs.values()]
        early = early_of(kinds)
        late = sorted(set().union(*kinds).difference(early))
        if not late:
            return capture()
        self._choose(manager, early)
        self._say(f"captures the graphs of {len(late)} batch sizes later")  # so what vLLM says they take isn't all
        captured = capture()
        self._manager, self._capture, self._last = manager, capture, time.monotonic()
        self.captured, self.pending = early, late
        return captured

    def _can_wait(self, manager: Any, model_state: Any, kv_cache: Any) -> bool:
        """Returns whether nothing but the model itself has graphs, no state of its sequences but a KV cache could be
        touched by a capture, and this is not vLLM's estimate of the memory.
        """
        config = manager.vllm_config
        return (
            self._manager is None
            and manager._max_full_descs_to_capture is None
            and manager.decode_query_len == 1  # otherwise graphs have other sizes than those that are configured
            and config.speculative_config is config.lora_config is config.kv_transfer_config is None
            and manager.ubatch_runner is None
            and not manager.use_breakable_cg
            and manager.is_first_pp_rank
            and manager.is_last_pp_rank
            and type(model_state).capture_inner_cudagraphs is self._parts.state.capture_inner_cudagraphs
            and kv_cache is not None
            and not any("Mamba" in type(group.kv_cache_spec).__name__ for group in kv_cache.kv_cache_groups)
        )

    def while_idle(self, is_idle: Callable[[], bool], requests: queue.Queue[Any]) -> None:
        """`requests`: whatever arrives in it ends the idleness."""
        since = time.monotonic()
        while self.pending and is_idle() and requests.empty():
            if time.monotonic() < since + QUIET:
                _wait_for_any(requests, since + QUIET)
            else:
                self._capture_one(self.pending[-1])  # the largest: the others fit into its memory
            self._last = time.monotonic()

    def between_steps(self, running: int) -> None:
        """Captures at most one graph. What the device still computes is waited for, since a capture uses its input."""
        if not self.pending or time.monotonic() < self._last + APART:
            return
        if size := wanted(running, self.captured, self.pending):
            self._parts.torch.cuda.synchronize()
            self._capture_one(size)
            self._last = time.monotonic()

    def _capture_one(self, size: int) -> None:
        self.pending.remove(size)
        try:
            with kept(self._parts.torch), self._quiet(), _collector_off(), self._parts.torch.inference_mode():
                self._choose(self._manager, [size])
                self._capture()
            self.captured.append(size)
        except Exception as error:  # most likely memory: the graphs that are there are enough
            self.pending.clear()
            self._say(f"captures no more graphs: {type(error).__name__}: {error}")
        finally:
            self._choose(self._manager, self.captured)
        if not self.pending:
            self._say(f"has captured the graphs of {len(self.captured)} batch sizes")

    def _choose(self, manager: Any, sizes: Sequence[int]) -> None:
        """Lets the manager know these sizes alone: what it captures, and what it looks for when a batch is run."""
        config = manager.compilation_config
        every_size, config.cudagraph_capture_sizes = config.cudagraph_capture_sizes, sorted(sizes)
        manager._candidates, manager._capture_descs = {}, {}
        try:
            manager._init_candidates()
        finally:
            config.cudagraph_capture_sizes = every_size

    @contextmanager
    def _quiet(self) -> Iterator[None]:
        """Without a progress bar for each graph."""
        module = self._parts.module
        bar, module.tqdm = module.tqdm, lambda descriptions, **_: descriptions
        try:
            yield
        finally:
            module.tqdm = bar


def _wait_for_any(items: queue.Queue[Any], until: float) -> None:
    with items.not_empty:
        while not items.queue and (left := until - time.monotonic()) > 0:
            items.not_empty.wait(left)


@contextmanager
def _collector_off() -> Iterator[None]:
    """A collection during a capture could free what belongs to it."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
