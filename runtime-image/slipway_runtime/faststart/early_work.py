"""The server's work that doesn't need the engine core, done while that one still loads the model.

vLLM's server loads the tokenizer a second time when it compiles the chat template, which it does only once the engine
core is ready. It keeps the result, so that its own warm-up later takes no time.
"""

from __future__ import annotations

import functools
from contextlib import suppress
from typing import Any

from slipway_runtime.faststart.adapters.parts import RendererParts

CONVERSATION = [{"role": "user", "content": "warmup"}]  # vLLM's own


def render_early(parts: RendererParts, arguments: Any) -> None:
    """Replaces the function that makes the server's renderer."""
    make = parts.engine.renderer_from_config

    @functools.wraps(make)
    def renderer_from_config(*args: Any, **kwargs: Any) -> Any:
        renderer = make(*args, **kwargs)
        with suppress(Exception):  # many models have no chat template; vLLM's own warm-up reports what matters
            renderer.render_chat([CONVERSATION], parts.chat_parameters(arguments))
        return renderer

    parts.engine.renderer_from_config = renderer_from_config
