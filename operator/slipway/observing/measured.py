"""What an engine measured when it had loaded the model: from its pod and its `/info` to `status.measured`. Pure.

All of it is the tenant's, who may run anything in a pod: numbers are bounded, anything else counts as unknown, and only
the LLMDeployment that the pod belongs to ever gets them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from ipaddress import IPv6Address, ip_address
from typing import Any, NamedTuple, Protocol

from slipway.api import units
from slipway.api.names import PLAN_ANNOTATION
from slipway.contract import pod as contract
from slipway.objects.kinds import Object
from slipway.objects.metadata import annotations_of, name_of, uid_of
from slipway.objects.times import parse_time
from slipway.observing.compile_report import CompileReport, is_settled
from slipway.observing.pods import Pod
from slipway.observing.snapshot import Snapshot

GIB = 1 << 30
MOST_TOKENS, MOST_BYTES, MOST_DEVICES = 1 << 40, 1 << 50, 64
CONTAINER = "kserve-container"
A_PARSER = re.compile(r"[A-Za-z0-9][-A-Za-z0-9._]{0,63}")
LONGEST_REASON = 300  # characters
A_KEY = re.compile(r"[0-9a-f]{16}")
OF_METADATA = frozenset(
    map(
        ip_address, ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16")
    )  # AWS, Google, Alibaba, Azure
)
"""Addresses at which clouds tell a machine its credentials, beyond those that are link-local."""

ROUNDING = GIB // 100
"""Bytes: engines log sizes in hundredths of a GiB, so a smaller difference is none."""


class Load(NamedTuple):
    """One start of an engine, in a pod that is ready."""

    pod: str
    uid: str
    started_at: str  # when its container did, as the kubelet writes it
    address: str
    plan: str  # the key of the plan by which the pod was made

    @property
    def moment(self) -> datetime | None:
        return parse_time(self.started_at)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What `/info` has as measured; None: unknown. Bytes are of one device."""

    kv_tokens: int | None = None
    kv_cache: int | None = None
    weights: int | None = None
    activation: int | None = None
    graphs: int | None = None
    used: int | None = None  # by everything, on the device with the most
    total: int | None = None  # of that device


@dataclass(frozen=True)
class Measurement:
    load: Load
    reading: Reading
    compiled: CompileReport | None = None
    parsers: Object | None = None  # as the status has them


# --- which pod --------------------------------------------------------------------------------------------------------


def newest_load(snapshot: Snapshot) -> Load | None:
    """The latest start of an engine, unless the status has all of it, or a later one, already."""
    known = parse_time(_text(_reported(snapshot.status).get("startedAt")))
    if known and known > snapshot.now:
        known = None  # not a time of ours
    loads = [(each.moment, each) for each in _loads(snapshot)]
    news = [
        (moment, each)
        for moment, each in loads
        if moment and (known is None or moment > known or (moment == known and not _is_settled(snapshot, each)))
    ]
    return max(news, default=(None, None))[1]


def is_measured(status: Object | None, load: Load) -> bool:
    """Whether the status has what was measured of it."""
    return (_reported(status).get("pod"), _reported(status).get("startedAt")) == (load.pod, load.started_at)


def _is_settled(snapshot: Snapshot, load: Load) -> bool:
    return is_settled(snapshot.status, pod=load.pod, started_at=load.started_at)


def _loads(snapshot: Snapshot) -> Iterator[Load]:
    for raw in snapshot.pods:
        plan, started = annotations_of(raw).get(PLAN_ANNOTATION, ""), started_at(raw.get("status", {}))
        address = address_of(raw)
        if A_KEY.fullmatch(plan) and address and started and Pod(raw, snapshot).is_ready:
            yield Load(name_of(raw), uid_of(raw), started, address, plan)


def address_of(pod: Object) -> str:
    """Empty: it has none of its own, so nothing is requested there."""
    address = _text(pod.get("status", {}).get("podIP"))
    return address if _has_address_of_its_own(pod, address) else ""


def started_at(status: Object) -> str:
    """Empty: the engine's container doesn't run."""
    for container in status.get("containerStatuses") or []:
        if container.get("name") == CONTAINER:
            return _text(((container.get("state") or {}).get("running") or {}).get("startedAt"))
    return ""


def _has_address_of_its_own(pod: Object, address: str) -> bool:
    """Not this machine's own, not that of its node, and not that of a cloud's metadata."""
    if pod.get("spec", {}).get("hostNetwork") or "%" in address:  # a zone would make it another address
        return False
    with suppress(ValueError):
        it = ip_address(address)
        it = (isinstance(it, IPv6Address) and it.ipv4_mapped) or it
        is_special = it.is_loopback or it.is_link_local or it.is_multicast or it.is_unspecified
        return not is_special and it not in OF_METADATA
    return False


# --- what it says -----------------------------------------------------------------------------------------------------


def reading_of(info: bytes) -> Reading | None:
    """None: nothing is measured yet, or this isn't the response of a runtime that measures."""
    try:
        said = json.loads(info)
    except (ValueError, RecursionError):
        return None
    measured = said.get(contract.MEASURED) if isinstance(said, dict) else None
    if not isinstance(measured, dict):
        return None
    weights, kv_cache, activation, graphs = (_number(measured.get(name)) for name in contract.MEASURED_BYTES)
    used, total = _device(measured.get(contract.MEASURED_DEVICES))
    return Reading(
        kv_tokens=_number(measured.get(contract.MEASURED_TOKENS), MOST_TOKENS),
        weights=weights,
        kv_cache=kv_cache,
        activation=activation,
        graphs=graphs,
        used=used,
        total=total,
    )


def parsers_of(info: bytes) -> Object | None:
    """Which parsers of tool calls and of reasoning the engine uses, and why one has none. None: a runtime of an older
    version doesn't say."""
    with suppress(ValueError, RecursionError):
        said = json.loads(info)
        found = said.get(contract.PARSERS) if isinstance(said, dict) else None
        if isinstance(found, dict):
            return dict(_parsers(found)) or None
    return None


def _parsers(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    lacking = []
    for kind in (contract.PARSERS_OF_TOOL_CALLS, contract.PARSERS_OF_REASONING):
        said = found.get(kind)
        name, reason = (_text(said.get("parser")), _text(said.get("reason"))) if isinstance(said, dict) else ("", "")
        if A_PARSER.fullmatch(name):
            yield kind, name
        elif reason and reason.isprintable():
            lacking.append(f"{kind}: {reason[:LONGEST_REASON]}.")
    if lacking:
        yield "message", " ".join(lacking)


def _device(devices: object) -> tuple[int | None, int | None]:
    """The use and the size of the device with the most in use."""
    there = devices[:MOST_DEVICES] if isinstance(devices, list) else []
    found = [(_number(each.get("used")), _number(each.get("total"))) for each in there if isinstance(each, dict)]
    known = [(used, total) for used, total in found if used and total and used <= total]
    return max(known, default=(None, None))


def _number(value: object, most: int = MOST_BYTES) -> int | None:
    return value if type(value) is int and 0 < value <= most else None


# --- what the status says ---------------------------------------------------------------------------------------------


class PlannedMemory(Protocol):
    """Bytes of one device, as planned."""

    @property
    def weights(self) -> int: ...
    @property
    def kv_cache(self) -> int: ...
    @property
    def overhead(self) -> int: ...
    @property
    def budget(self) -> int: ...
    @property
    def outside(self) -> int: ...


class Planned(Protocol):
    """What is compared of a plan."""

    @property
    def vendor(self) -> str: ...
    @property
    def memory(self) -> PlannedMemory | None: ...
    @property
    def kv_tokens(self) -> int | None: ...
    @property
    def sized_by(self) -> int | None: ...


def measured_status(measurement: Measurement, plan: Planned | None, key: str, before: Object | None = None) -> Object:
    """`status.measured`. `plan`: the one by which the pod was made, None: it is another by now; `key`: what the
    measurement is valid for; `before`: the status as it was."""
    load, reading = measurement.load, _completed(measurement.reading, key, before)
    used_outside = reading.used - plan.memory.budget if reading.used and plan and plan.memory else None
    found = {
        "kvTokens": reading.kv_tokens,
        **_sizes(kvCache=reading.kv_cache, weights=reading.weights, activation=reading.activation),
        **_sizes(graphs=reading.graphs, memoryInUse=reading.used, memoryTotal=reading.total),
        **_sizes(outsideBudget=used_outside if plan and plan.vendor != "CPU" else None),
        **(_comparison(reading, plan) if plan else {}),
        "parsers": measurement.parsers,
        "pod": load.pod,
        "startedAt": load.started_at,
        "key": key,
    }
    return {name: value for name, value in found.items() if value is not None}


def _completed(reading: Reading, key: str, before: Object | None) -> Reading:
    """With the step that an earlier start of the same measured: an engine measures it only if it isn't given the size
    of its cache, and the plan then gives it the size that it found."""
    known = _reported(before)
    if reading.activation or known.get("key") != key:
        return reading
    return replace(reading, activation=size_in(known.get("activation")))


def _comparison(reading: Reading, plan: Planned) -> Object:
    """What was planned of what was measured, and the largest error."""
    planned = _planned(plan)
    measured = {"kvTokens": reading.kv_tokens, "weights": reading.weights, "memoryInUse": reading.used}
    errors = {name: _error(name, then, found) for name, then in planned.items() if (found := measured[name])}
    if not errors:
        return {}
    worst = max(errors, key=lambda name: abs(errors[name]))
    then = {name: number if name == "kvTokens" else quantity(number) for name, number in planned.items()}
    then |= _sizes(kvCache=plan.sized_by)
    return {"planned": then, "planErrorPercent": round(errors[worst], 2), "planErrorOf": worst}


def _error(name: str, planned: int, measured: int) -> float:
    """In percent; positive where the plan has more."""
    is_rounded = name != "kvTokens" and abs(planned - measured) <= ROUNDING
    return 0.0 if is_rounded else 100 * (planned - measured) / measured


def _planned(plan: Planned) -> Mapping[str, int]:
    """What is in use of a device in all is planned for accelerators alone: in a container, the kernel decides how much
    of the files stays in memory."""
    found = {"kvTokens": plan.kv_tokens or 0}
    if memory := plan.memory:
        in_use = memory.weights + memory.overhead + memory.kv_cache + memory.outside
        found |= {"weights": memory.weights, "memoryInUse": in_use if plan.vendor != "CPU" else 0}
    return {name: number for name, number in found.items() if number}


def _sizes(**sizes: int | None) -> dict[str, str]:
    return {name: quantity(size) for name, size in sizes.items() if size is not None}


def quantity(size: int) -> str:
    """`15.004Gi`: engines report hundredths of a GiB."""
    return f"{size / GIB:.3f}Gi"


def size_in(text: object) -> int | None:
    """The bytes of such a quantity; None if it can't be true."""
    with suppress(ValueError, OverflowError):
        size = int(units.amount(text)) if isinstance(text, str) else 0
        return size if 0 < size <= MOST_BYTES else None
    return None


# --- what is said of an error -----------------------------------------------------------------------------------------

NOTED_ABOVE = 5.0  # percent
WORDS = {"kvTokens": "tokens of KV cache", "weights": "of weights", "memoryInUse": "of memory in use"}


def missed_plan(status: Object | None) -> float | None:
    """The error in percent, if it is one to tell people."""
    error = _reported(status).get("planErrorPercent")
    return float(error) if isinstance(error, int | float) and NOTED_ABOVE < abs(error) < float("inf") else None


def is_same_load(one: Object | None, other: Object | None) -> bool:
    """Of two statuses."""
    return all(_reported(one).get(name) == _reported(other).get(name) for name in ("pod", "startedAt"))


def words_on_error(status: Object) -> str:
    measured, planned = _reported(status), _reported(status).get("planned")
    what = _text(measured.get("planErrorOf"))
    then = planned.get(what) if isinstance(planned, dict) else None
    return (
        f"The plan has {_shown(then)} {WORDS.get(what, what)}, and pod {measured.get('pod')} measured "
        f"{_shown(measured.get(what))} ({measured.get('planErrorPercent'):+.1f} %). The next plan for the same model, "
        "accelerator, engine and flags uses what was measured."
    )


def _shown(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else _text(value)


def _reported(status: Object | None) -> dict[str, Any]:
    found = (status or {}).get("measured")
    return found if isinstance(found, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
