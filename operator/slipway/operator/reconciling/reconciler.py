"""One reconcile of one LLMDeployment: read a snapshot → decide → apply → read it again → report."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from slipway.api.model_key import ModelKey
from slipway.kube.errors import NamespaceGoesError
from slipway.kube.store import Store
from slipway.kube.work_queue import NEVER, RetryLaterError
from slipway.objects.kinds import INFERENCE_SERVICE, PERSISTENT_VOLUME_CLAIM, Object
from slipway.objects.metadata import created_at, is_being_deleted, uid_of
from slipway.objects.times import is_near
from slipway.observing.causes import main_cause
from slipway.observing.failures import failures_in
from slipway.observing.fetching import fetching_pods, with_fetch
from slipway.observing.giving_up import COMPILED, WEIGHTS, given_up_in
from slipway.observing.measured import newest_load
from slipway.observing.observation import Observation
from slipway.observing.porttable import claim_of
from slipway.observing.references import Reference, references_of
from slipway.observing.scaling_step import step_between, with_scaled
from slipway.observing.snapshot import RefusedWrite, Remade, Snapshot
from slipway.observing.speculation import with_speculative
from slipway.observing.uncounted import with_uncounted
from slipway.observing.usage import running_pods
from slipway.observing.versions import newest_revision
from slipway.operator.installation import Installation
from slipway.operator.planning import Plan, Supply
from slipway.operator.planning.engines import is_ours
from slipway.operator.reconciling import accounting
from slipway.operator.reconciling.applying import Applier
from slipway.operator.reconciling.asking import Elsewhere, with_refusal
from slipway.operator.reconciling.claims import Claims
from slipway.operator.reconciling.deciding import NOTHING, Decision, decide, report
from slipway.operator.reconciling.fetch_polling import FetchPolling
from slipway.operator.reconciling.image_maker import ImageMaker
from slipway.operator.reconciling.image_volumes import ImageVolumes, mounts_image
from slipway.operator.reconciling.inspector import Inspector
from slipway.operator.reconciling.measuring import Measuring
from slipway.operator.reconciling.memory import Memories, ModelMemory
from slipway.operator.reconciling.outcome import Outcome
from slipway.operator.reconciling.planned import moves_at
from slipway.operator.reconciling.port_allocation import ExhaustedError
from slipway.operator.reconciling.portbook import PortBook
from slipway.operator.reconciling.pusher import Pusher
from slipway.operator.reconciling.references import References
from slipway.operator.reconciling.reporting import Reporter
from slipway.operator.reconciling.rights import Rights
from slipway.operator.reconciling.scaling_steps import ScalingSteps
from slipway.operator.reconciling.snapshots import SnapshotReader
from slipway.operator.reconciling.usage_polling import UsagePolling
from slipway.operator.rendering.activator import activator_for

logger = logging.getLogger(__name__)

UNTIL_FILLED = 0.5  # seconds
UNTIL_COUNTED = 5.0  # seconds until what is free has been read again
APPLIED_WITHIN = timedelta(seconds=3)
"""Objects of one apply arrive one after another, so what a new LLMDeployment names may still be missing."""
LONGEST_WAIT = 60.0
"""Seconds until the next reconcile where a change is expected soon: the clock may be set back meanwhile."""


async def no_time() -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Reconciler:
    """The queue calls `reconcile` with each key; it returns the seconds until the next one is needed."""

    store: Store
    memories: Memories
    reader: SnapshotReader
    ports: PortBook
    applier: Applier
    claims: Claims
    inspector: Inspector
    pusher: Pusher
    image_maker: ImageMaker
    image_volumes: ImageVolumes
    reporter: Reporter
    references: References
    measuring: Measuring
    scaling_steps: ScalingSteps
    usage: UsagePolling
    fetches: FetchPolling
    rights: Rights
    installation: Installation
    supply: Callable[[], Supply] = Supply  # what the nodes have
    freshen: Callable[[], Awaitable[None]] = no_time  # waits until it is known what is free on the nodes
    elsewhere: Callable[[], Elsewhere] = Elsewhere  # what a site and the Hub know of models
    want: Callable[[ModelKey, str, str | None], str] = lambda _key, _uri, _revision: ""
    """Asks the Hub about a model, by its URI and revision; the key is queued again when the answer is here. Returns why
    it isn't asked yet."""
    unwanted: Callable[[ModelKey], object] = lambda _key: None
    """The Hub needs no longer be asked about this one, which is gone."""
    outdated: Callable[[], object] = lambda: None  # less is free than was known

    async def reconcile(self, key: ModelKey) -> float | None:
        if self.store.unsynced():
            return UNTIL_FILLED  # an object that isn't in a cache yet would count as missing
        llm_deployment = self.reader.llm_deployment(key)
        if llm_deployment is None:
            self.memories.drop(key)
            self.measuring.forget(key)
            self.scaling_steps.forget(key)
            self.usage.forget(key)
            self.fetches.forget(key)
            self.ports.release(key)
            self.inspector.forget(key)
            self.pusher.forget(key)
            self.image_maker.forget(key)
            self.unwanted(key)
            return NEVER
        if is_being_deleted(llm_deployment):
            return None  # garbage collection deletes its children
        memory = self.memories.of(key, uid_of(llm_deployment))
        snapshot = await self._looked_up(key, self.reader.read(key, llm_deployment, memory))
        try:
            snapshot, decision = await self._decide(key, snapshot, memory)
            snapshot, decision, refusals = await self._claim(key, snapshot, memory, decision)
            _remember_what_was_given_up(memory, snapshot, decision)
            decision = self._asked_about_the_model(key, decision)
            is_new = snapshot.status is None
            outcome = await self.applier.carry_out(key, memory, decision.desired, is_new=is_new)
            outcome.refusals.extend(refusals)
            if outcome.goes_on:
                for unused in decision.desired.unused_claims:
                    await self.claims.remove(key, memory, unused)
            decision = await self._inspect(key, memory, snapshot, decision, outcome)
            decision = await self._push(key, memory, snapshot, decision, outcome)
            decision = await self._make_image(key, memory, snapshot, decision, outcome)
        except NamespaceGoesError:
            return None  # and the LLMDeployment with it
        return await self._report(key, memory, snapshot, decision, outcome)

    async def _decide(self, key: ModelKey, snapshot: Snapshot, memory: ModelMemory) -> tuple[Snapshot, Decision]:
        """A port is written to the port table before any object leads to it."""
        decision, supply = self._decided(snapshot, memory), self.supply()
        if isinstance(decision.plan, Plan) and not (snapshot.status or {}).get("plan"):
            await self.freshen()  # the first plan decides where it runs
            if self.supply() != supply:
                snapshot = await self._looked_up(key, self.reader.read_again(key, snapshot, memory))
                decision = self._decided(snapshot, memory)
        if not decision.wants_port_at:
            return snapshot, decision
        try:
            port = await self.ports.give(claim_of(snapshot.llm_deployment), at=decision.wants_port_at)
        except ExhaustedError as error:
            return snapshot, self._decided(snapshot, memory, no_port=str(error))
        snapshot = await self._looked_up(key, replace(snapshot, port=port))
        return snapshot, self._decided(snapshot, memory)

    async def _claim(
        self, key: ModelKey, snapshot: Snapshot, memory: ModelMemory, decision: Decision
    ) -> tuple[Snapshot, Decision, list[RefusedWrite]]:
        """Those of its caches, before the pods that mount them. Where one is refused, they are made without it; but if
        the spec demands it, that is a refusal as of any other object."""
        refused: dict[str, str] = {}
        demanded: list[RefusedWrite] = []
        for claimed in decision.desired.claims:
            name = claimed.child.name
            why = await self.claims.make(key, memory, claimed.child, snapshot.llm_deployment)
            if why and claimed.is_demanded:
                demanded.append(RefusedWrite(kind=PERSISTENT_VOLUME_CLAIM, name=name, message=why))
            elif why:
                refused[name] = why
        if not refused:
            return snapshot, decision, demanded
        snapshot = replace(snapshot, refused_claims=refused)
        return snapshot, self._decided(snapshot, memory), demanded

    def _decided(self, snapshot: Snapshot, memory: ModelMemory, *, no_port: str = "") -> Decision:
        decision = decide(
            snapshot,
            self.installation,
            supply=self.supply(),
            before=memory.planned,
            elsewhere=self.elsewhere(),
            asked=memory.question,
            no_port=no_port,
        )
        memory.planned, memory.question = decision.planned, decision.question
        return decision

    def _asked_about_the_model(self, key: ModelKey, decision: Decision) -> Decision:
        if not (question := decision.question):
            return decision
        refusal = self.want(key, question.uri, question.revision)
        return replace(decision, plan=with_refusal(decision.plan, refusal)) if refusal else decision

    async def _report(
        self, key: ModelKey, memory: ModelMemory, before: Snapshot, decision: Decision, outcome: Outcome
    ) -> float | None:
        named = _named(before, decision, has_fetcher=self.installation.fetcher is not None)
        unmet = await self.references.unmet(key, memory, named)
        if _requests_other_pods(before, memory, decision, outcome) and main_cause(before):
            memory.remade = Remade(before.now, newest_revision(before))
        # Read again, so that the status includes what was just made.
        snapshot = self.reader.read_again(key, before, memory)
        memory.counts.see(failures_in(snapshot), pods=self.reader.pod_uids(key), now=snapshot.now)
        known_at = _known_at(snapshot)
        snapshot = replace(
            snapshot,
            foreign=tuple(outcome.foreign),
            refusals=tuple(outcome.refusals),
            unmet=() if known_at else unmet,
            fetching=self.fetches.follow(key, fetching_pods(snapshot)),
        )
        status, seen = report(snapshot, decision, self.measuring.measurement(key, newest_load(snapshot)))
        pods = list(running_pods(snapshot))
        self.usage.follow(key, pods, has_objectives="slo" in status)
        status = with_uncounted(status, snapshot.status, pods, self.usage.boundaries(key))
        speculates = decision.deployment is None or decision.deployment.spec.engine.speculative is not None
        status = with_speculative(status, snapshot.status, self.usage.drafts(key), is_on=speculates)
        status = with_fetch(status, snapshot)
        status = self._with_scaled(key, status, snapshot, follows=bool(seen.follows))
        status = accounting.with_cost(status, snapshot)
        had_place = not memory.waits_for_place
        wait = await self.reporter.report(key, memory, snapshot, status)
        if had_place and memory.waits_for_place:
            self.outdated()
        await self.reporter.report_rivals(snapshot, outcome.rivals)
        _raise_what_went_wrong(decision, outcome)
        costs = _seconds_until(accounting.next_moment(snapshot), snapshot.now)
        times = (outcome.look_again, wait, self.references.look_again(memory), self._until_it_moves(snapshot), costs)
        return _soonest(*times, *_expected(snapshot, decision, seen, known_at if unmet else None))

    def _with_scaled(self, key: ModelKey, status: Object, snapshot: Snapshot, *, follows: bool) -> Object:
        """With the last step of replicas that follow times. What was measured for a new one is asked about now, and is
        in the status after the next reconcile."""
        if not follows:
            self.scaling_steps.forget(key)
            return status
        if step := step_between(snapshot.status, status, snapshot.now):
            self.scaling_steps.ask(key, uid_of(snapshot.llm_deployment), step, activator_for(snapshot).addresses or ())
        return with_scaled(status, snapshot.status, self.scaling_steps.last(key, uid_of(snapshot.llm_deployment)))

    def _until_it_moves(self, snapshot: Snapshot) -> float | None:
        """The seconds until a model that finds no place is planned again, with what is free then."""
        seconds = _seconds_until(moves_at(snapshot, self.supply()), snapshot.now)
        if seconds is None:
            return None
        if not seconds:
            self.outdated()
        return min(max(seconds, UNTIL_COUNTED), LONGEST_WAIT)

    async def _inspect(
        self, key: ModelKey, memory: ModelMemory, snapshot: Snapshot, decision: Decision, outcome: Outcome
    ) -> Decision:
        """Starts or removes the Job that reads the model's files; its failure is a part of the status."""
        cause, wait = await self.inspector.carry_out(key, memory, decision.inspecting)
        if wait:
            outcome.look_again_in(wait)
        if cause is None or decision.deployment is None:
            return decision
        return replace(decision, inspecting=decision.inspecting.failed(decision.deployment, cause, snapshot.now))

    async def _push(
        self, key: ModelKey, memory: ModelMemory, snapshot: Snapshot, decision: Decision, outcome: Outcome
    ) -> Decision:
        """The same for the Job that pushes an image of compiled code."""
        cause, wait = await self.pusher.carry_out(key, memory, decision)
        if wait:
            outcome.look_again_in(wait)
        return replace(decision, pushing=decision.pushing.failed(cause, snapshot.now)) if cause else decision

    async def _make_image(
        self, key: ModelKey, memory: ModelMemory, snapshot: Snapshot, decision: Decision, outcome: Outcome
    ) -> Decision:
        """The same for the Job that makes an image of the model's files."""
        cause, wait = await self.image_maker.carry_out(key, memory, decision)
        if wait:
            outcome.look_again_in(wait)
        return replace(decision, imaging=decision.imaging.failed(cause, snapshot.now)) if cause else decision

    async def _looked_up(self, key: ModelKey, snapshot: Snapshot) -> Snapshot:
        """With what no watch reports: rights, what the API server can do, and why its Jobs are late."""
        snapshot = await self.pusher.looked_up(await self.inspector.looked_up(key, snapshot))
        snapshot = await self.image_maker.looked_up(snapshot)
        if mounts_image(snapshot.llm_deployment):
            snapshot = replace(snapshot, no_image_volumes=await self.image_volumes.obstacle())
        activator = activator_for(snapshot)
        if not activator.is_installed:
            return snapshot
        reads = await self.rights.activator_reads_keys(snapshot.llm_deployment, activator.service)
        return replace(snapshot, activator_reads_keys=reads)


def _remember_what_was_given_up(memory: ModelMemory, snapshot: Snapshot, decision: Decision) -> None:
    """The template changes before the status says why, and a call in between may fail."""
    if decision.desired is NOTHING:
        return
    now = {COMPILED: decision.desired.compile_cache, WEIGHTS: decision.desired.model_cache}
    found = {cache: given_up_in(now, cache) for cache in now}
    memory.given_up = {
        cache: each for cache, each in found.items() if each and each != given_up_in(snapshot.status, cache)
    }


def _requests_other_pods(before: Snapshot, memory: ModelMemory, decision: Decision, outcome: Outcome) -> bool:
    """Whether the spec requests other pods than before, and the InferenceService has them. Remembers it, so that it is
    true once for each change: the write of the status, which says it, too, may fail."""
    requested = _digests_of(decision.desired.made)
    if requested is None or any(each.kind == INFERENCE_SERVICE for each in outcome.refusals):
        return False
    requested_before = memory.requested or _digests_of((before.status or {}).get("made"))
    memory.requested = requested
    return requested_before is not None and requested != requested_before


def _digests_of(made: Object | None) -> tuple[str, str] | None:
    return (str(made.get("spec")), str(made.get("pods"))) if made else None


def _named(snapshot: Snapshot, decision: Decision, *, has_fetcher: bool) -> Sequence[Reference]:
    """The objects that pods would need, whether or not there is one now."""
    if decision.deployment is None:
        return ()
    spec, plan = decision.deployment.spec, decision.plan
    named = plan.profile if isinstance(plan, Plan) else ""
    profile = next((each for each in snapshot.profiles if each.metadata.name == named), None)
    runtime = None if is_ours(spec.engine.name) else snapshot.runtimes.get(spec.engine.name)
    return references_of(spec, profile=profile, runtime=runtime, has_fetcher=has_fetcher)


def _known_at(snapshot: Snapshot) -> datetime | None:
    """When all objects that were applied together with a new LLMDeployment exist; None: they do."""
    since = created_at(snapshot.llm_deployment)
    return since + APPLIED_WITHIN if since and is_near(since, snapshot.now, APPLIED_WITHIN) else None


def _raise_what_went_wrong(decision: Decision, outcome: Outcome) -> None:
    """After the report, so that the status shows it; the queue retries with a growing backoff."""
    if decision.bug:
        raise decision.bug
    if outcome.refusals:
        first = outcome.refusals[0]
        raise RetryLaterError(f"{first.kind} {first.name} was refused: {first.message}")


def _expected(
    snapshot: Snapshot, decision: Decision, seen: Observation, known_at: datetime | None
) -> Iterable[float | None]:
    """The seconds until time alone changes the status or the desired objects."""
    of_jobs = (each.look_again_at for each in (decision.inspecting, decision.pushing, decision.imaging))
    for moment in (seen.look_again_at, known_at, *of_jobs, decision.look_again_at):
        seconds = _seconds_until(moment, snapshot.now)
        yield None if seconds is None else min(seconds, LONGEST_WAIT)
    yield _seconds_until(decision.desired.look_again_at, snapshot.now)


def _seconds_until(moment: datetime | None, now: datetime) -> float | None:
    return max(0.0, (moment - now).total_seconds()) if moment else None


def _soonest(*seconds: float | None) -> float | None:
    known: Iterable[float] = (each for each in seconds if each is not None)
    return min(known, default=None)
