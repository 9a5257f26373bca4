"""The life of process 1: what is checked first, the engine, its end, and what is told of it."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from slipway_runtime import control, stopping
from slipway_runtime.contract.reasons import Reason
from slipway_runtime.engines.engine import ISOLATED, Launch, Refusal
from slipway_runtime.failure import Failure, termination_message, write_termination_message
from slipway_runtime.models import ModelError
from slipway_runtime.scratch import scratch_folder

from . import shared_memory
from .log import Log
from .options import Options
from .phases import Phases, age_of_process
from .process import EngineProcess
from .start_trace import StartTrace

DEEPEST_TRACE = 20  # calls
LONGEST_ERROR = 1000  # letters; it may quote what was read


def run(
    prepare: Callable[[], tuple[Launch, Options]], *, termination_log: Path, trace: StartTrace | None = None
) -> int:
    """The exit code: 0 if it was told to stop, else what the failure's class says."""
    stopping.obey()
    log, phases, trace = Log(), Phases(age=age_of_process()), trace or StartTrace()
    stopping.lead_to(lambda _: _leave(log))
    try:
        launch, options = prepare()
        phases.reach("checked")
        failure = _supervise(launch, options, log=log, phases=phases, trace=trace)
    except (Refusal, ModelError) as refusal:
        failure = refusal.failure
    except Exception as error:  # a cause that nobody has foreseen is told in the same form as all others
        failure = _broken(error, log)
    stopping.ignore()
    code = _tell(failure, log, termination_log)
    if failure:
        trace.failed(phases, failure)
    trace.close()
    return code


def _leave(log: Log) -> NoReturn:
    """At once, whatever is being read or imported: nothing was started yet."""
    log.say("Told to stop before the engine was started.")
    os._exit(0)


def _supervise(launch: Launch, options: Options, *, log: Log, phases: Phases, trace: StartTrace) -> Failure | None:
    for choice in launch.choices:
        log.say(f"{choice}.")
    told_to_stop: list[int] = []
    stopping.lead_to(told_to_stop.append)
    shared = shared_memory.names()
    with scratch_folder() as folder:
        guards = control.Control.create(folder / "control")
        told = {**ISOLATED, control.ENVIRONMENT: str(folder / "control"), **trace.environment}
        engine = EngineProcess(launch.command, {**launch.environment, **told})
        phases.reach("launched")
        log.start()
        try:
            # What it needs takes longer to import than all before: so it is imported beside the engine's start.
            from .supervisor import Supervisor  # noqa: PLC0415

            supervisor = Supervisor(launch, options, engine=engine, guards=guards, log=log, phases=phases, trace=trace)
            return supervisor.run(told_to_stop)
        except OSError as error:
            return _cannot_work(error)
        except Exception as error:
            return _broken(error, log)
        finally:
            _clear(engine, shared, log)
            guards.close()


def _clear(engine: EngineProcess, shared: frozenset[str], log: Log) -> None:
    """After the engine's end nothing of it is left."""
    if not engine.clear():
        log.say("Something that the engine started doesn't end; it is left to the kernel.")
    if os.getpid() == 1 and (names := shared_memory.clear(shared)):  # else others may share /dev/shm
        log.say(f"Removed what the engine left in shared memory: {', '.join(names)}.")


def _cannot_work(error: OSError) -> Failure:
    told = f"The container doesn't let slipway-runtime do its work: {error.strerror or error}."
    return Failure(Reason.POD_CONFIG_ERROR, told, "If an address is in use, choose another --management-port.")


def _broken(error: Exception, log: Log) -> Failure:
    """The log has the place in the code."""
    log.pass_on("".join(traceback.format_exception(error, limit=-DEEPEST_TRACE)).encode(errors="replace"))
    told = f"slipway-runtime itself failed: {type(error).__name__}: {str(error)[:LONGEST_ERROR]}"
    return Failure(Reason.UNKNOWN, told, "This is a bug, worth a report with the log.")


def _tell(failure: Failure | None, log: Log, termination_log: Path) -> int:
    if failure is None:
        log.close()
        return 0
    if not write_termination_message(failure, termination_log):
        log.pass_on(termination_message(failure).encode())
    log.say(f"{failure.reason}: {failure.message} {failure.remedy}".rstrip())
    log.close()
    return failure.reason.exit_code
