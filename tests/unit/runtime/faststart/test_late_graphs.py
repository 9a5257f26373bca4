"""CUDA graphs: a few before the engine core is ready, the others while no request waits, and only those in use."""

from __future__ import annotations

import gc
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from slipway_runtime.faststart import core_process, late_graphs
from slipway_runtime.faststart.adapters.parts import GraphParts
from slipway_runtime.faststart.late_graphs import LateGraphs, early_of, wanted
from slipway_runtime.faststart.plan import GRAPHS

EARLY = [1, 64, 512]


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


class Graph(NamedTuple):
    """A graph that can be captured. A full one runs batches of sequences that are being answered."""

    kind: str
    num_tokens: int


class Manager:
    """vLLM's manager of graphs, as far as it is used."""

    def __init__(
        self,
        sizes: list[int],
        failing: int | None = None,
        sequences: int = 1024,
        kinds: tuple[str, ...] = ("PIECEWISE", "FULL"),
        **different: Any,
    ) -> None:
        self.compilation_config = SimpleNamespace(cudagraph_capture_sizes=sizes)
        self.vllm_config = config_with()
        self._max_full_descs_to_capture = None
        self.ubatch_runner, self.use_breakable_cg, self.decode_query_len = None, False, 1
        self.is_first_pp_rank = self.is_last_pp_rank = True
        self.done: list[Graph] = []
        self.rows = 0
        self.collected: list[bool] = []
        self.failing, self.sequences, self.kinds = failing, sequences, kinds
        vars(self).update(different)
        self._candidates: dict[int, list[Graph]] = {}
        self._capture_descs: dict[str, list[Graph]] = {}
        self._init_candidates()

    @property
    def graphs(self) -> list[int]:
        return sorted({graph.num_tokens for graph in self.done})

    def _init_candidates(self) -> None:
        sizes = sorted(self.compilation_config.cudagraph_capture_sizes)
        for kind in self.kinds:
            graphs = [Graph(kind, size) for size in sizes if kind != "FULL" or size <= self.sequences]
            if graphs:
                self._capture_descs[kind] = graphs[::-1]
        for tokens in range(1, sizes[-1] + 1 if sizes else 0):
            for kind in ("FULL", "PIECEWISE"):
                fitting = [graph for graph in self._capture_descs.get(kind, [])[::-1] if graph.num_tokens >= tokens]
                self._candidates.setdefault(tokens, []).extend(fitting[:1])

    def capture(self, model: str, model_state: State, *others: object) -> None:
        for kind in self.kinds:
            for graph in self._capture_descs.get(kind, []):
                assert graph not in self.done
                if graph.num_tokens == self.failing:
                    raise MemoryError("no room")
                self.rows = self.rows or graph.num_tokens  # all write to what the first one made
                if graph.num_tokens > self.rows:
                    raise RuntimeError(f"{graph.num_tokens} rows don't fit into {self.rows}")
                self.done.append(graph)
                self.collected.append(gc.isenabled())

    def graph_of(self, tokens: int) -> Graph | None:
        """Returns the graph with which a batch of sequences that are being answered is run."""
        graph = next(iter(self._candidates.get(tokens, [])), None)
        assert graph is None or graph in self.done
        return graph

    def run(self, tokens: int) -> int | None:
        """Returns its size."""
        graph = self.graph_of(tokens)
        return graph.num_tokens if graph else None


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
    assert early_of([{1, 2, 4, 100}]) == [1, 100]
    assert early_of([{2, 4, 100}]) == [100]


DECODE_ONLY = ("FULL",)
KINDS = pytest.mark.parametrize(
    ("sequences", "kinds", "early"),
    [
        (1024, ("PIECEWISE", "FULL"), [1, 64, 512]),
        (128, ("PIECEWISE", "FULL"), [1, 64, 128, 512]),
        (128, DECODE_ONLY, [1, 64, 128]),
        (100, DECODE_ONLY, [1, 64, 96]),
        (48, ("PIECEWISE", "FULL"), [1, 32, 64, 512]),
        (16, ("PIECEWISE", "FULL"), [1, 16, 64, 512]),
        (16, DECODE_ONLY, [1, 16]),
        (16, ("PIECEWISE",), [1, 64, 512]),
    ],
)


@KINDS
def test_batches_of_all_sequences_that_can_be_answered_have_a_graph_of_their_own_kind_from_the_start_on(
    sequences: int, kinds: tuple[str, ...], early: list[int]
) -> None:
    manager = Start(sequences=sequences, kinds=kinds).manager
    assert manager.graphs == early
    largest = max((size for size in GRAPHS if size <= sequences), default=0)
    for running in range(1, largest + 1):
        graph = manager.graph_of(running)
        assert graph is not None
        assert graph.kind == kinds[-1]


@KINDS
def test_all_others_are_captured_whatever_kinds_there_are(
    sequences: int, kinds: tuple[str, ...], early: list[int], no_pauses: None
) -> None:
    start, at_once = Start(sequences=sequences, kinds=kinds), Manager(list(GRAPHS), sequences=sequences, kinds=kinds)
    at_once.capture("model", State())
    start.graphs.while_idle(lambda: True, queue.Queue())
    assert sorted(start.manager.done) == sorted(at_once.done)
    assert start.said[-1] == f"has captured the graphs of {len(at_once.graphs)} batch sizes"


@KINDS
def test_a_graph_is_captured_between_steps_only_if_it_would_be_used(
    sequences: int, kinds: tuple[str, ...], early: list[int], no_pauses: None
) -> None:
    for running in (each for each in (1, 16, 17, 48, 64, 65, 95, 97, 100, 128, 300, 512) if each <= sequences):
        start = Start(sequences=sequences, kinds=kinds)
        before = start.manager.run(running)
        start.graphs.between_steps(running)
        added = set(start.manager.graphs).difference(early)
        assert added in (set(), {start.manager.run(running)})
        assert added == set() or start.manager.run(running) != before


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
    assert start.said == [
        f"captures the graphs of {len(GRAPHS) - len(EARLY)} batch sizes later",
        f"has captured the graphs of {len(GRAPHS)} batch sizes",
    ]


def test_a_request_ends_the_idleness_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(late_graphs, "QUIET", 3600.0)
    start, requests = Start(), queue.Queue[object]()
    threading.Timer(0.05, lambda: requests.put("a request")).start()
    start.graphs.while_idle(lambda: True, requests)
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
    assert start.said[1] == "captures no more graphs: MemoryError: no room"
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
        {"decode_query_len": 2},
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
        self.paused = False
        self._idle_state_callbacks: list[Callable[[], None]] = []

    def is_running(self) -> bool:
        return True

    def is_scheduler_paused(self) -> bool:
        return self.paused

    def has_work(self) -> bool:
        return bool(self.scheduler.running or self.batch_queue)

    def _process_input_queue(self) -> None:
        while not self.has_work():
            while self._idle_state_callbacks:
                self._idle_state_callbacks.pop()()
            self._handle_client_request(self.input_queue.get(timeout=60))

    def _handle_client_request(self, sequences: int) -> None:
        """Zero: it asks for something else."""
        self.scheduler.running = [object()] * sequences

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


def test_a_request_that_brings_no_work_leaves_the_engine_idle(no_pauses: None) -> None:
    """As one for the engine's state: vLLM handles it and waits for the next, both in one call."""
    start = Start()
    core = core_process._with_late_graphs(EngineCore, start.graphs)()
    core.input_queue.put(0)
    threading.Timer(0.5, lambda: core.input_queue.put(1)).start()
    core._process_input_queue()
    assert len(start.manager.graphs) == len(GRAPHS)


def test_whoever_waits_for_the_idleness_does_not_wait_for_graphs(no_pauses: None) -> None:
    start = Start()
    core = core_process._with_late_graphs(EngineCore, start.graphs)()
    captured: list[int] = []
    core._idle_state_callbacks.append(lambda: captured.extend(start.manager.graphs))
    threading.Timer(0.2, lambda: core.input_queue.put(1)).start()
    core._process_input_queue()
    assert captured == EARLY


def test_an_engine_that_is_paused_may_have_given_up_the_memory_of_its_kv_cache(no_pauses: None) -> None:
    start = Start()
    core = core_process._with_late_graphs(EngineCore, start.graphs)()
    core.paused = True
    threading.Timer(0.2, lambda: core.input_queue.put(1)).start()
    core._process_input_queue()
    assert start.manager.graphs == EARLY
