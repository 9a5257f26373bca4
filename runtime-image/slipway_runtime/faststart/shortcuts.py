"""What the fast start improves in vLLM besides the order of things. A start can do without each of it, so where vLLM is
not as expected, it is left as it is.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from types import ModuleType
from typing import Any

from slipway_runtime.faststart import early_work, graph_memory, later
from slipway_runtime.faststart.adapters.parts import UnexpectedError
from slipway_runtime.faststart.hollow_package import import_alone
from slipway_runtime.faststart.late_graphs import LateGraphs

Say = Callable[[str], None]
CHECKS_SYNCHRONIZATION = "VLLM_GPU_SYNC_CHECK"  # with it, Inductor must be prepared before requests run


class CoreShortcuts:
    """Those of the engine core."""

    def __init__(self, adapter: ModuleType, say: Say, *, on_device: bool) -> None:
        self.graphs: LateGraphs | None = None
        self._adapter, self._say = adapter, say
        self._tokenizer: later.LateTokenizer | None = None
        _if_as_expected(self._load_the_tokenizer_later, say)
        if on_device:
            _if_as_expected(self._import_less, say)
            _if_as_expected(self._keep_memory, say)
            _if_as_expected(self._capture_later, say)

    def start_the_rest(self) -> None:
        """Called when the engine core is ready."""
        if self._tokenizer:
            self._tokenizer.load_soon()

    def _import_less(self) -> None:
        for package, module in self._adapter.IMPORTED_ALONE:
            import_alone(package, module)

    def _keep_memory(self) -> None:
        parts = self._adapter.capture_parts()
        graph_memory.keep_while_capturing(parts)
        if parts.compiler and not os.environ.get(CHECKS_SYNCHRONIZATION):
            later.leave_inductor(parts.compiler)

    def _capture_later(self) -> None:
        graphs = LateGraphs(self._adapter.graph_parts(), self._say)
        graphs.install()
        self.graphs = graphs

    def _load_the_tokenizer_later(self) -> None:
        tokenizer = later.LateTokenizer(self._adapter.grammar_parts())
        tokenizer.install()
        self._tokenizer = tokenizer


def of_server(adapter: ModuleType, arguments: Any, say: Say) -> None:
    _if_as_expected(lambda: early_work.render_early(adapter.renderer_parts(), arguments), say)


def _if_as_expected(improve: Callable[[], None], say: Say) -> None:
    try:
        improve()
    except (ImportError, AttributeError, UnexpectedError) as error:
        say(f"leaves something as vLLM does it: {error}")
