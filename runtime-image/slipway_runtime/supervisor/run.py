"""The life of process 1: the checks, the engine, its end, and the report of a failure."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from slipway_runtime import control, stopping
from slipway_runtime.contract.reasons import Reason
from slipway_runtime.engines.engine import ISOLATED, Launch, StartRefusedError
from slipway_runtime.failure import Failure, termination_message, write_termination_message
from slipway_runtime.models import ModelError
from slipway_runtime.scratch import scratch_folder
from slipway_runtime.supervisor import shared_memory
from slipway_runtime.supervisor.log import Log
from slipway_runtime.supervisor.options import Options
from slipway_runtime.supervisor.phases import PhaseRecorder, age_of_process
from slipway_runtime.supervisor.process import EngineProcess
from slipway_runtime.supervisor.start_trace import StartTrace

DEEPEST_TRACE = 20  # calls
LONGEST_ERROR = 1000  # characters; an error may quote a file


def run(
    prepare: Callable[[], tuple[Launch, Options]], *, termination_log: Path, trace: StartTrace | None = None
) -> int:
    """Runs the pod; returns the exit code: 0 after a stop signal, else that of the failure's reason."""
    stopping.install()
    log, phases, trace = Log(), PhaseRecorder(age=age_of_process()), trace or StartTrace()
    stopping.on_stop(lambda _: _exit_before_start(log))
    try:
        launch, options = prepare()
        phases.reach("checked")
        failure, has_warmed = _supervise(launch, options, log=log, phases=phases, trace=trace)
        if has_warmed and options.afterwards and not failure:
            stopping.on_stop(_exit_at_once)
            failure = options.afterwards(log.say)
    except (StartRefusedError, ModelError) as refusal:
        failure = refusal.failure
    except Exception as error:  # an unforeseen cause is reported in the same form as all others
        failure = _bug(error, log)
    stopping.ignore()
    code = _report(failure, log, termination_log)
    if failure:
        trace.failed(phases, failure)
    trace.close()
    return code


def _exit_before_start(log: Log) -> NoReturn:
    """Exits immediately, whatever is being read or imported: nothing has been started yet."""
    log.say("Stop signal received before the engine was started.")
    os._exit(0)


def _exit_at_once(signal: int) -> NoReturn:
    """As a process without a handler would: whatever it does isn't finished."""
    os._exit(128 + signal)


def _supervise(
    launch: Launch, options: Options, *, log: Log, phases: PhaseRecorder, trace: StartTrace
) -> tuple[Failure | None, bool]:
    """Also returns whether it has warmed, which a stop signal may prevent."""
    for choice in launch.choices:
        log.say(f"{choice}.")
    _wait_for_compiled_code(options, log, phases)
    stop_signals: list[int] = []
    stopping.on_stop(stop_signals.append)
    before = shared_memory.names()
    with scratch_folder() as folder:
        guards = control.Control.create(folder / "control")
        trace.folder = folder
        added = {**ISOLATED, control.ENVIRONMENT: str(folder / "control"), **trace.environment}
        engine = EngineProcess(launch.command, {**launch.environment, **options.environment(), **added})
        phases.reach("launched")
        log.start()
        try:
            # Its imports take longer than everything before it, so they run while the engine starts.
            from slipway_runtime.supervisor.supervisor import Supervisor  # noqa: PLC0415

            supervisor = Supervisor(launch, options, engine=engine, guards=guards, log=log, phases=phases, trace=trace)
            return supervisor.run(stop_signals), supervisor.has_warmed
        except OSError as error:
            return _cannot_work(error), False
        except Exception as error:
            return _bug(error, log), False
        finally:
            _clean_up(engine, before, log)
            guards.close()
            options.compiled.close()


def _wait_for_compiled_code(options: Options, log: Log, phases: PhaseRecorder) -> None:
    options.compiled.wait()
    if options.compiled.was_read:
        phases.reach("cache read")
    if not options.compiled.is_off:
        log.say(f"Compile cache: {options.compiled.report.reason}")


def _clean_up(engine: EngineProcess, before: frozenset[str], log: Log) -> None:
    """Removes what the engine left behind: processes, and files in shared memory."""
    if not engine.clear():
        log.say("A process that the engine started doesn't end; it is left to the kernel.")
    if os.getpid() == 1 and (names := shared_memory.clear(before)):  # else other processes may share /dev/shm
        log.say(f"Removed what the engine left in shared memory: {', '.join(names)}.")


def _cannot_work(error: OSError) -> Failure:
    message = f"slipway-runtime can't work in this container: {error.strerror or error}."
    return Failure(Reason.POD_CONFIG_ERROR, message, "If an address is in use, choose another --management-port.")


def _bug(error: Exception, log: Log) -> Failure:
    """Writes the traceback to the log."""
    log.pass_on("".join(traceback.format_exception(error, limit=-DEEPEST_TRACE)).encode(errors="replace"))
    message = f"slipway-runtime itself failed: {type(error).__name__}: {str(error)[:LONGEST_ERROR]}"
    return Failure(Reason.UNKNOWN, message, "This is a bug: please report it with the log.")


def _report(failure: Failure | None, log: Log, termination_log: Path) -> int:
    if failure is None:
        log.close()
        return 0
    if not write_termination_message(failure, termination_log):
        log.pass_on(termination_message(failure).encode())
    log.say(f"{failure.reason}: {failure.message} {failure.remedy}".rstrip())
    log.close()
    return failure.reason.exit_code
