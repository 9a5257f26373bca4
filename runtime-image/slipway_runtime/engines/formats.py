"""In which format a model writes its calls of tools and its reasoning, and so which parser of vLLM reads them. Pure.

Both follow from the chat template, which also shows whether the model can be given tools at all. A model with Mistral's
own tokenizer needs none. The spec, or a flag of vLLM's own, may name another parser.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from slipway_runtime.contract.parsers import REASONING_MARKS, TOOL_CALLS_MARKS, Marks
from slipway_runtime.engines.engine import Parser, StartRefusedError

AUTO, NONE = "Auto", "None"
IN_TEMPLATE = "template"  # what /info says of llama.cpp, whose parser follows from the template
TOOL_CALLS, REASONING = "tool calls", "reasoning"
_FIELDS = {TOOL_CALLS: "engine.toolCalls", REASONING: "engine.reasoning"}
_OPENS, _CLOSES = re.compile(r"\{[{%]"), re.compile(r"[}%]\}")
_STRING = re.compile(r"""'[^'\\]*+(?:\\.[^'\\]*+)*+(?:'|\\?\Z)|"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)""", re.DOTALL)
_TOOLS = re.compile(r"\btools\b")

SWITCHED_OFF = "This model is served without tool calls."
NO_TOOLS_IN_TEMPLATE = "This model's chat template has no place for tools."
UNKNOWN_FORMAT = "It isn't known how this model writes calls of tools."


@dataclass(frozen=True, kw_only=True)
class Template:
    """A model's chat template, and what else distinguishes the models that have the same marks in theirs."""

    text: str = ""
    model_type: str = ""
    tokenizer: str = ""  # the name of its file

    @property
    def is_mistrals(self) -> bool:
        """Whether Mistral's own tokenizer renders the messages, tools included, as it does without a template."""
        return not self.text and self.tokenizer == "tekken.json"

    @property
    def takes_tools(self) -> bool:
        """Whether it reads the variable `tools`."""
        return any(_TOOLS.search(_STRING.sub("", tag)) for tag in _tags(self.text))


def _tags(text: str) -> Iterator[str]:
    """What Jinja evaluates. In linear time: the model's author may have written anything."""
    at = 0
    while (opens := _OPENS.search(text, at)) and (closes := _CLOSES.search(text, opens.end())):
        yield text[opens.end() : closes.start()]
        at = closes.end()


def of_vllm(kind: str, wanted: str, template: Template, known: Collection[str], *, by_flag: str | None) -> Parser:
    """`wanted`: of the spec; `known`: the names that the installed vLLM has; `by_flag`: of the engine's own flags."""
    if by_flag is not None:
        return Parser(name=by_flag, why="a flag of vLLM's own names it")
    if wanted == NONE:
        return Parser(why=f"{_FIELDS[kind]} is None", for_clients=SWITCHED_OFF)
    if wanted != AUTO:
        if wanted not in known:
            raise StartRefusedError(
                f"This vLLM has no parser {wanted} for {kind}.",
                f"Write one of these into {_FIELDS[kind]}: {', '.join(sorted(known))}.",
            )
        return Parser(name=wanted, why=f"{_FIELDS[kind]} names it")
    return _recognised(kind, template, known)


def _recognised(kind: str, template: Template, known: Collection[str]) -> Parser:
    rows = TOOL_CALLS_MARKS if kind == TOOL_CALLS else REASONING_MARKS
    name = "mistral" if kind == TOOL_CALLS and template.is_mistrals else _first_that_fits(rows, template)
    if name and name in known:
        what = "tokenizer" if template.is_mistrals else "chat template or type"
        return Parser(name=name, why=f"the model's {what} is that of models whose {kind} it parses")
    if kind == TOOL_CALLS and not (template.takes_tools or template.is_mistrals):
        why = "the model has no chat template, or one without tools: a template with them is set by --chat-template"
        return Parser(why=why, for_clients=NO_TOOLS_IN_TEMPLATE)
    if name:
        why = f"its parser would be {name}, which this vLLM doesn't have: use a newer image"
    else:
        why = f"no parser is known for its chat template: {_FIELDS[kind]} can name one"
    return Parser(why=why, for_clients=UNKNOWN_FORMAT)


def _first_that_fits(rows: Mapping[str, Marks], template: Template) -> str:
    text = template.text.replace('\\"', '"')  # as the strings within it read
    return next((name for name, marks in rows.items() if _fits(marks, text, template.model_type)), "")


def _fits(marks: Marks, text: str, model_type: str) -> bool:
    return (
        (not marks.types or model_type in marks.types)
        and all(each in text for each in marks.has)
        and not any(each in text for each in marks.hasnt)
    )


def of_llamacpp(kind: str, wanted: str, template: Template) -> Parser:
    if wanted == NONE:
        return Parser(why=f"{_FIELDS[kind]} is None", for_clients=SWITCHED_OFF)
    if wanted != AUTO:
        raise StartRefusedError(
            f"{_FIELDS[kind]} is {wanted}, and llama.cpp finds the format in the chat template itself.",
            f"Set {_FIELDS[kind]} to Auto or None.",
        )
    if kind == TOOL_CALLS and not template.takes_tools:
        why = "the model has no chat template, or one without tools: one with them is set by --chat-template-file"
        return Parser(why=why, for_clients=NO_TOOLS_IN_TEMPLATE)
    return Parser(name=IN_TEMPLATE, why="llama.cpp finds the format in the chat template")


def value_of(flags: Collection[str], name: str) -> str | None:
    """The last value of a flag of the engine's own, as --name=VALUE or as two words; None: it isn't given."""
    found = None
    for word, following in pairwise([*flags, ""]):
        given, equals, value = word.partition("=")
        if given.replace("_", "-") == f"--{name}":
            found = value if equals else following
    return found
