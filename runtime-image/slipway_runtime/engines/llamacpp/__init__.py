"""llama.cpp, from the package xllamacpp: a GGUF model on CPUs."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import add
from pathlib import Path
from typing import Any, Self

from slipway_runtime.contract.engines import LLAMACPP
from slipway_runtime.contract.tasks import POOLING, RANK, Task, paths_of
from slipway_runtime.engines import formats
from slipway_runtime.engines.cpus import threads
from slipway_runtime.engines.engine import (
    Choice,
    Joined,
    Launch,
    Parsers,
    StartRefusedError,
    Wish,
    module,
    reachable,
    warm_up_of,
    work_of,
)
from slipway_runtime.engines.flags import objections
from slipway_runtime.engines.formats import Template

CONTEXT_LENGTH = 4096  # if none is given
PARALLEL = LLAMACPP.concurrency

MOMENTS = (
    (re.compile(r"load_model: loading model"), "loading"),
    (re.compile(r"init: model loaded"), "loaded"),
)
FACTS = (
    re.compile(
        r"n_slots = (?P<slots>\d+), n_ctx_slot = (?P<contextLength>\d+)(?:, kv_unified = '(?P<kvUnified>true|false)')?"
    ),
    # Not those that it repacks for the CPU: they are copies of mapped weights, whose pages the node can take back.
    re.compile(r"load_tensors: +(?!\S*REPACK)\S+ model buffer size = +(?P<weightsMiB>\d+\.\d+) MiB"),
    re.compile(r"llama_(?:kv_cache|memory_recurrent): size = +(?P<kvCacheMiB>\d+\.\d+) MiB"),
    re.compile(r"(?:sched_reserve|llama_context): +\S+ compute buffer size = +(?P<activationMiB>\d+\.\d+) MiB"),
)
JOINED: Mapping[str, Joined] = {"weightsMiB": add, "kvCacheMiB": add, "activationMiB": max}
"""Parts of the weights are mapped, others copied into another order; layers with a window have a cache of their own. A
draft model adds to both. The compute buffer may be reserved again."""
DETAILED, USUAL = 4, 3
"""Verbosity: only with the first does llama.cpp log what it takes of the memory; it would also log more about each
request."""
TEMPLATE_FILE = "chat_template_file"  # of llama.cpp's own server; CommonParams has the content
OURS = {"model", "model_alias", "hostnames", "port", "n_parallel", "n_ctx"}
"""Parameters that an option of slipway-runtime sets."""
FOREIGN = ("LLAMA_ARG_", "LLAMA_API_KEY", "GGML_BACKEND_PATH", "LD_PRELOAD", "LD_AUDIT")
"""Prefixes of variables that do the same as refused parameters, or that load libraries into the engine."""


NO_CREATED_SERIES = {"PROMETHEUS_DISABLE_CREATED_SERIES": "True"}
"""They would double the number of the guard's series, and are of no use."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of the engine's process, which gets them as JSON."""

    model: Path
    name: str
    host: str
    port: int
    context_length: int
    parallel: int
    threads: int
    parameters: Mapping[str, str]
    batched_tokens: int | None = None
    separates_reasoning: bool = True
    task: str = ""

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> Self:
        values = json.loads(text)
        return cls(**{**values, "model": Path(values["model"])})


def launch(wish: Wish, *, context_length: int | None = None, parallel: int | None = None) -> Launch:
    for name in sorted(wish.environment):
        if name.startswith(FOREIGN):
            raise StartRefusedError(
                f"The variable {name} is refused: it changes llama.cpp without any check.", "Leave it out."
            )
    if wish.task and not paths_of(Task(wish.task), LLAMACPP.name):
        raise StartRefusedError(
            f"llama.cpp can't serve a model whose task is {wish.task}.", "Use vLLM, or correct spec.model.task."
        )
    settings = Settings(
        model=wish.model,
        name=wish.name or wish.model.stem,
        host=wish.host,
        port=wish.port,
        context_length=context_length or CONTEXT_LENGTH,
        parallel=parallel or PARALLEL[wish.mode],
        threads=threads(),
        parameters=parameters_of(wish.flags),
        batched_tokens=wish.batched_tokens,
        separates_reasoning=wish.parsers is None or bool(wish.parsers.reasoning.name),
        task=wish.task,
    )
    return Launch(
        engine=LLAMACPP.name,
        distributions=LLAMACPP.distributions,
        command=(*module("slipway_runtime.engines.llamacpp.app"), settings.to_json()),
        environment={**NO_CREATED_SERIES, **wish.environment},
        host=reachable(wish.host),
        port=wish.port,
        health=LLAMACPP.ready_path,
        metrics=LLAMACPP.metrics.path,
        work=work_of(LLAMACPP.metrics),
        warm_up=warm_up_of(wish.task, settings.name, tokens=1),
        choices=tuple(_choices(settings, mode=wish.mode, context_length=context_length, parallel=parallel)),
        moments=MOMENTS,
        facts=FACTS,
        joined=JOINED,
        computes_on_cpus=True,
        stop=2.0,
    )


def parsers_for(template: Template, *, tool_calls: str, reasoning: str) -> Parsers:
    return Parsers(
        tool_calls=formats.of_llamacpp(formats.TOOL_CALLS, tool_calls, template),
        reasoning=formats.of_llamacpp(formats.REASONING, reasoning, template),
    )


def refuse_other_task(task: str, of_file: str) -> None:
    """How the vectors of a text's tokens become one result is in the file, and for ranks that needs weights of its own.
    Without it, llama.cpp would answer with errors, or with whatever is in its memory."""
    if task in (Task.EMBED, Task.RERANK) and task != of_file:
        raise StartRefusedError(
            f"The GGUF file is for the task {of_file} by its header, and not for {task}.",
            "Correct spec.model.task, or convert the model to GGUF with the files that say how it pools.",
        )


def require() -> None:
    if importlib.util.find_spec("xllamacpp") is None:
        raise StartRefusedError(
            "The package xllamacpp is not installed.", "Install slipway-runtime with its extra llamacpp."
        )


def parameters_of(flags: Sequence[str]) -> dict[str, str]:
    """The parameters of xllamacpp's CommonParams, by their own names, from flags such as `--n_batch=512`."""
    found = {}
    for objection in objections("llamacpp", flags):
        raise StartRefusedError(f"{objection.flag} {objection.why}.", "Leave it out.")
    for flag in flags:
        name, equals, value = flag.removeprefix("--").partition("=")
        if not (flag.startswith("--") and equals):
            raise StartRefusedError(f"{flag!r} is not a parameter of llama.cpp.", "Write parameters as --NAME=VALUE.")
        name = name.replace("-", "_")
        if name in OURS:
            raise StartRefusedError(f"--{name} is set by options of slipway-runtime.", "Use those options; see --help.")
        found[name] = value
    return found


def fill(parameters: Any, settings: Settings) -> Any:
    """Fills in xllamacpp's CommonParams; a parameter that was given by name wins."""
    parameters.model.path = str(settings.model)
    parameters.model_alias = {settings.name}
    parameters.hostnames = [settings.host]
    parameters.port = settings.port
    parameters.n_parallel = settings.parallel
    parameters.n_ctx = settings.context_length * settings.parallel  # llama.cpp divides it among the slots
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = settings.threads
    parameters.fit_params = False  # it fits sizes to a GPU's memory, and takes as long as loading the model
    parameters.cache_ram_mib = 0  # its default, 8 GiB besides the model, would exceed a pod's memory limit
    parameters.cache_idle_slots = False  # they are moved to that cache
    parameters.endpoint_metrics = True
    parameters.endpoint_slots = False  # it would show the requests of others
    parameters.ui = False
    parameters.offline = True  # nothing is ever downloaded
    parameters.sse_ping_interval = -1  # clients would take such a line in a stream for its first token
    if settings.batched_tokens:
        parameters.n_batch = parameters.n_ubatch = settings.batched_tokens
    if not settings.separates_reasoning:
        formats = type(parameters.reasoning_format)
        parameters.reasoning_format = formats.COMMON_REASONING_FORMAT_NONE
    if settings.task in POOLING:
        parameters.embedding = True
        # One step has all of a request's tokens: encoders see them all at once.
        parameters.n_batch = parameters.n_ubatch = settings.context_length
    if settings.task == Task.RERANK:
        parameters.pooling_type = type(parameters.pooling_type)(RANK)
    given = dict(settings.parameters)
    if TEMPLATE_FILE in given:
        parameters.chat_template = Path(given.pop(TEMPLATE_FILE)).read_text()
    for name, value in given.items():
        setattr(parameters, name, _like(getattr(parameters, name, None), name, value))
    return parameters


def _like(now: object, name: str, value: str) -> object:
    """The value, converted to the type of the parameter."""
    try:
        match now:
            case bool():
                return {"true": True, "false": False}[value.lower()]
            case int() | float():
                return type(now)(value)
            case str():
                return value
    except (KeyError, ValueError):
        raise StartRefusedError(
            f"--{name}={value} has a value of the wrong type.", f"Its default is {now!r}."
        ) from None
    raise StartRefusedError(f"llama.cpp has no parameter {name} that a flag can set.", "Leave it out.")


def _choices(settings: Settings, *, mode: str, context_length: int | None, parallel: int | None) -> list[Choice]:
    chosen = [Choice(f"threads={settings.threads}", "as many as the container's CPUs can run at the same time")]
    if parallel is None:
        chosen.append(Choice(f"parallel={settings.parallel}", f"the number of requests at a time in mode {mode}"))
    if context_length is None:
        chosen.append(Choice(f"context-length={settings.context_length}", "the default"))
    return chosen
