"""From the command line to a running engine: the model, the launch, the checks."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from slipway_runtime import preflight
from slipway_runtime.compiled.cache import CompileCache
from slipway_runtime.compiled.key import Start, digest_of_configs, key_of
from slipway_runtime.contract.engines import BUILT_IN, VLLM
from slipway_runtime.contract.pod import PARSERS
from slipway_runtime.contract.tasks import Task
from slipway_runtime.engines import llamacpp, vllm
from slipway_runtime.engines.engine import Launch, Parsers, StartRefusedError, Wish
from slipway_runtime.engines.formats import Template, value_of
from slipway_runtime.engines.planned import PlannedMemory
from slipway_runtime.faststart import hash_seed, import_cache, read_ahead_notes, triton_names
from slipway_runtime.faststart.plan import Circumstances, faster, flags_of, kv_cache_bytes, variables_of
from slipway_runtime.guard import settings as guards
from slipway_runtime.models import Facts, LocatedModel, ModelError, find_model, read_model
from slipway_runtime.models.tokenizer import read_template
from slipway_runtime.preflight.checks.memory import loaded_weights
from slipway_runtime.preflight.in_use import memory_in_use
from slipway_runtime.preflight.machine import memory_limit
from slipway_runtime.supervisor.options import Options
from slipway_runtime.supervisor.run import run
from slipway_runtime.supervisor.start_trace import PARENT, StartTrace
from slipway_runtime.supervisor.timeouts import Timeouts
from slipway_runtime.versions import version_of

if TYPE_CHECKING:
    from slipway_runtime.compiled_image import Push

MAX_IN_FLIGHT = {each.name: each.most_in_flight for each in BUILT_IN}
"""The default for one pod. Requests that wait in the engine's queue count; further ones get 503 with Retry-After."""


IN_SCRATCH = {
    **vllm.CACHES,
    triton_names.ENVIRONMENT: "triton_key",
    import_cache.ENVIRONMENT: "survey",
    read_ahead_notes.ENVIRONMENT: "wanted",
}
"""Variables by which vLLM and the fast start find their files in the scratch folder of the compile cache."""


class _Planned(NamedTuple):
    """What follows from the command line and the model's files."""

    facts: Facts
    parsers: Parsers | None  # None: the model generates no text
    launch: Launch
    settings: preflight.EngineSettings


def serve(arguments: argparse.Namespace) -> int:
    trace = _start_trace(arguments) if arguments.traces_endpoint else None
    return run(lambda: _prepared(arguments), termination_log=arguments.termination_log, trace=trace)


def _start_trace(arguments: argparse.Namespace) -> StartTrace:
    from slipway_runtime.tracing.exporter import Exporter  # noqa: PLC0415 - most pods send no traces

    if arguments.served_name and "service.name=" not in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        # for all spans: the runtime's and the engine's
        os.environ.setdefault("OTEL_SERVICE_NAME", arguments.served_name)
    return StartTrace(
        Exporter.to(arguments.traces_endpoint),
        parent=os.environ.get(PARENT),
        attributes={"slipway.engine": arguments.engine, "slipway.model": arguments.served_name or str(arguments.model)},
    )


def check(arguments: argparse.Namespace) -> int:
    """Prints what each check finds; returns the exit code that serving would end with."""
    try:
        facts, _, _, settings = _planned(arguments, find_model(arguments.model, arguments.engine))
    except (ModelError, StartRefusedError) as refusal:
        sys.stderr.write(f"slipway-runtime: {refusal.failure.message} {refusal.failure.remedy}\n")
        return refusal.failure.reason.exit_code
    code = 0
    for finding in preflight.examine(settings, facts, preflight.read_host(settings)):
        said = finding.failure.message if finding.failure else finding.trouble or "well"
        told = said.encode(errors="backslashreplace").decode()  # the name of a folder may not be valid Unicode
        sys.stdout.write(f"{finding.check}: {told} ({finding.seconds * 1000:.1f} ms)\n")
        code = finding.failure.reason.exit_code if finding.failure else code
    return code


def _prepared(arguments: argparse.Namespace) -> tuple[Launch, Options]:
    push = _push(arguments)
    found = find_model(arguments.model, arguments.engine)
    facts, parsers, launch, settings = _planned(arguments, found)
    host = preflight.read_host(settings)
    launch, compiled = _with_compile_cache(arguments, found.path, launch, settings.device, host)
    if failure := preflight.run(settings, facts, host):
        raise StartRefusedError.because(failure)
    options = _options(arguments, facts, settings.device, host, compiled)
    options = replace(options, about={**options.about, PARSERS: parsers and parsers.as_json()})
    options = replace(options, environment=lambda: _hash_seed(launch) if compiled.is_on else {})
    if push:
        options = replace(options, afterwards=partial(push.carry_out, compiled.report.key or ""))
    return launch, options


def _push(arguments: argparse.Namespace) -> Push | None:
    if not arguments.only_warm:
        return None
    from slipway_runtime.compiled_image import Push  # noqa: PLC0415 - what speaks to a registry, no replica imports

    return Push.wanted(arguments)


def _with_compile_cache(
    arguments: argparse.Namespace, model: Path, launch: Launch, device: str, host: preflight.Host
) -> tuple[Launch, CompileCache]:
    """Starts to read the cache, so that this and the checks take place at the same time."""
    if arguments.engine != VLLM.name:
        return launch, CompileCache.off("The engine compiles nothing.")
    if arguments.cache is None:
        if arguments.only_warm:
            raise StartRefusedError("warm fills the folder of --cache, and --cache is missing.", "Add --cache=PATH.")
        return launch, CompileCache.off("No store was given by --cache.")
    version = version_of(*VLLM.distributions)
    launch = replace(launch, environment={**launch.environment, **variables_of(launch, version, device)})
    scratch = Path(launch.environment.get("VLLM_CACHE_ROOT") or Path.home() / ".cache/vllm").parent
    start = Start(
        engine=f"vLLM {version}",
        device=device,
        devices=[_in_words(each) for each in host.devices],
        flags=flags_of(launch),
        environment=launch.environment,
        model=digest_of_configs(model),
        folder=str(scratch),
    )
    cache = CompileCache.open(arguments.cache, key_of(start), within=scratch, limit=arguments.cache_limit)
    return replace(launch, environment={**launch.environment, **cache.environment(IN_SCRATCH)}), cache


def _hash_seed(launch: Launch) -> dict[str, str]:
    """Returns the seed that belongs to the entry, once that was read: names of compiled code depend on it."""
    return {hash_seed.ENVIRONMENT: hash_seed.seed_in(launch.environment)}


def _in_words(device: preflight.Device) -> str:
    capability = ".".join(map(str, device.capability or ()))
    return f"{device.name} {capability}".rstrip()


def _planned(arguments: argparse.Namespace, found: LocatedModel) -> _Planned:
    facts = read_model(found)
    task = arguments.task or _found_task(arguments, facts)
    parsers = _parsers(arguments, facts) if task in ("", Task.GENERATE) else None
    guard = _guard(arguments, found.path, task, parsers)
    wish = Wish(
        model=found.path,
        name=arguments.served_name,
        host=arguments.host,
        port=arguments.port,
        mode=arguments.mode,
        task=task,
        flags=tuple(arguments.flags),
        environment={**os.environ, guards.ENVIRONMENT: json.dumps(guard)},
        traces=arguments.traces_endpoint or "",
        parsers=parsers,
        batched_tokens=arguments.batched_tokens if arguments.engine == "llamacpp" else None,
    )
    if arguments.engine == "llamacpp":
        llamacpp.refuse_other_task(task, facts.task)
        return _Planned(facts, parsers, *_llamacpp(arguments, wish))
    return _Planned(facts, parsers, *_vllm(arguments, wish, facts))


def _template(flags: Sequence[str], facts: Facts) -> Template:
    """The chat template that the engine will use: one of its own flags, or else the model's."""
    file, given = value_of(flags, "chat-template-file"), value_of(flags, "chat-template")
    if file is None and given and os.path.isfile(given):  # noqa: PTH113 - Path raises for a long text that is no path
        file = given
    try:
        text = read_template(Path(file)) if file is not None else given or facts.chat_template
    except ModelError as error:
        told = f"The chat template can't be read: {error.failure.message}"
        raise StartRefusedError(told, "Correct its path in engine.extraArgs, or mount it by pod.volumes.") from None
    return Template(text=text, model_type=facts.model_type, tokenizer=facts.tokenizer or "")


def _parsers(arguments: argparse.Namespace, facts: Facts) -> Parsers:
    template = _template(arguments.flags, facts)
    wanted = {"tool_calls": arguments.tool_calls, "reasoning": arguments.reasoning}
    if arguments.engine == "llamacpp":
        return llamacpp.parsers_for(template, **wanted)
    return vllm.parsers_for(vllm.installed(), template, arguments.flags, **wanted)


def _found_task(arguments: argparse.Namespace, facts: Facts) -> str:
    """Returns what the model is for by its files; nothing where the spec's own flags may make another of it."""
    is_changed = arguments.engine == VLLM.name and vllm.names_of(arguments.flags) & vllm.tasks.CHANGE_IT
    return "" if is_changed else facts.task


def _guard(arguments: argparse.Namespace, model: Path, task: str, parsers: Parsers | None) -> dict[str, object]:
    """Returns the guard's settings: from options, from its environment variable, and from what holds for all."""
    told = {
        "keys": str(arguments.api_keys) if arguments.api_keys else None,
        "requests_per_minute_per_key": arguments.requests_per_minute,
        "tokens_per_minute_per_key": arguments.tokens_per_minute,
        "max_in_flight": arguments.max_in_flight,
        "no_tools": (parsers and parsers.tool_calls.for_clients) or None,
        "traces_endpoint": arguments.traces_endpoint,
        "traces_sample_ratio": arguments.traces_sample_ratio if arguments.traces_endpoint else None,
    }
    try:
        given = json.loads(os.environ.get(guards.ENVIRONMENT) or "{}")
        settings = {
            "max_in_flight": MAX_IN_FLIGHT[arguments.engine],
            "model": arguments.served_name or "",
            "engine": arguments.engine,
            "task": task,
            # vLLM checks the model's name itself, adapters included; llama.cpp accepts any name.
            "models": [arguments.served_name or model.stem] if arguments.engine == "llamacpp" else [],
            **given,
            **{name: value for name, value in told.items() if value is not None},
        }
        guards.GuardSettings.from_json(json.dumps(settings))
    except (ValueError, TypeError, guards.SettingsError) as error:
        raise StartRefusedError(
            f"The guard's settings are not valid: {error}", f"Correct the variable {guards.ENVIRONMENT}."
        ) from None
    return settings


def _llamacpp(arguments: argparse.Namespace, wish: Wish) -> tuple[Launch, preflight.EngineSettings]:
    llamacpp.require()
    context_length = arguments.context_length or llamacpp.CONTEXT_LENGTH
    parallel = arguments.parallel or llamacpp.PARALLEL[wish.mode]
    launch = llamacpp.launch(wish, context_length=arguments.context_length, parallel=arguments.parallel)
    return launch, preflight.EngineSettings(engine="llamacpp", context_length=context_length, parallel=parallel)


def _vllm(arguments: argparse.Namespace, wish: Wish, facts: Facts) -> tuple[Launch, preflight.EngineSettings]:
    device = arguments.device or device_here()
    planned = PlannedMemory(arguments.kv_cache_bytes, arguments.weights_bytes)
    launch = vllm.launch(
        wish,
        vllm.installed(),
        device=device,
        allowed=arguments.allow,
        memory=memory_limit(),
        weights=facts.weight_bytes,
        planned=planned,
    )
    settings = preflight.of_vllm(launch.command, launch.environment, device=device)
    if arguments.start == "fast":
        here = _circumstances(arguments, wish, facts, settings, planned)
        launch = faster(launch, wish.model, here)
        settings = replace(settings, kv_cache_bytes=settings.kv_cache_bytes or kv_cache_bytes(here))
    return launch, settings


def _circumstances(
    arguments: argparse.Namespace,
    wish: Wish,
    facts: Facts,
    settings: preflight.EngineSettings,
    planned: PlannedMemory,
) -> Circumstances:
    device = next(iter(preflight.read_host(settings).devices), None)
    return Circumstances(
        version=version_of(*VLLM.distributions),
        device=settings.device,
        accelerator=device.name if device else "",
        weights=loaded_weights(settings, facts) // settings.devices,
        planned=planned,
        sequences=settings.sequences,
        flags=frozenset(vllm.names_of(wish.flags)),
        knows_flag=vllm.installed().knows,
    )


def _options(
    arguments: argparse.Namespace, facts: Facts, device: str, host: preflight.Host, compiled: CompileCache
) -> Options:
    endpoints, drain = arguments.endpoints_delay, arguments.drain_limit
    if arguments.only_warm:
        endpoints = drain = 0
    return Options(
        timeouts=Timeouts(start=arguments.start_timeout, endpoints=endpoints, drain=drain),
        host=arguments.host,
        port=arguments.management_port,
        stuck_after=arguments.stuck_after,
        only_warm=arguments.only_warm,
        compiled=compiled,
        about={"model": facts.as_json()},
        memory_in_use=partial(memory_in_use, device, host.devices),
    )


def device_here(devices: Path = Path("/dev"), path: Sequence[str] | None = None) -> str:
    """Returns the kind of accelerator that the container was given; without any, the kind that vLLM was built for."""
    if (devices / "nvidiactl").exists() or (devices / "dxg").exists():
        return "cuda"
    if (devices / "kfd").exists():
        return "rocm"
    build = version_of("vllm", path=path)  # the build for CPUs is a distribution of another name
    if "+rocm" in build:
        return "rocm"
    return "cuda" if build and "+cpu" not in build else "cpu"
