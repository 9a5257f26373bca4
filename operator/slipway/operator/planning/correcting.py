"""The plan of a model that has run before: what its engine measured replaces what was computed. Pure.

A tenant decides what its pods report, so a measurement corrects a plan only within bounds: it never makes the KV cache
larger than computed by more than MOST_MORE, nor the sum larger than the device. What the engine is started with changes
only if the difference matters: each start measures slightly different sizes, and a plan that followed them would never
be the same twice.

What vLLM has measured depends on how it was started. If it was given the size of its cache, it reports weights, graphs
and what is in use. If it measured what is left, it reports the largest step as well, and then the size that it chose
itself is more certain than any sum.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from slipway.models.facts import Evidence
from slipway.observing.measured import ROUNDING
from slipway.operator.planning.measured import Measured
from slipway.operator.planning.memory.settings import GIB
from slipway.operator.planning.plan import Memory

MOST_MORE = 0.05
"""Of the cache, and of the device: an error above this is an event (PlanMissed), for people to look at."""
LEAST = 0.01
"""Of the cache: a smaller difference changes nothing that the engine is started with."""

ROUNDED_SUM = 3 * ROUNDING
"""How wrong a sum can be of what engines report: weights, graphs and the cache itself."""


@dataclass(frozen=True, kw_only=True)
class Sized:
    """The memory as it is known, and what the engine is to be started with."""

    memory: Memory
    kv_cache: int  # bytes that the engine gets for its cache
    budget: int  # as it was computed
    tokens: int | None = None  # that it measured with this size; None: they have to be computed


def as_computed(memory: Memory) -> Sized:
    return Sized(memory=memory, kv_cache=memory.kv_cache, budget=memory.budget)


def total_of(computed: int, measured: Measured, *, most: int) -> int:
    """Bytes of the device: as its driver counts them, unless that can't be this device. `most`: as its vendor does."""
    total = measured.total or computed
    return total if computed * (1 - MOST_MORE) <= total <= most else computed


# --- vLLM on accelerators ---------------------------------------------------------------------------------------------


def as_vllm_measured(computed: Memory, again: Memory, measured: Measured) -> Sized:
    """`again`: with the measured size of the device, and otherwise as computed."""
    most = int(computed.kv_cache * (1 + MOST_MORE))
    if measured.activation and measured.kv_cache:
        memory = _as_it_chose(again, measured, min(measured.kv_cache, most))
    else:
        memory = _as_it_was_given(again, measured, most)
    if memory.total == measured.total:
        memory = replace(memory, evidence=_measured(memory, "total"))
    size = _steady(memory, measured, computed.kv_cache, most)
    memory = replace(memory, outside=memory.outside + min(0, _room(memory) - size))
    has_run = _is_same(size, measured.kv_cache)
    if not measured.activation:
        memory = replace(memory, kv_cache=size, evidence=_measured(memory, *(["kv_cache"] if has_run else [])))
    is_told_the_same = _is_same(size, _given_before(measured))
    tokens = measured.kv_tokens if is_told_the_same else None
    return Sized(memory=memory, kv_cache=size, budget=computed.budget, tokens=tokens)


def _as_it_chose(computed: Memory, measured: Measured, cache: int) -> Memory:
    """What is neither cache nor reported is what vLLM found in use already."""
    memory = _with_parts(computed, weights=measured.weights, activation=measured.activation, graphs=measured.graphs)
    room = max(0, memory.budget - memory.weights - memory.activation - memory.graphs)
    cache = min(cache, room)
    evidence = _measured(memory, "kv_cache", "other")
    return replace(memory, kv_cache=cache, other=room - cache, evidence=evidence)


def _as_it_was_given(computed: Memory, measured: Measured, most: int) -> Memory:
    """Graphs that take less than was taken off for them leave room that what lies outside was counted on; and some may
    be captured only after the engine was ready, when this was measured. So that room is kept, whatever was in use."""
    memory = _with_parts(computed, weights=measured.weights, graphs=measured.graphs)
    later = max(0, computed.graphs - memory.graphs)
    if measured.in_use and measured.kv_cache:
        beyond = measured.in_use - measured.kv_cache - memory.weights - memory.overhead
        if beyond > memory.outside:
            memory = replace(memory, outside=beyond, evidence=_measured(memory, "outside"))
    left = memory.budget - memory.weights - memory.overhead
    memory = replace(memory, outside=memory.outside + later)
    return replace(memory, kv_cache=max(0, min(left, _room(memory), most)))


def _room(memory: Memory) -> int:
    """Bytes for the cache, on the device as a whole."""
    return memory.total - memory.outside - memory.weights - memory.overhead


def _steady(memory: Memory, measured: Measured, computed: int, most: int) -> int:
    """The size that the engine had the last time, where the new one is almost the same and the device holds both, as
    far as rounded sizes tell: otherwise, it would change to and fro."""
    new, before = memory.kv_cache, _given_before(measured)
    if before is not None and abs(before - computed) <= ROUNDING:
        before = computed  # exactly, since engines round what they report
    is_alike = before is not None and abs(new - before) <= max(LEAST * before, ROUNDED_SUM)
    if before is not None and is_alike and before <= min(most, _room(memory) + ROUNDED_SUM):
        return before
    return new * 100 // GIB * GIB // 100  # as engines report it, so that the next start has the same number


def _given_before(measured: Measured) -> int | None:
    """What the last start was given; without a plan of it, what it had."""
    return measured.planned_kv_cache or measured.kv_cache


def _is_same(one: int, other: int | None) -> bool:
    return other is not None and abs(one - other) <= ROUNDING


# --- in containers ----------------------------------------------------------------------------------------------------


def as_llamacpp_measured(computed: Memory, measured: Measured) -> Memory:
    """All of its parts are in its log. They count if the container holds them."""
    memory = _with_parts(computed, weights=measured.weights, activation=measured.activation, kv_cache=measured.kv_cache)
    return memory if memory.weights + memory.overhead + memory.kv_cache <= memory.budget else computed


def as_vllm_on_cpus_measured(computed: Memory, again: Memory, measured: Measured) -> Memory:
    """`again`: computed with the measured weights. Its cache has a size in whole GiB, which is never larger."""
    if not measured.weights or abs(measured.weights - computed.weights) <= ROUNDING:
        return _with_parts(computed, weights=measured.weights)
    memory = _with_parts(again, weights=measured.weights)
    return replace(memory, kv_cache=min(again.kv_cache, computed.kv_cache))


# --- parts ------------------------------------------------------------------------------------------------------------


def _with_parts(memory: Memory, **sizes: int | None) -> Memory:
    known: dict[str, int] = {name: size for name, size in sizes.items() if size is not None}
    return replace(memory, **known, evidence=_measured(memory, *known))


def _measured(memory: Memory, *names: str) -> Mapping[str, Evidence]:
    return {**memory.evidence, **dict.fromkeys(names, Evidence.MEASURED)}
