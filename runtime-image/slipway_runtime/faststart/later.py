"""The engine core's work that no first request waits for, unless it needs the result.

vLLM loads the tokenizer in the engine core, too, only for requests with a grammar; and it prepares Inductor for models
that are compiled while requests run, which never happens to a model whose code was found in the cache.
"""

from __future__ import annotations

import threading
from typing import Any

from slipway_runtime.faststart.adapters.parts import GrammarParts

PAUSE = 5.0  # seconds in which the first requests have the processor for themselves


def leave_inductor(compiler: Any) -> None:
    """Replaces the function that prepares it, in its module."""
    compiler.trigger_inductor_lazy_init = lambda device=None: None


class LateTokenizer:
    """The tokenizer of the manager of grammars, loaded by a thread after a while or when it is used."""

    def __init__(self, parts: GrammarParts) -> None:
        self._parts = parts
        self._load = parts.module.cached_tokenizer_from_config
        self._loading = threading.Lock()
        self._managers: list[Any] = []

    def install(self) -> None:
        self._parts.module.cached_tokenizer_from_config = lambda model_config: None
        self._parts.manager.tokenizer = self

    def load_soon(self) -> None:
        timer = threading.Timer(PAUSE, self._load_all)
        timer.daemon = True
        timer.start()

    def _load_all(self) -> None:
        for manager in self._managers:
            self.__get__(manager)

    def __set__(self, manager: Any, tokenizer: object) -> None:
        self._managers.append(manager)
        if tokenizer is not None:
            vars(manager)["tokenizer"] = tokenizer

    def __get__(self, manager: Any, owner: type[Any] | None = None) -> Any:
        if manager is None:
            return self
        with self._loading:
            if "tokenizer" not in vars(manager):
                vars(manager)["tokenizer"] = self._load(model_config=manager.vllm_config.model_config)
        return vars(manager)["tokenizer"]
