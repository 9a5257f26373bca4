"""What the fast start improves in vLLM besides its order, each of which a start can do without."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
from slipway_runtime.faststart import early_work, graph_memory, later, shortcuts
from slipway_runtime.faststart.adapters.parts import CaptureParts, GrammarParts, RendererParts, UnexpectedError


class Torch:
    """A torch that counts how often the cached memory is freed."""

    def __init__(self) -> None:
        self.emptied = [0, 0]
        self.cuda = SimpleNamespace(empty_cache=lambda: self._empty(0))
        self._C = SimpleNamespace(_host_emptyCache=lambda: self._empty(1))

    def _empty(self, which: int) -> None:
        self.emptied[which] += 1


def worker_of(torch: Torch, graphs: int, error: Exception | None = None) -> Any:
    """A worker that captures graphs as torch does it."""

    class Worker:
        def compile_or_warm_up_model(self) -> str:
            for _ in range(graphs):
                torch.cuda.empty_cache()
                torch._C._host_emptyCache()
            if error:
                raise error
            return "times"

    graph_memory.keep_while_capturing(CaptureParts(worker=Worker, torch=torch))
    return Worker()


def test_memory_is_kept_while_graphs_are_captured_and_freed_once_at_the_end() -> None:
    torch = Torch()
    assert worker_of(torch, graphs=99).compile_or_warm_up_model() == "times"
    assert torch.emptied == [1, 1]
    torch.cuda.empty_cache()
    assert torch.emptied == [2, 1], "later it is freed as ever"


def test_after_a_failed_capture_memory_can_be_freed_again() -> None:
    torch = Torch()
    with pytest.raises(MemoryError):
        worker_of(torch, graphs=1, error=MemoryError()).compile_or_warm_up_model()
    assert torch.emptied == [1, 1]
    torch.cuda.empty_cache()
    assert torch.emptied == [2, 1]


class Renderer:
    def __init__(self, fails: bool) -> None:
        self.fails, self.rendered = fails, list[object]()

    def render_chat(self, conversations: list[object], parameters: object) -> None:
        self.rendered.append(parameters)
        if self.fails:
            raise LookupError("no chat template")


@pytest.mark.parametrize("fails", [False, True], ids=["a chat model", "no chat template"])
def test_the_chat_template_is_used_as_soon_as_there_is_a_renderer(fails: bool) -> None:
    engine = SimpleNamespace(renderer_from_config=Renderer)
    parts = RendererParts(engine=engine, chat_parameters=lambda arguments: f"of {arguments}")
    early_work.render_early(parts, "the server")
    renderer = engine.renderer_from_config(fails)
    assert renderer.rendered == ["of the server"]


class Manager:
    """vLLM's manager of grammars: it loads the tokenizer when it is made."""

    module: Any

    def __init__(self) -> None:
        self.vllm_config = SimpleNamespace(model_config="the model")
        self.tokenizer = self.module.cached_tokenizer_from_config(model_config=self.vllm_config.model_config)


def grammars(loaded: list[str]) -> tuple[later.LateTokenizer, type[Manager]]:
    def load(model_config: str) -> str:
        loaded.append(model_config)
        return "a tokenizer"

    module = SimpleNamespace(cached_tokenizer_from_config=load)
    manager = type("OneManager", (Manager,), {"module": module})
    tokenizer = later.LateTokenizer(GrammarParts(manager=manager, module=module))
    tokenizer.install()
    return tokenizer, manager


def test_the_engine_core_loads_the_tokenizer_when_a_request_needs_it_and_once() -> None:
    loaded: list[str] = []
    _, manager = grammars(loaded)
    made = manager()
    assert loaded == []
    assert (made.tokenizer, made.tokenizer) == ("a tokenizer", "a tokenizer")
    assert loaded == ["the model"]
    made.tokenizer = "another"
    assert made.tokenizer == "another"


def test_the_engine_core_loads_the_tokenizer_a_while_after_it_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(later, "PAUSE", 0.01)
    loaded: list[str] = []
    tokenizer, manager = grammars(loaded)
    made = manager()
    tokenizer.load_soon()
    until = time.monotonic() + 60
    while not loaded and time.monotonic() < until:
        time.sleep(0.01)
    assert made.tokenizer == "a tokenizer"
    assert loaded == ["the model"]


@pytest.mark.parametrize("error", [ImportError("gone"), AttributeError("other"), UnexpectedError("takes (a)")])
def test_a_start_does_without_a_shortcut_for_which_vllm_is_not_as_expected(error: Exception) -> None:
    def fail() -> None:
        raise error

    adapter: Any = SimpleNamespace(
        IMPORTED_ALONE=(), capture_parts=fail, graph_parts=fail, grammar_parts=fail, renderer_parts=fail
    )
    log: list[str] = []
    core = shortcuts.CoreShortcuts(adapter, log.append, on_device=True)
    core.start_the_rest()
    shortcuts.of_server(adapter, "arguments", log.append)
    assert core.graphs is None
    assert log == [f"leaves something as vLLM does it: {error}"] * 4


@pytest.mark.parametrize(("given", "prepared"), [("", []), ("1", ["on the device"])])
def test_inductor_is_prepared_only_where_synchronization_is_checked(
    given: str, prepared: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(shortcuts.CHECKS_SYNCHRONIZATION, given)
    done: list[str] = []
    compiler = SimpleNamespace(trigger_inductor_lazy_init=done.append)

    def fail() -> None:
        raise UnexpectedError("")

    worker = SimpleNamespace(compile_or_warm_up_model=lambda self: None)
    parts: Any = CaptureParts(worker=worker, torch=Torch(), compiler=compiler)  # type: ignore[arg-type]
    adapter: Any = SimpleNamespace(IMPORTED_ALONE=(), capture_parts=lambda: parts, graph_parts=fail, grammar_parts=fail)
    shortcuts.CoreShortcuts(adapter, lambda _: None, on_device=True)
    compiler.trigger_inductor_lazy_init("on the device")
    assert done == prepared
