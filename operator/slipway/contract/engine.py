"""What is known of an engine on both sides of the pod: its metrics, its probes, and how it is given the spec's fields.

engines.py, next to this file, has all of them; it is generated from slipway_runtime/engines/NAME/engine.yaml.

This file is the same on both sides of the pod, so its imports are relative: `make generate` copies it from
runtime-image/slipway_runtime/contract to operator/slipway/contract.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

ALL = "all"
"""In `Engine.runtimes`: for accelerators of every vendor."""


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """Where an engine's metrics are, and what they are called. A series may have labels: `requests{state=running}`."""

    port: int | None = None  # None: the port of the API
    path: str = "/metrics"
    in_flight: tuple[str, ...] = ()  # gauges: their sum is the number of requests that run or wait
    progress: tuple[str, ...] = ()  # counters: when one changes, the model was used
    alive: tuple[str, ...] = ()  # further counters: when one changes, the engine isn't stuck
    silent_until_used: bool = False  # before its first request it has none of these
    ttft: tuple[str, ...] = ()  # histograms of seconds: time to first token; of several, those that it has
    tpot: tuple[str, ...] = ()  # time per output token; of engines without it, between two tokens
    e2e: tuple[str, ...] = ()  # from a request to the end of its response
    prompt_tokens: tuple[str, ...] = ()  # counters: their sum is the number of tokens in all prompts
    output_tokens: tuple[str, ...] = ()  # counters: likewise of all responses
    preempted: tuple[str, ...] = ()  # counters: requests that lost their place in the KV cache, and were computed again
    speculated: tuple[str, ...] = ()  # counters of speculative decoding: drafts, their tokens, and those accepted


@dataclass(frozen=True, kw_only=True)
class Option:
    """How an engine is given one field of the spec."""

    flag: str = ""  # as `--flag=value`
    values: Mapping[str, str] | None = None  # the engine's words for the spec's; what isn't in it is not given
    if_true: str = ""  # for a field that is true or false: the flag for each
    if_false: str = ""
    variable: str = ""  # of the environment
    code: str = ""  # the function that writes it, of the operator's module for this engine


@dataclass(frozen=True, kw_only=True)
class Engine:
    """An engine, for the life of the program."""

    name: str
    title: str  # as its makers call it
    version: str  # whose flags, sentences and metrics are known
    built_in: bool = False  # it runs in an image of Slipway's, with slipway-runtime as process 1
    model_format: str  # by which KServe checks that the runtime serves the model
    distributions: tuple[str, ...] = ()  # of Python, that may have installed it
    needs_devices: bool  # it runs on accelerators alone
    runtimes: Mapping[str, str]  # the ServingRuntime with its image, by the vendor of the accelerator profile
    metrics: Metrics
    ready_path: str
    live_path: str = ""
    most_in_flight: int | None = None  # requests in one pod, if the spec sets no limit
    concurrency: Mapping[str, int] = field(default_factory=dict)  # requests at a time, by mode
    drains_for: str = ""  # how long it continues with running requests after SIGTERM; slipway-runtime drains on its own
    options: Mapping[str, Option] = field(default_factory=dict)  # by field of the spec, in the order of the arguments
    options_are_its_own: bool = False  # and so follow `--`; otherwise they are slipway-runtime's
    planned: Mapping[str, str] = field(default_factory=dict)
    """Options of slipway-runtime by what the plan computed: kvCache and weights, each the bytes of one device."""
    memory_share: str = ""  # its own flag for how much of a device's memory it may use, from 0 to 1
    compile_cache: str = ""  # slipway-runtime's option for the folder where compiled code outlives the pod
    refuses: tuple[str, ...] = ()  # fields of the spec that it can't carry out
    environment: Mapping[str, str] = field(default_factory=dict)  # variables of its container
