"""From the command line to a running engine: which model, which checks, which launch."""

from __future__ import annotations

import argparse
import os
from importlib.metadata import version
from pathlib import Path

from slipway_runtime.engines import llamacpp, vllm
from slipway_runtime.engines.engine import Launch, Wish
from slipway_runtime.models import Facts, Found, find_model, read_model
from slipway_runtime.supervisor.drain import Patience
from slipway_runtime.supervisor.run import run
from slipway_runtime.supervisor.supervisor import Options

CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def serve(arguments: argparse.Namespace) -> int:
    return run(lambda: prepare(arguments), termination_log=arguments.termination_log)


def check(arguments: argparse.Namespace) -> int:
    raise NotImplementedError


def prepare(arguments: argparse.Namespace) -> tuple[Launch, Options]:
    found = find_model(arguments.model, arguments.engine)
    facts = read_model(found)
    return _launch(arguments, found, facts), _options(arguments, facts)


def _launch(arguments: argparse.Namespace, found: Found, facts: Facts) -> Launch:
    wish = Wish(
        model=found.path,
        name=arguments.served_name,
        host=arguments.host,
        port=arguments.port,
        mode=arguments.mode,
        flags=tuple(arguments.flags),
        environment=dict(os.environ),
    )
    if arguments.engine == "llamacpp":
        return llamacpp.launch(wish, context_length=arguments.context_length, parallel=arguments.parallel)
    return vllm.launch(
        wish,
        vllm.installed(),
        device=arguments.device or device_here(),
        allowed=arguments.allow,
        memory=memory_limit(),
        weights=facts.weight_bytes,
    )


def _options(arguments: argparse.Namespace, facts: Facts) -> Options:
    start, warm = arguments.start_timeout, arguments.only_warm
    patience = (
        Patience(start=start, endpoints=0, drain=0)
        if warm
        else Patience(start=start, endpoints=arguments.endpoints_delay, drain=arguments.drain_limit)
    )
    return Options(
        patience=patience,
        host=arguments.host,
        port=arguments.management_port,
        stuck_after=arguments.stuck_after,
        only_warm=arguments.only_warm,
        about={"runtime": version("slipway-runtime"), "model": facts.as_json()},
    )


def device_here() -> str:
    """The kind of accelerator that the container was given."""
    if Path("/dev/nvidiactl").exists() or Path("/dev/dxg").exists():
        return "cuda"
    return "rocm" if Path("/dev/kfd").exists() else "cpu"


def memory_limit() -> int | None:
    """Bytes that the container may use, by cgroup v2 or v1."""
    for file in CGROUP_LIMITS:
        if file.is_file() and (text := file.read_text().strip()) != "max":
            limit = int(text)
            return limit if limit < 2**60 else None
    return None
