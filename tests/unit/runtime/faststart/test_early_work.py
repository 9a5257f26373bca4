"""What the fast start improves in vLLM besides its order, each of which a start can do without."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from slipway_runtime.faststart import early_work, graph_memory
from slipway_runtime.faststart.adapters.parts import CaptureParts, RendererParts


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
