"""Joins the parts of process 1: what happens outside becomes events, and what the table says becomes deeds."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from slipway_runtime import control, stopping
from slipway_runtime.contract.reasons import Reason
from slipway_runtime.diagnosis import diagnose, kills_for_memory
from slipway_runtime.engines.engine import Launch
from slipway_runtime.failure import Failure
from slipway_runtime.versions import version_of

from . import exposition
from .liveness import Pulse, Sample
from .log import Log
from .options import Options
from .output import Output
from .phases import Phases
from .process import EngineProcess
from .start_trace import StartTrace
from .state import Action, Event, State, step

if TYPE_CHECKING:
    from .client import EngineClient

LOOK = 0.05  # seconds between two looks at an engine that starts
LOOK_FOR_IDLE = 0.02
LOOK_AFTER = 2.0  # seconds between two looks at an engine that serves
UNLIMITED = Failure(
    Reason.UNKNOWN,
    "The engine's web server takes requests of any size from anybody, so that any client could end the pod.",
    "Use a version of the engine that slipway-runtime knows: one of its own images.",
    "listening",
)
UNKILLABLE = 5.0  # seconds after which one that not even SIGKILL ends is left to the kernel


class Supervisor:
    def __init__(
        self,
        launch: Launch,
        options: Options,
        *,
        engine: EngineProcess,
        guards: control.Control,
        log: Log,
        phases: Phases,
        trace: StartTrace,
    ) -> None:
        self._launch, self._options = launch, options
        self._engine, self._guards, self._log, self._phases, self._trace = engine, guards, log, phases, trace
        self._pulse = Pulse(stuck_after=options.stuck_after, computes_on_cpus=launch.computes_on_cpus)
        self._output = Output(engine.output, pass_on=log.pass_on, on_line=self._read)
        self._timer: asyncio.TimerHandle | None = None
        self._over = asyncio.Event()
        self._has_started = asyncio.Event()
        self._client: EngineClient | None = None
        self._facts: dict[str, str] = {}
        self._health = 0
        self._answered = (-1, -1)
        """Requests that the engine answered, and tokens, by the guards' counts, when the pulse was last felt."""
        self._told: str | None = None
        """The engine's metrics, from when it was last asked for them."""
        self._engine_version = ""
        self._kills = kills_for_memory()
        self.state = State.STARTING
        self.trouble: str | None = None
        self.failure: Failure | None = None

    def run(self, told_to_stop: Sequence[int]) -> Failure | None:
        """Until the engine has ended. None if that is what was wanted; `told_to_stop` are the signals so far."""
        try:
            asyncio.run(self._run(told_to_stop))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return self.failure

    async def _run(self, told_to_stop: Sequence[int]) -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(self._output.fileno(), self._take_output)
        stopping.lead_to(_in_turn(loop, lambda: self.happens(Event.STOP)))
        signal.signal(signal.SIGCHLD, _in_turn(loop, self._reap))
        self._set_timer()
        if told_to_stop:
            self.happens(Event.STOP)
        self._reap()
        try:
            async with asyncio.TaskGroup() as tasks:
                watch = tasks.create_task(self._watch())
                await self._over.wait()
                watch.cancel()
        finally:
            stopping.ignore()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            loop.remove_reader(self._output.fileno())
            self._output.close()

    def happens(self, event: Event) -> None:
        self._take_output()  # what the engine has said so far may explain it
        before = self.state
        self.state, actions = step(before, event)
        for action in actions:
            self._do(action, event)
        if self.state is not before:
            self._enter()

    # --- what follows from an event ----------------------------------------------------------------------------------

    def _do(self, action: Action, event: Event) -> None:
        match action:
            case Action.REFUSE:
                self._guards.state = control.State.DRAINING
            case Action.CUT:
                self._guards.state = control.State.ENDING
            case Action.TERMINATE:
                self._engine.terminate()
            case Action.KILL:
                self._engine.kill()
                asyncio.get_running_loop().call_later(UNKILLABLE, self._give_up)
            case Action.BLAME_THE_START:
                self.failure = self._too_slow()
            case Action.BLAME_THE_SERVER:
                self.failure = UNLIMITED
            case Action.BLAME_THE_ENGINE:
                self.failure = self._stuck() if event is Event.STUCK else self._dead()

    def _enter(self) -> None:
        self._log.say(self._news())
        self._phases.reach(self.state.lower())
        self._set_timer()
        match self.state:
            case State.READY:
                self._has_started.set()
                found = {"engine.version": self._engine_version, **self._facts}
                self._trace.ready(self._phases, {f"slipway.{name}": value for name, value in found.items()})
                if self._options.only_warm:
                    self.happens(Event.STOP)
            case State.DRAINING | State.CUTTING:
                asyncio.get_running_loop().call_later(LOOK_FOR_IDLE, self._look_for_idle)
            case State.ENDED:
                self._over.set()

    def _set_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
        seconds = self._launch.stop if self.state is State.STOPPING else self._options.patience.of(self.state)
        if seconds is not None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self.happens, Event.TIME_UP)

    def _news(self) -> str:
        in_flight = self._guards.counts().in_flight
        patience, trace = self._options.patience, f", trace {self._trace.id}" if self._trace.id else ""
        return {
            State.READY: f"Ready after {self._phases.seconds:.2f} s ({self._phases}){trace}.",
            State.LEAVING: f"Told to stop; serving on for {patience.endpoints:g} s, while others are still sent here.",
            State.DRAINING: f"Refusing new requests; {in_flight} in flight have up to {patience.drain:g} s.",
            State.CUTTING: f"Ending {in_flight} requests with an error.",
            State.STOPPING: "Stopping the engine.",
            State.ENDED: f"The engine has ended after {self._phases.seconds:.1f} s.",
        }[self.state]

    # --- what goes wrong ---------------------------------------------------------------------------------------------

    def _too_slow(self) -> Failure:
        told = f"The engine was not ready within {self._options.patience.start:g} s; it got as far as {self.phase}."
        return Failure(
            Reason.START_TIMEOUT,
            told,
            "Look in its last lines for what it waits for; if it only needs longer, raise --start-timeout.",
            self.phase,
            tuple(self._output.last),
        )

    def _stuck(self) -> Failure:
        lines = tuple(self._output.last)
        return Failure(
            Reason.ENGINE_STUCK,
            self.trouble or Reason.ENGINE_STUCK,
            "It is started anew; if it happens again, look in its last lines and at the accelerator's health.",
            self.phase,
            lines,
        )

    def _dead(self) -> Failure:
        kills = kills_for_memory()
        for_memory = None if kills is None or self._kills is None else kills > self._kills
        return diagnose(list(self._output.last), self._engine.exit_code or 0, self.phase, for_memory=for_memory)

    def _give_up(self) -> None:
        if not self._over.is_set():
            self._log.say("Not even SIGKILL ends the engine, which waits in the kernel; it is left behind.")
            self._over.set()

    # --- what happens outside ----------------------------------------------------------------------------------------

    def _reap(self) -> None:
        if self._engine.reap() and self.state is not State.ENDED:
            self.happens(Event.ENGINE_ENDED)

    def _take_output(self) -> None:
        if not self._output.read():
            asyncio.get_running_loop().remove_reader(self._output.fileno())

    def _read(self, line: str) -> None:
        if self.state is State.STARTING:
            self._facts |= self._launch.facts_in(line)
            if moment := self._launch.moment_in(line):
                self._phases.reach(moment)
            if self._is_futile(line):  # not from here: what an event leads to begins with reading on
                asyncio.get_running_loop().call_soon(self.happens, Event.FUTILE)

    def _is_futile(self, line: str) -> bool:
        way = self._launch.second_way
        return way is not None and bool(way.announced.search(line)) and self._dead().reason in way.futile_after

    def _look_for_idle(self, idle_looks: int = 0) -> None:
        """Idle is what has been so twice: the last answer may still be on its way out, or a request on its way in."""
        if self.state in (State.DRAINING, State.CUTTING):
            counts = self._guards.counts()
            idle_looks = idle_looks + 1 if counts.in_flight + counts.arriving == 0 else 0
            if idle_looks > 1:
                self.happens(Event.IDLE)
            else:
                asyncio.get_running_loop().call_later(LOOK_FOR_IDLE, self._look_for_idle, idle_looks)

    async def _watch(self) -> None:
        """Answers on the management port, waits for the engine, and then feels its pulse."""
        management = await _imported("slipway_runtime.supervisor.management")
        clients = await _imported("slipway_runtime.supervisor.client")
        self._engine_version = version_of(*self._launch.distributions)
        port = await management.listen(self, host=self._options.host, port=self._options.port)
        self._client = client = clients.EngineClient(self._launch, secret=self._guards.secret)
        try:
            await self._until_it_answers(client)
            while True:
                # Side by side: to wait for one that doesn't answer puts off no later look.
                await asyncio.gather(self._feel_pulse(client), asyncio.sleep(LOOK_AFTER))
        finally:
            self._client = None
            await client.close()
            await port.cleanup()

    async def _until_it_answers(self, client: EngineClient) -> None:
        while (health := await client.health()) != 200:
            if health:
                self._phases.reach("listening")
            await asyncio.sleep(LOOK)
        self._health = health
        self._phases.reach("answers")
        if not await client.has_limits():
            self.happens(Event.UNLIMITED)
            return
        if self._launch.warm_up:
            patience = self._options.patience.start
            status = await client.warm_up(self._launch.warm_up, patience=patience, trace=self._trace.traceparent)
            if status != 200 and self.state is State.STARTING:
                self._log.say(f"The warm-up request was answered with {status or 'nothing'}; going on without one.")
        self.happens(Event.ANSWERS)

    async def _feel_pulse(self, client: EngineClient) -> None:
        """Where answers are seen to go out, the engine is not asked what it counts: it takes milliseconds to tell, in
        which its server sends nobody a token.
        """
        self._health = await client.health()
        counts = self._guards.counts()
        before, self._answered = self._answered, (counts.done, counts.tokens)
        if not self._health:
            self._told = None
        elif before == self._answered:
            self._told = await client.metrics()
        pending = _sums(self._told, self._launch.work.pending)
        has_work = sum(pending) > 0 if pending else counts.in_flight > 0
        demand = self._engine.cpu_demand
        sample = Sample(
            at=asyncio.get_running_loop().time(),
            answers=self._health == 200,
            has_work=has_work,
            counts=(*self._answered, *_sums(self._told, self._launch.work.progress)),
            spent=demand.spent,
            waited=demand.waited,
        )
        if trouble := self._pulse.feel(sample):
            self.trouble = trouble
            self.happens(Event.STUCK)

    # --- what the management port tells ------------------------------------------------------------------------------

    @property
    def has_started(self) -> bool:
        return self._has_started.is_set()

    @property
    def is_ready(self) -> bool:
        return self.state is State.READY and self._health == 200

    async def until_ready(self, within: float) -> None:
        """Or until that many seconds are over. One that has been ready is not waited for again."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._has_started.wait()

    @property
    def phase(self) -> str:
        return self._phases.current

    def info(self) -> Mapping[str, object]:
        counts = self._guards.counts()
        return {
            "state": self.state,
            "phase": self.phase,
            "trouble": self.trouble,
            "runtime": version_of("slipway-runtime"),
            **self._options.about,
            "engine": {"name": self._launch.engine, "version": self._engine_version, "command": self._launch.command},
            "choices": [{"setting": choice.setting, "reason": choice.reason} for choice in self._launch.choices],
            "capacity": self._facts,
            "requests": {
                "arriving": counts.arriving,
                "inFlight": counts.in_flight,
                "waiting": counts.waiting,
                "done": counts.done,
            },
            "limits": vars(self._options.patience),
            "trace": self._trace.id,
            "phases": [moment.as_json() for moment in self._phases.moments],
        }

    async def metrics(self) -> str:
        from .metrics import own_metrics  # noqa: PLC0415 - slow to import, and nobody asks in the first seconds

        theirs = await self._client.metrics() if self._client else None
        ours = own_metrics(
            labels={"engine": self._launch.engine, "engine_version": self._engine_version},
            state=self.state,
            moments=self._phases.moments,
            counts=self._guards.counts(),
            silence=self._pulse.silence(asyncio.get_running_loop().time()),
            scraped=theirs is not None,
            dropped=self._log.dropped,
        )
        return exposition.merge(ours, theirs or "")


def _in_turn(loop: asyncio.AbstractEventLoop, act: Callable[[], None]) -> Callable[..., None]:
    """For a signal's handler: the loop does that, once for all signals that come before it has.

    asyncio's own handlers queue one call for each, and print an error where they have no room for more, so that signals
    that come fast enough keep the loop from all else.
    """
    is_due = False

    def do() -> None:
        nonlocal is_due
        is_due = False
        act()

    def handle(*_: object) -> None:
        nonlocal is_due
        if not is_due:
            is_due = True
            loop.call_soon_threadsafe(do)

    return handle


async def _imported(module: str) -> Any:
    """What speaks HTTP takes a while to import: beside the engine's start, and so that neither signals nor the end wait
    for it, as they would for a thread of asyncio's own.
    """
    outcome: Future[Any] = Future()
    outcome.set_running_or_notify_cancel()

    def load() -> None:
        try:
            outcome.set_result(importlib.import_module(module))
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=load, name="import", daemon=True).start()
    return await asyncio.wrap_future(outcome)


def _sums(text: str | None, names: tuple[str, ...]) -> tuple[float, ...]:
    """Of the metrics that the engine tells."""
    found = [exposition.total(text, name) for name in names] if text else []
    return tuple(value for value in found if value is not None)
