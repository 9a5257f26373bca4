"""Serves a GGUF model with llama.cpp's own HTTP server, from the package xllamacpp.

The server runs in a child process. As PID 1 this process gets no signal that it doesn't ask for, and Python could not
react to one while the model loads: xllamacpp holds the interpreter's lock for all of that time.
"""

import importlib
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

STOP = {signal.SIGTERM, signal.SIGINT}


@dataclass(frozen=True, kw_only=True)
class Settings:
    model: Path
    host: str
    port: int
    context_length: int
    parallel: int


def serve(settings: Settings) -> int:
    """Serves until the process is told to stop (0), or the engine ends by itself (its exit code, never 0)."""
    # Blocked signals wait until sigwait takes them, for PID 1 too; so none is lost, whenever it comes.
    signal.pthread_sigmask(signal.SIG_BLOCK, {*STOP, signal.SIGCHLD})
    engine = os.fork()
    if engine == 0:
        _become_engine(settings)
    while signal.sigwait({*STOP, signal.SIGCHLD}) == signal.SIGCHLD:
        if (status := _bury(engine)) is not None:
            return _ended_by_itself(status)
    os.kill(engine, signal.SIGKILL)  # it has nothing to save
    os.waitpid(engine, 0)
    return 0


def _bury(engine: int) -> int | None:
    """Reaps every child that has ended, for PID 1 inherits orphans; the engine's wait status if it is among them."""
    while True:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == engine:
            return status
        if pid == 0:
            return None


def _ended_by_itself(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        _say(f"llama.cpp was ended by {signal.Signals(-code).name}.")
        return 128 - code
    return code or 1


def _become_engine(settings: Settings) -> NoReturn:
    """The child's whole life. A terminal's Ctrl-C reaches it too, but to stop it is the parent's business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {*STOP, signal.SIGCHLD})
    try:
        _run_engine(settings)
    except ModuleNotFoundError as missing:
        _say(f"{missing.name} is not installed; install slipway-runtime with its extra llamacpp.")
    except Exception as error:
        _say(f"llama.cpp cannot serve {settings.model}, its own lines above say why: {error}")
    finally:
        os._exit(1)


def _run_engine(settings: Settings) -> NoReturn:
    xllamacpp: Any = importlib.import_module("xllamacpp")  # 100 MB that the parent has no use for
    server = xllamacpp.Server(_parameters(xllamacpp.CommonParams(), settings))
    _say(f"Serving {settings.model} at {server.listening_address}.")
    while True:
        signal.pause()


def _parameters(parameters: Any, settings: Settings) -> Any:
    """Fills in xllamacpp's CommonParams."""
    parameters.model.path = str(settings.model)
    parameters.model_alias = {settings.model.stem}
    parameters.hostnames = [settings.host]
    parameters.port = settings.port
    parameters.n_parallel = settings.parallel
    parameters.n_ctx = settings.context_length * settings.parallel  # llama.cpp divides it among the slots
    threads = usable_cpus(len(os.sched_getaffinity(0)), cpu_quota(Path("/sys/fs/cgroup")))
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = threads
    parameters.fit_params = False  # it makes sizes fit a GPU's memory, and takes as long as loading the model
    parameters.cache_ram_mib = 0  # its default, 8 GiB beside the model, would break a pod's memory limit
    parameters.cache_idle_slots = False  # they go to that cache
    parameters.endpoint_metrics = True
    parameters.ui = False
    return parameters


def _say(sentence: str) -> None:
    sys.stderr.write(f"slipway-runtime: {sentence}\n")


def usable_cpus(allowed: int, quota: float | None) -> int:
    """Threads that can all run at once: one more than the quota, and every step waits for the one that is throttled."""
    return max(1, min(allowed, int(quota) if quota else allowed))


def cpu_quota(cgroups: Path) -> float | None:
    """The CPUs that the container may use up, by cgroup v2 or v1; None if there is no limit."""
    for names in (["cpu.max"], ["cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"]):
        files = [cgroups / name for name in names]
        if all(file.is_file() for file in files):
            quota, period = " ".join(file.read_text() for file in files).split()
            return None if quota in ("max", "-1") else int(quota) / int(period)
    return None
