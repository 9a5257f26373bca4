"""What llama.cpp reads in a request's body beyond the OpenAI API, and the bounds of each.

llama.cpp trusts every client: it reads a grammar recursively, unrolls a schema, and a few bytes can crash its process,
fill its memory, or keep it from other requests. So every member that it reads is in a table here: checked against
bounds, refused by name, or known to be harmless. Members in no table are ones that it doesn't read; they pass, because
clients send new members of the OpenAI API every month. A test finds members that the tables lack with each version of
llama.cpp.

vLLM has a type for each member, and checks them itself. Of it, only the size of schemas is checked here: it compiles
each into a grammar, however large.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from slipway_runtime.guard import errors, grammars, schemas
from slipway_runtime.guard.errors import ErrorResponse
from slipway_runtime.guard.scanner import LARGEST, LONG, LONGEST_NUMBER, STRING, THERE, Tree, Whole, text_of

MOST_REMEMBERED = 65536
"""Tokens that are looked back at for each new one."""
LONGEST_GRAMMAR = 4096
ANY = 1e15
NUMBERS: Mapping[str, tuple[float, float, str]] = {
    # from, to, and how an error describes the range. Those that all engines have are in `bodies`.
    **dict.fromkeys(("repeat_last_n", "dry_penalty_last_n"), (-1, MOST_REMEMBERED, f"from -1 to {MOST_REMEMBERED}")),
    **dict.fromkeys(("n_predict", "t_max_predict_ms"), (-1, ANY, "-1, 0 or more")),
    **dict.fromkeys(("reasoning_budget_tokens", "thinking_budget_tokens"), (-1, ANY, "-1, 0 or more")),
    **dict.fromkeys(("n_indent", "n_discard", "n_cache_reuse", "min_keep"), (0, ANY, "at least 0")),
    **dict.fromkeys(("typical_p", "xtc_probability", "xtc_threshold"), (0, 1, "from 0 to 1")),
    **dict.fromkeys(("repeat_penalty", "dry_base", "dry_multiplier"), (0, 1000, "from 0 to 1000")),
    **dict.fromkeys(("mirostat_tau", "mirostat_eta"), (0, 1000, "from 0 to 1000")),
    **dict.fromkeys(("dynatemp_range", "dynatemp_exponent"), (0, 1000, "from 0 to 1000")),
    "dry_allowed_length": (0, ANY, "at least 0"),
    "n_keep": (-1, ANY, "-1, 0 or more"),
    "top_n_sigma": (-1, 1000, "from -1 to 1000"),
    "mirostat": (0, 2, "0, 1 or 2"),
    "adaptive_target": (-1, 1, "from -1 to 1"),
    "adaptive_decay": (0, 0.99, "from 0 to 0.99"),
    "seed": (-(2**63), 2**64, "a 64-bit integer"),
    "id_slot": (-1, -1, "-1: clients can't choose the slot"),
    "top_n": (0, ANY, "at least 0"),
}
HARMLESS = (
    # Switches, and words that llama.cpp compares with a few that it knows.
    *("stream", "stream_options", "cache_prompt", "return_tokens", "return_progress", "timings_per_token", "verbose"),
    *("ignore_eos", "post_sampling_probs", "echo", "parse_tool_calls", "add_generation_prompt"),
    *("continue_final_message", "parallel_tool_calls", "tool_choice", "reasoning_format", "reasoning_effort"),
    *("encoding_format", "embd_normalize", "return_text", "add_special", "parse_special", "with_pieces", "thinking"),
    # The content; its bytes are bounded, and its tokens by the context.
    *("messages", "prompt", "input", "content", "tokens", "instructions", "system", "query", "documents", "texts"),
    *("metadata", "max_output_tokens", "best_of"),
)
REFUSED = (
    # With these, grammars and patterns are tried on every token, by other pattern engines, and without bounds.
    *("grammar_triggers", "grammar_lazy", "grammar_type", "preserved_tokens"),
    # How llama.cpp itself stores how to parse the output of a chat template.
    *("chat_format", "chat_parser", "generation_prompt", "reasoning_control"),
    *(f"reasoning_budget_{name}" for name in ("start_tag", "end_tag", "end_tags", "message")),
    # The author of the deployment decides how it is served, and with which adapters.
    *("lora", "backend_sampling", "sse_ping_interval"),
    *(f"speculative.{name}" for name in ("type", "types", "n_max", "n_min", "p_min", "p_split")),
    *(f"speculative.ngram_{name}" for name in ("size_n", "size_m", "min_hits", "m_hits")),
    # Of infilling, and of streams that are resumed: APIs that aren't served.
    *("input_prefix", "input_suffix", "input_extra", "conversation_ids", "conversation_id"),
)
"""Null and false are accepted, since they mean the same as leaving the member out."""

_TEXT = re.compile(rb'(?s)"[^"\\]*+(?:\\.[^"\\]*+)*+"')
LISTS: Mapping[str, tuple[int, int]] = {
    # The most commas and brackets, and the most bytes of each text; the value may be a text itself.
    **dict.fromkeys(("stop", "stop_sequences"), (64, 256)),  # a partial match costs the square of its length
    "samplers": (16, 16),
    "dry_sequence_breakers": (16, 64),  # for each, all tokens of the model are searched
    "response_fields": (64, 256),
    "logit_bias": (4096, 256),
    "chat_template_kwargs": (256, 4096),
}
MOST_TOOLS = 512
MOST_IN_SCHEMAS = 32_768
"""Values in all schemas of a body: 128 tools of 50 arguments have some 20,000."""

_FUNCTION: Tree = dict.fromkeys((b"parameters", b"input_schema"), Whole("schema tools"))
_FORMAT = Whole("schema response_format")
TOOLS: Tree = {None: {THERE: "tool tools", **_FUNCTION, b"function": _FUNCTION}}
TREE: Tree = {
    **{name.encode(): f"number {name}" for name in NUMBERS},
    **{name.encode(): f"refused {name}" for name in REFUSED},
    **{name.encode(): Whole(f"list {name}") for name in LISTS},
    b"grammar": {STRING: "grammar grammar"},
    b"json_schema": Whole("schema json_schema"),
    b"response_format": {b"schema": _FORMAT, b"json_schema": {b"schema": _FORMAT}},
    b"text": {b"format": {b"schema": Whole("schema text")}},
}


TREE_OF_VLLM: Tree = {
    **{name: TREE[name] for name in (b"response_format", b"text")},
    b"structured_outputs": {b"json": Whole("schema structured_outputs")},
}


class Members:
    """Checks the members of one body."""

    def __init__(self, *, only_sizes: bool = False) -> None:
        """`only_sizes`: of the schemas, for another engine than llama.cpp."""
        self._only_sizes = only_sizes
        self._tools = self._schemas = self._in_schemas = 0

    def wrong(self, what: str, word: bytes) -> ErrorResponse | None:
        """Returns why a body with this value is refused; `what` is a word of the tree."""
        kind, _, name = what.partition(" ")
        if kind == "number":
            return out_of_range(name, word, *NUMBERS[name])
        if kind == "refused":
            return None if word in (b"null", b"false") else errors.not_for_clients(name)
        why = self._counted(kind, word) or self._judged(kind, name, word)
        return errors.too_much(name, why) if why else None

    def _judged(self, kind: str, name: str, word: bytes) -> str:
        return _schema(word, only_size=self._only_sizes) if kind == "schema" else _JUDGES[kind](name, word)

    def _counted(self, kind: str, word: bytes) -> str:
        if kind == "tool":
            self._tools += 1
        elif kind == "schema":
            self._schemas += 1
            self._in_schemas += schemas.size_of(word)
        if self._tools > MOST_TOOLS or self._schemas > MOST_TOOLS:
            return f"more than {MOST_TOOLS} tools"
        return f"schemas of more than {MOST_IN_SCHEMAS} values" if self._in_schemas > MOST_IN_SCHEMAS else ""


def _grammar(_: str, word: bytes) -> str:
    if word == LONG or len(word) > LONGEST_GRAMMAR:
        return f"a text of more than {LONGEST_GRAMMAR} bytes"
    return grammars.wrong_in(text_of(word))


def _schema(word: bytes, *, only_size: bool) -> str:
    if word == LONG:
        return f"a schema of more than {LARGEST} bytes"
    return schemas.wrong_in(word, only_size=only_size) if word[:1] in b"{[" else ""


def _list(name: str, word: bytes) -> str:
    values, size = LISTS[name]
    if word == LONG or schemas.size_of(word) > values:
        return f"more than {values} values"
    longest = max(map(len, _TEXT.findall(word)), default=0)
    return f"a text of more than {size} bytes" if longest > size + 2 else ""


_JUDGES: Mapping[str, Callable[[str, bytes], str]] = {
    "grammar": _grammar,
    "list": _list,
    "tool": lambda *_: "",
}


def out_of_range(name: str, word: bytes, low: float, high: float, wanted: str) -> ErrorResponse | None:
    """Checks a number. Whether the value should be a number is for the engine to say."""
    if len(word) > LONGEST_NUMBER and word[:1] not in b'"[{':  # it was cut, so its value isn't known
        return errors.too_long_a_number(name)
    try:
        value = float(word)
    except ValueError:
        return None
    if low <= value <= high:
        return None
    return errors.out_of_range(name, word.decode("ascii", "replace"), wanted)
