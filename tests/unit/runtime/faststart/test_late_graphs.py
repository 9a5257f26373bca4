"""CUDA graphs: a few before the engine core is ready, the others while no request waits, and only those in use."""

from __future__ import annotations

import gc
import queue
import threading
import time
from concurrent.futures import Future
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from slipway_runtime.faststart import core_process, late_graphs
from slipway_runtime.faststart.adapters.parts import GraphParts
from slipway_runtime.faststart.late_graphs import LateGraphs, early_of, wanted
from slipway_runtime.faststart.plan import GRAPHS

EARLY = [64, 512]


class State:
    """vLLM's state of a model: most have no graphs of their own."""

    def capture_inner_cudagraphs(self) -> None:
        pass


class StateWithGraphs(State):
    def capture_inner_cudagraphs(self) -> None:
        pass


class FullAttentionSpec:
    pass


class MambaSpec:
    pass


def config_with(**different: str) -> SimpleNamespace:
    return SimpleNamespace(**{"speculative_config": None, "lora_config": None, "kv_transfer_config": None, **different})


def kv_cache(*specs: object) -> SimpleNamespace:
    return SimpleNamespace(kv_cache_groups=[SimpleNamespace(kv_cache_spec=spec) for spec in specs])


class Manager:
    """vLLM's manager of graphs, as far as it is used."""

    def __init__(self, sizes: list[int], failing: int | None = None, **different: Any) -> None:
        self.compilation_config = SimpleNamespace(cudagraph_capture_sizes=sizes)
        self.vllm_config = config_with()
        self._max_full_descs_to_capture = None
        self.ubatch_runner, self.use_breakable_cg = None, False
        self.is_first_pp_rank = self.is_last_pp_rank = True
        self.graphs: list[int] = []
        self.collected: list[bool] = []
        self.failing = failing
        vars(self).update(different)
        self._candidates: dict[int, int] = {}
        self._capture_descs: dict[str, list[int]] = {}
        self._init_candidates()

    def _init_candidates(self) -> None:
        sizes = sorted(self.compilation_config.cudagraph_capture_sizes)
        self._capture_descs["FULL"] = sizes[::-1]
        for tokens in range(1, sizes[-1] + 1 if sizes else 0):
            self._candidates[tokens] = next(size for size in sizes if size >= tokens)

    def capture(self, model: str, model_state: State, *others: object) -> None:
        for size in self._capture_descs["FULL"]:
            assert size not in self.graphs
            if size == self.failing:
                raise MemoryError("no room")
            self.graphs.append(size)
            self.collected.append(gc.isenabled())

    def run(self, tokens: int) -> int | None:
        """Returns the size of the graph with which a batch is run."""
        size = self._candidates.get(tokens)
        assert size is None or size in self.graphs
        return size


class Start:
    """A start with late graphs, until it is ready."""

    def __init__(self, *, state: State | None = None, spec: object = None, **different: Any) -> None:
        self.said: list[str] = []
        self.synchronized: list[list[int]] = []
        self.manager: Manager
        manager = type("OneManager", (Manager,), {})
        torch = SimpleNamespace(
            cuda=SimpleNamespace(
                empty_cache=lambda: None, synchronize=lambda: self.synchronized.append(sorted(self.manager.graphs))
            ),
            _C=SimpleNamespace(_host_emptyCache=lambda: None),
            inference_mode=nullcontext,
        )
        parts = GraphParts(manager=manager, module=SimpleNamespace(tqdm=None), state=State, torch=torch)
        self.graphs = LateGraphs(parts, self.said.append)
        self.graphs.install()
        self.manager = manager(list(GRAPHS), **different)
        others = ("buffers", "tensors", "tables", "groups", kv_cache(FullAttentionSpec(), spec))
        self.manager.capture("model", state or State(), *others)


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(late_graphs, "QUIET", 0.0)
    monkeypatch.setattr(late_graphs, "APART", 0.0)


def test_only_a_few_sizes_are_captured_before_the_engine_core_is_ready() -> None:
    assert sorted(Start().manager.graphs) == EARLY
    assert early_of([1, 2, 4, 100]) == [100]


def test_every_batch_can_be_run_at_any_time(no_pauses: None) -> None:
    start = Start()
    while start.graphs.pending:
        for tokens in range(1, 513):
            size = start.manager.run(tokens)
            assert size is not None
            assert size >= tokens
        before = len(start.graphs.pending)
        start.graphs.between_steps(start.graphs.pending[-1])
        if len(start.graphs.pending) == before:
            break
    assert start.manager.run(513) is None, "as without graphs"


def test_all_others_are_captured_while_there_are_no_requests(no_pauses: None) -> None:
    start = Start()
    start.graphs.while_idle(lambda: True, queue.Queue())
    assert sorted(start.manager.graphs) == sorted(GRAPHS)
    assert [start.manager.run(size) for size in GRAPHS] == list(GRAPHS)
    assert start.manager.compilation_config.cudagraph_capture_sizes == list(GRAPHS)
    assert start.said == [f"has captured the graphs of {len(GRAPHS)} batch sizes"]


def test_a_request_ends_the_idleness_at_once() -> None:
    start, requests = Start(), queue.Queue[object]()
    threading.Timer(0.05, lambda: requests.put("a request")).start()
    began = time.monotonic()
    start.graphs.while_idle(lambda: True, requests)
    assert time.monotonic() - began < late_graphs.QUIET
    assert sorted(start.manager.graphs) == EARLY


@pytest.mark.parametrize(
    ("running", "size"),
    [(0, None), (1, None), (8, None), (64, None), (65, 80), (129, 144), (300, 320), (512, None)],
)
def test_while_requests_run_only_the_graph_that_their_batch_would_use_is_captured(
    running: int, size: int | None, no_pauses: None
) -> None:
    assert wanted(running, EARLY, sorted(set(GRAPHS) - set(EARLY))) == size
    start = Start()
    start.graphs.between_steps(running)
    assert sorted(start.manager.graphs) == sorted({*EARLY, *([size] if size else [])})
    start.graphs.between_steps(running)
    assert len(start.manager.graphs) == len(EARLY) + (size is not None), "once"


def test_captures_between_steps_are_apart() -> None:
    start = Start()
    start.graphs._last -= late_graphs.APART
    for running in (100, 200, 300):
        start.graphs.between_steps(running)
    assert len(start.manager.graphs) == len(EARLY) + 1


def test_what_the_device_still_computes_is_waited_for_before_a_graph_is_captured(no_pauses: None) -> None:
    start = Start()
    start.graphs.between_steps(64)
    assert start.synchronized == []
    start.graphs.between_steps(100)
    assert start.synchronized == [EARLY]
    assert len(start.manager.graphs) == len(EARLY) + 1


def test_requests_that_have_just_arrived_do_not_wait_for_a_graph() -> None:
    start = Start()
    start.graphs.between_steps(300)
    assert sorted(start.manager.graphs) == EARLY, "none within a second of the start"
    start.graphs._last -= late_graphs.APART
    requests = queue.Queue[object]()
    threading.Timer(0.05, lambda: requests.put("a request")).start()
    start.graphs.while_idle(lambda: True, requests)
    start.graphs.between_steps(300)
    assert sorted(start.manager.graphs) == EARLY, "nor within a second after there were no requests"
    start.graphs._last -= late_graphs.APART
    start.graphs.while_idle(lambda: False, requests)
    start.graphs.between_steps(300)
    assert sorted(start.manager.graphs) == [*EARLY[:-1], 320, EARLY[-1]]


def test_no_collection_happens_during_a_late_capture(no_pauses: None) -> None:
    start = Start()
    start.graphs.between_steps(100)
    assert start.manager.collected[-1] is False
    assert gc.isenabled()


def test_without_memory_for_more_graphs_those_that_are_there_are_used(no_pauses: None) -> None:
    start = Start(failing=320)
    start.graphs.between_steps(300)
    assert start.manager.run(300) == 512
    assert start.said[0] == "captures no more graphs: MemoryError: no room"
    start.graphs.while_idle(lambda: True, queue.Queue())
    assert sorted(start.manager.graphs) == EARLY


@pytest.mark.parametrize(
    "different",
    [
        {"_max_full_descs_to_capture": 2},
        {"vllm_config": config_with(speculative_config="a draft")},
        {"vllm_config": config_with(lora_config="adapters")},
        {"vllm_config": config_with(kv_transfer_config="another pod")},
        {"state": StateWithGraphs()},
        {"spec": MambaSpec()},
        {"ubatch_runner": "two batches at a time"},
        {"use_breakable_cg": True},
        {"is_last_pp_rank": False},
    ],
    ids=lambda different: next(iter(different)),
)
def test_where_a_late_capture_could_touch_more_than_a_kv_cache_all_are_captured_at_once(
    different: dict[str, Any],
) -> None:
    start = Start(**different)
    assert sorted(start.manager.graphs) == sorted(GRAPHS)
    assert not start.graphs.pending


class LazyOutput(Future[str]):
    """What the device computes: vLLM waits for it only when it asks for the result."""

    def result(self, timeout: float | None = None) -> str:
        assert timeout is None
        if not self.done():
            self.set_result("tokens")
        return super().result()


class EngineCore:
    """vLLM's loop: while one batch is computed, the next one is prepared."""

    def __init__(self) -> None:
        self.input_queue = queue.Queue[int]()
        self.scheduler = SimpleNamespace(running=[])
        self.model_executor = SimpleNamespace(is_sleeping=False)
        self.batch_queue: list[LazyOutput] = []
        self.outputs: list[str] = []

    def is_running(self) -> bool:
        return True

    def has_work(self) -> bool:
        return bool(self.scheduler.running or self.batch_queue)

    def _process_input_queue(self) -> None:
        while not self.has_work():
            self.scheduler.running = [object()] * self.input_queue.get(timeout=60)

    def _process_engine_step(self) -> bool:
        self.batch_queue.append(LazyOutput())
        if len(self.batch_queue) > 1 or not self.scheduler.running:
            self.outputs.append(self.batch_queue.pop(0).result())
        return True


def test_an_engine_that_computes_a_batch_while_it_prepares_the_next_answers_with_late_graphs(no_pauses: None) -> None:
    start = Start()
    core = core_process._with_late_graphs(EngineCore, start.graphs)()
    core.input_queue.put(300)
    while len(core.outputs) < 10:
        core._process_input_queue()
        core._process_engine_step()
    assert 320 in start.manager.graphs


@pytest.mark.parametrize(("sleeps", "captured"), [(False, len(GRAPHS)), (True, len(EARLY))])
def test_an_engine_that_sleeps_has_no_memory_for_graphs(no_pauses: None, sleeps: bool, captured: int) -> None:
    start = Start()
    core = core_process._with_late_graphs(EngineCore, start.graphs)()
    core.model_executor.is_sleeping = sleeps
    threading.Timer(0.5, lambda: core.input_queue.put(1)).start()
    core._process_input_queue()
    assert len(start.manager.graphs) == captured
