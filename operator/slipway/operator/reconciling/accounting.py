"""What the pods of a model hold, at which price: from a snapshot to its ledger and its budget. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache

from pydantic import ValidationError

from slipway.api.acceleratorprofile import AcceleratorProfile
from slipway.api.engine import engine_name
from slipway.api.spending import BudgetSpec
from slipway.objects.conditions import true_since
from slipway.objects.kinds import Object
from slipway.objects.metadata import created_at, labels_of, name_of, uid_of
from slipway.objects.times import parse_time
from slipway.observing import ledger_record
from slipway.observing.budget import WITHIN, budget_of, is_news
from slipway.observing.ledger import Held, Ledger, settle
from slipway.observing.ledger_record import ledger_in
from slipway.observing.objectives import engine_named
from slipway.observing.pods import ENDED
from slipway.observing.snapshot import Snapshot
from slipway.observing.status import same
from slipway.observing.uncounted import why_pods_differ
from slipway.observing.usage import reports_use
from slipway.operator.planning import spot

REFRESH = timedelta(hours=1)  # between two writes of the status for its costs alone
MOST_DEVICES = 4096  # of a replica; the status may have been written by others
ANOTHER_IMAGE = (
    "The image in the chart's values, runtimes.NAME.image, isn't that of this version of Slipway: set the one that is."
)
SOON = timedelta(seconds=1)
"""After the moment at which a budget should be spent, so that rounding doesn't put it off again."""


def accounted(snapshot: Snapshot, ledger: Ledger | None) -> Snapshot:
    """With all costs up to now. `ledger`: the last one; None: that of the status."""
    known = {each.metadata.name: each for each in snapshot.profiles}
    if ledger is None:
        created = created_at(snapshot.llm_deployment) or snapshot.now
        ledger = ledger_in(snapshot.status, created=created, known=known, now=snapshot.now)
    ledger = settle(ledger, _held(ledger, snapshot, known), _asleep(snapshot, known), snapshot.now)
    can_sleep = bool(snapshot.activators)
    budget = budget_of(_budget_spec(snapshot), ledger, _unpriced(ledger), can_sleep=can_sleep)
    return replace(snapshot, ledger=ledger, budget=budget)


def with_cost(status: Object, snapshot: Snapshot) -> Object:
    """The status with what was spent: as it is written already, unless something else has to be written, too."""
    before, ledger, spent = snapshot.status or {}, snapshot.ledger, snapshot.budget
    if ledger is None:
        return status
    kept = {name: before[name] for name in ("cost", "budget") if before.get(name) is not None}
    message = " ".join(filter(None, (_unpriced(ledger), _silent(ledger, snapshot, status))))
    is_due = ledger_record.is_due(before.get("cost"), ledger, snapshot.now, REFRESH, message=message)
    if same(before, {**status, **kept}) and not is_due and not is_news(before.get("budget"), spent):
        return {**status, **kept}
    found = {"cost": ledger_record.as_status(ledger, message)}
    return {**status, **found, **({"budget": spent.as_status()} if spent else {})}


def next_moment(snapshot: Snapshot) -> datetime | None:
    """When time alone changes what is reported of costs."""
    if snapshot.ledger is None:
        return None
    written = parse_time(((snapshot.status or {}).get("cost") or {}).get("asOf")) or snapshot.now
    moments = [written + REFRESH] if snapshot.ledger.devices else []
    if spent := snapshot.budget:
        moments += [snapshot.now + each + SOON for each in spent.next_moment(snapshot.ledger.per_hour)]
        moments += [each.resets_at for each in spent.decides if spent.state != WITHIN]
    return min(moments, default=None)


# --- inside -----------------------------------------------------------------------------------------------------------


def _budget_spec(snapshot: Snapshot) -> BudgetSpec | None:
    """A spec that can't be read is reported elsewhere."""
    spec = snapshot.llm_deployment.get("spec")
    given = spec.get("budget") if isinstance(spec, dict) else None
    try:
        return BudgetSpec.model_validate(given) if given else None
    except ValidationError:
        return None


def _held(ledger: Ledger, snapshot: Snapshot, known: Mapping[str, AcceleratorProfile]) -> Iterator[Held]:
    """Jobs that compile hold a replica's devices, too. There can be a thousand pods, most of which are as before: these
    stay the same object, and one that has ended isn't read again."""
    of_jobs = snapshot.compilation.pods if snapshot.compilation else ()
    new, is_spot = _of_replica(snapshot, known), cache(lambda node, name: _is_spot(node, snapshot, known.get(name)))
    for pod in (*snapshot.pods, *of_jobs):
        node, uid = pod["spec"].get("nodeName"), uid_of(pod)
        if not node:
            continue
        before = ledger.held.get(uid)
        if before and before.until:
            yield before
            continue
        held, until = before or new, _ended_at(pod, snapshot.now)
        price = _price(held, known, is_spot(node, held.accelerator))
        if before and not until and (before.per_hour, before.node) == (price, node):
            yield before
            continue
        yield Held(
            uid=uid,
            accelerator=held.accelerator,
            devices=held.devices,
            per_hour=price,
            since=before.since if before else _bound_at(pod, snapshot.now),
            until=until,
            counted=held.counted,
            counted_at=held.counted_at,
            pod=name_of(pod),
            node=node,
            is_silent=held.is_silent or new.is_silent,
        )


def _of_replica(snapshot: Snapshot, known: Mapping[str, AcceleratorProfile]) -> Held:
    """What one replica holds: by what the pods were made of, or else by the plan."""
    status = snapshot.status or {}
    made = status.get("made") or status.get("plan") or {}
    name, devices = str(made.get("accelerator") or ""), made.get("gpusPerReplica")
    devices = devices if isinstance(devices, int) and 0 < devices <= MOST_DEVICES else 1  # 0: of a CPU profile
    return Held(accelerator=name if name in known else "", devices=devices, is_silent=not reports_use(snapshot))


def _asleep(snapshot: Snapshot, known: Mapping[str, AcceleratorProfile]) -> Held | None:
    """None: a replica is wanted."""
    if not snapshot.deployments or any(each["spec"].get("replicas", 1) for each in snapshot.deployments):
        return None
    replica = _of_replica(snapshot, known)
    return replace(replica, per_hour=_price(replica, known, is_spot=False))


def _price(held: Held, known: Mapping[str, AcceleratorProfile], is_spot: bool) -> float | None:
    """Per hour, of all its devices. A profile that is gone leaves the last price."""
    profile = known.get(held.accelerator)
    if profile is None:
        return held.per_hour
    price = price_of(profile, is_spot=is_spot)
    return None if price is None else price * held.devices


def price_of(profile: AcceleratorProfile, *, is_spot: bool) -> float | None:
    """Of one device per hour: on spot nodes, the price there, if the profile has one."""
    terms = profile.spec.spot
    on_spot = terms.cost_per_hour if is_spot and terms else None
    return profile.spec.cost_per_hour if on_spot is None else on_spot


def _is_spot(name: str, snapshot: Snapshot, profile: AcceleratorProfile | None) -> bool:
    node = (snapshot.nodes or {}).get(name)
    labels = labels_of(node) if node else {}
    own = profile.spec.spot.node_labels.items() if profile and profile.spec.spot else ()
    return spot.is_marked(labels) or bool(own and own <= labels.items())


def _bound_at(pod: Object, now: datetime) -> datetime:
    """Never before its creation, which the API server writes."""
    created = created_at(pod) or now
    return min(max(created, true_since(pod, "PodScheduled") or created), now)


def _ended_at(pod: Object, now: datetime) -> datetime | None:
    """When its last container has ended; None: it still holds its devices."""
    status = pod.get("status", {})
    if status.get("phase") not in ENDED:
        return None
    ends = [
        parse_time(((each.get("state") or {}).get("terminated") or {}).get("finishedAt"))
        for each in status.get("containerStatuses") or []
    ]
    return min(max((each for each in ends if each), default=now), now)


def _unpriced(ledger: Ledger) -> str:
    """Why costs are incomplete; empty: they aren't."""
    names = sorted({each.accelerator for each in ledger.held.values() if each.per_hour is None and not each.until})
    if ledger.asleep and ledger.asleep.per_hour is None:
        names = [ledger.asleep.accelerator]
    if not names:
        return ""
    if names == [""]:
        return (
            "What this costs isn't counted, because its plan has no AcceleratorProfile that exists: create one with "
            "costPerHour."
        )
    which = ", ".join(each for each in names if each)
    return f"What this costs isn't counted, because AcceleratorProfile {which} has no price: set its costPerHour."


def _silent(ledger: Ledger, snapshot: Snapshot, status: Object) -> str:
    """Why it isn't known how much of this is used; empty: it is."""
    silent = ledger.silent
    if not silent:
        return ""
    if not reports_use(snapshot):
        engine = engine_named(engine_name(snapshot.llm_deployment.get("spec")))
        who = engine.title if engine else "the runtime in engine.name"
        return f"How much of this is used isn't counted, because {who} doesn't report it."
    pods, them = (f"pod {silent[0].pod} doesn't", "it") if len(silent) == 1 else (f"{len(silent)} pods don't", "them")
    why = why_pods_differ(status, ANOTHER_IMAGE, made=them)
    return f"How much of this is used isn't counted, because {pods} report it. {why}"
