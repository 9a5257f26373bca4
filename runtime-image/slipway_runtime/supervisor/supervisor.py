"""Joins the parts of process 1: observations become events, and the table's actions are carried out."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from slipway_runtime import control, stopping
from slipway_runtime.contract.pod import BOUNDARIES, COMPILE_CACHE, MEASURED, USAGE
from slipway_runtime.contract.reasons import Reason
from slipway_runtime.diagnosis import diagnose, kills_for_memory
from slipway_runtime.engines.engine import Launch
from slipway_runtime.failure import Failure
from slipway_runtime.supervisor import exposition
from slipway_runtime.supervisor.compiling import Compiling
from slipway_runtime.supervisor.event_loop import coalesced, imported
from slipway_runtime.supervisor.liveness import LivenessMonitor, Sample
from slipway_runtime.supervisor.log import Log
from slipway_runtime.supervisor.measuring import Measuring
from slipway_runtime.supervisor.options import Options
from slipway_runtime.supervisor.output import Output
from slipway_runtime.supervisor.phases import PhaseRecorder
from slipway_runtime.supervisor.process import EngineProcess
from slipway_runtime.supervisor.start_trace import StartTrace
from slipway_runtime.supervisor.state import Action, Event, PodState, step, waits_for
from slipway_runtime.supervisor.usage import ready_seconds, usage_of
from slipway_runtime.versions import version_of

if TYPE_CHECKING:
    from slipway_runtime.supervisor.client import EngineClient

CHECK_START_EVERY = 0.05  # seconds between two health checks of an engine that starts
CHECK_IDLE_EVERY = 0.02
CHECK_LIVENESS_EVERY = 2.0
CACHE_REMEDY = "Mount a volume at the folder of --cache that has space, and that the pod's user may write to."
UNLIMITED = Failure(
    Reason.UNKNOWN,
    "The engine's web server accepts requests of any size from anyone, so any client could end the pod.",
    "Use a version of the engine that slipway-runtime knows: the one in its own images.",
    "listening",
)
LAST_PUBLISHING = 5.0  # seconds after the engine's end for what it has compiled to be published
FRESH = 15.0  # seconds for which a scrape of the engine is recent enough for /info
UNKILLABLE = 5.0  # seconds after SIGKILL; a process that is still there is left to the kernel


class Supervisor:
    """One pod from the launch of its engine to the engine's end."""

    def __init__(
        self,
        launch: Launch,
        options: Options,
        *,
        engine: EngineProcess,
        guards: control.Control,
        log: Log,
        phases: PhaseRecorder,
        trace: StartTrace,
    ) -> None:
        self._launch, self._options = launch, options
        self._engine, self._guards, self._log, self._phases, self._trace = engine, guards, log, phases, trace
        self._liveness = LivenessMonitor(stuck_after=options.stuck_after, computes_on_cpus=launch.computes_on_cpus)
        self._output = Output(engine.output, pass_on=log.pass_on, on_line=self._read)
        self._timer: asyncio.TimerHandle | None = None
        self._has_ended = asyncio.Event()
        self._has_started = asyncio.Event()
        self._client: EngineClient | None = None
        self._facts: dict[str, str] = {}
        self._measuring = Measuring(options.memory_in_use)
        self._compiling = Compiling(options.compiled, said=log.say)
        self._health = 0
        self._answered = (-1, -1)
        """Requests and tokens that the guards had counted at the last liveness check."""
        self._scraped: str | None = None
        """The engine's metrics as of the last liveness check that needed them."""
        self._engine_version = ""
        self._kills = kills_for_memory()
        self.state = PodState.STARTING
        self.trouble: str | None = None
        self.has_warmed = False  # everything that `only_warm` is for
        self.failure: Failure | None = None

    def run(self, stop_signals: Sequence[int]) -> Failure | None:
        """Supervises until the engine has ended; returns None if that was asked for.

        `stop_signals` are those that were received before this call.
        """
        try:
            asyncio.run(self._run(stop_signals))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return self.failure

    async def _run(self, stop_signals: Sequence[int]) -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(self._output.fileno(), self._take_output)
        stopping.on_stop(coalesced(loop, lambda: self.handle(Event.STOP)))
        signal.signal(signal.SIGCHLD, coalesced(loop, self._reap))
        self._set_timer()
        if stop_signals:
            self.handle(Event.STOP)
        self._reap()
        try:
            async with asyncio.TaskGroup() as tasks:
                watch = tasks.create_task(self._watch())
                await self._has_ended.wait()
                watch.cancel()
                await self._compiling.finish(LAST_PUBLISHING)
        finally:
            stopping.ignore()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            loop.remove_reader(self._output.fileno())
            self._output.close()

    def handle(self, event: Event) -> None:
        self._take_output()  # what the engine has printed so far may explain the event
        before = self.state
        self.state, actions = step(before, event)
        for action in actions:
            self._perform(action, event)
        if self.state is not before:
            self._enter_state()

    # --- what follows from an event ----------------------------------------------------------------------------------

    def _perform(self, action: Action, event: Event) -> None:
        match action:
            case Action.REFUSE:
                self._guards.mode = control.GuardMode.DRAINING
            case Action.CUT:
                self._guards.mode = control.GuardMode.ENDING
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

    def _enter_state(self) -> None:
        self._log.say(self._announcement())
        self._phases.reach(self.state.lower())
        self._set_timer()
        match self.state:
            case PodState.READY:
                self._has_started.set()
                self._compiling.ready(self._phases)
                found = {"engine.version": self._engine_version, **self._facts, **self._compiling.facts()}
                self._trace.ready(self._phases, {f"slipway.{name}": value for name, value in found.items()})
                if self._options.only_warm:
                    self._compiling.publish(self._warmed)
                else:
                    self._compiling.publish()
                    self._measuring.start()
            case PodState.LEAVING if not self._options.only_warm:
                self._compiling.publish(nice=0)  # what the first requests have compiled; there is not much time
            case state if waits_for(state, Event.IDLE):
                asyncio.get_running_loop().call_later(CHECK_IDLE_EVERY, self._check_idle)
            case PodState.ENDED:
                self._has_ended.set()

    def _set_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
        seconds = self._launch.stop if self.state is PodState.STOPPING else self._options.timeouts.of(self.state)
        if seconds is not None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self.handle, Event.TIME_UP)

    def _announcement(self) -> str:
        in_flight = self._guards.counts().in_flight
        timeouts, trace = self._options.timeouts, f", trace {self._trace.id}" if self._trace.id else ""
        return {
            PodState.READY: f"Ready after {self._phases.seconds:.2f} s ({self._phases}){self._compiling}{trace}.",
            PodState.LEAVING: f"Stop signal received; serving for {timeouts.endpoints:g} s, while Services route here.",
            PodState.DRAINING: f"Refusing new requests; {in_flight} in flight have up to {timeouts.drain:g} s.",
            PodState.CUTTING: f"Ending {in_flight} requests with an error.",
            PodState.STOPPING: "Stopping the engine.",
            PodState.ENDED: f"The engine has ended after {self._phases.seconds:.1f} s.",
        }[self.state]

    # --- what goes wrong ---------------------------------------------------------------------------------------------

    def _too_slow(self) -> Failure:
        limit = self._options.timeouts.start
        return Failure(
            Reason.START_TIMEOUT,
            f"The engine was not ready within {limit:g} s; the last phase that it reached is {self.phase}.",
            "Its last lines show what it waits for; if it only needs more time, raise --start-timeout.",
            self.phase,
            tuple(self._output.last),
        )

    def _stuck(self) -> Failure:
        lines = tuple(self._output.last)
        return Failure(
            Reason.ENGINE_STUCK,
            self.trouble or Reason.ENGINE_STUCK,
            "Kubernetes restarts it; if it happens again, check its last lines and the accelerator's health.",
            self.phase,
            lines,
        )

    def _dead(self) -> Failure:
        kills = kills_for_memory()
        for_memory = None if kills is None or self._kills is None else kills > self._kills
        return diagnose(list(self._output.last), self._engine.exit_code or 0, self.phase, for_memory=for_memory)

    def _warmed(self) -> None:
        why = self._options.compiled.missing
        self.has_warmed = not why
        if why:
            self.failure = Failure(Reason.POD_CONFIG_ERROR, f"The compile cache isn't filled: {why}", CACHE_REMEDY)
        self.handle(Event.STOP)

    def _give_up(self) -> None:
        if not self._has_ended.is_set():
            self._log.say("The engine survives SIGKILL because it waits in the kernel; it is left behind.")
            self._has_ended.set()

    # --- what happens outside ----------------------------------------------------------------------------------------

    def _reap(self) -> None:
        if self._engine.reap() and self.state is not PodState.ENDED:
            self.handle(Event.ENGINE_ENDED)

    def _take_output(self) -> None:
        if not self._output.read():
            asyncio.get_running_loop().remove_reader(self._output.fileno())

    def _read(self, line: str) -> None:
        if self.state is PodState.STARTING:
            self._facts = self._launch.with_facts_in(line, self._facts)
            if moment := self._launch.moment_in(line):
                self._phases.reach(moment)
            if self._is_futile(line):  # not called from here, since handling an event reads more output first
                asyncio.get_running_loop().call_soon(self.handle, Event.FUTILE)

    def _is_futile(self, line: str) -> bool:
        way = self._launch.second_way
        return way is not None and bool(way.announced.search(line)) and self._dead().reason in way.futile_after

    def _check_idle(self, times_idle: int = 0) -> None:
        """Takes two idle checks in a row for idle: the last response or a new request may be in transit at one."""
        if waits_for(self.state, Event.IDLE):
            counts = self._guards.counts()
            times_idle = times_idle + 1 if counts.in_flight + counts.arriving == 0 else 0
            if times_idle > 1:
                self.handle(Event.IDLE)
            else:
                asyncio.get_running_loop().call_later(CHECK_IDLE_EVERY, self._check_idle, times_idle)

    async def _watch(self) -> None:
        """Serves the management port, waits until the engine answers, and then checks its liveness."""
        management = await imported("slipway_runtime.supervisor.management")
        clients = await imported("slipway_runtime.supervisor.client")
        self._engine_version = version_of(*self._launch.distributions)
        port = await management.listen(self, host=self._options.host, port=self._options.port)
        self._client = client = clients.EngineClient(self._launch, secret=self._guards.secret)
        try:
            await self._until_it_answers(client)
            while True:
                # In parallel: waiting for an engine that doesn't answer must not delay the next check.
                await asyncio.gather(self._check_liveness(client), asyncio.sleep(CHECK_LIVENESS_EVERY))
        finally:
            self._client = None
            await client.close()
            await port.cleanup()

    async def _until_it_answers(self, client: EngineClient) -> None:
        while (health := await client.health()) != 200:
            if health:
                self._phases.reach("listening")
            await asyncio.sleep(CHECK_START_EVERY)
        self._health = health
        self._phases.reach("answers")
        if not await client.has_limits():
            self.handle(Event.UNLIMITED)
            return
        if self._launch.warm_up:
            timeout = self._options.timeouts.start
            status = await client.warm_up(self._launch.warm_up, timeout=timeout, trace=self._trace.traceparent)
            if status != 200 and self.state is PodState.STARTING:
                got = f"got status {status}" if status else "got no response"
                self._log.say(f"The warm-up request {got}; the pod becomes ready without a warm-up.")
        self.handle(Event.ANSWERS)

    async def _check_liveness(self, client: EngineClient) -> None:
        """Scrapes the engine's metrics only if the guards have seen no progress since the last check.

        To render them takes the engine milliseconds, in which its server sends no client a token.
        """
        self._health = await client.health()
        counts = self._guards.counts()
        before, self._answered = self._answered, (counts.done, counts.tokens)
        if not self._health:
            self._scraped = None
        elif before == self._answered:
            self._scraped = await client.metrics()
        pending = exposition.totals(self._scraped, self._launch.work.pending)
        has_work = sum(pending) > 0 if pending else counts.in_flight > 0
        demand = self._engine.cpu_demand
        sample = Sample(
            at=asyncio.get_running_loop().time(),
            answers=self._health == 200,
            has_work=has_work,
            counts=(*self._answered, *exposition.totals(self._scraped, self._launch.work.progress)),
            spent=demand.spent,
            waited=demand.waited,
        )
        if trouble := self._liveness.observe(sample):
            self.trouble = trouble
            self.handle(Event.STUCK)

    # --- what the management port reports ----------------------------------------------------------------------------

    @property
    def has_started(self) -> bool:
        return self._has_started.is_set()

    @property
    def is_ready(self) -> bool:
        return self.state is PodState.READY and self._health == 200

    async def until_ready(self, within: float) -> None:
        """Waits until the pod has been ready once, or until the time is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._has_started.wait()

    @property
    def phase(self) -> str:
        return self._phases.current

    async def info(self) -> Mapping[str, object]:
        counts = self._guards.counts()
        scraped = await self._client.recent_metrics(FRESH) if self._client and self.has_started else None
        ready = ready_seconds(self._phases.moments, self._phases.seconds)
        return {
            "state": self.state,
            "phase": self.phase,
            "trouble": self.trouble,
            "runtime": version_of("slipway-runtime"),
            **self._options.about,
            "engine": {"name": self._launch.engine, "version": self._engine_version, "command": self._launch.command},
            "choices": [{"setting": choice.setting, "reason": choice.reason} for choice in self._launch.choices],
            "capacity": self._facts,
            MEASURED: self._measuring.measured(self._facts),
            USAGE: usage_of(counts, ready=ready, scraped=scraped, work=self._launch.work),
            BOUNDARIES: self._launch.boundaries,
            COMPILE_CACHE: self._options.compiled.report.as_json(),
            "requests": {
                "arriving": counts.arriving,
                "inFlight": counts.in_flight,
                "waiting": counts.waiting,
                "done": counts.done,
            },
            "limits": vars(self._options.timeouts),
            "trace": self._trace.id,
            "phases": [moment.as_json() for moment in self._phases.moments],
        }

    async def metrics(self, *, open_metrics: bool) -> str:
        # Slow to import, and no one scrapes in the first seconds.
        from slipway_runtime.supervisor.metrics import own_metrics  # noqa: PLC0415

        of_engine = await self._client.metrics(open_metrics=open_metrics) if self._client else None
        ours = own_metrics(
            labels={"engine": self._launch.engine, "engine_version": self._engine_version},
            state=self.state,
            phases=self._phases,
            counts=self._guards.counts(),
            silence=self._liveness.silence(asyncio.get_running_loop().time()),
            scraped=of_engine is not None,
            dropped=self._log.dropped,
            compiled=self._options.compiled.report,
        )
        return exposition.merge(ours, of_engine or "", open_metrics=open_metrics)
