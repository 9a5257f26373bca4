"""vLLM's KV cache: how many tokens fit into a number of bytes. Pure.

The cache is a pool of blocks of equal size. Layers of the same kind are put into groups with the same number of layers,
and a block holds one page of each layer of a group, so that each group takes its own blocks for a request. These are
the rules of vLLM's `kv_cache_utils.py`; for a given size of the cache they were exact in all measured starts.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace

from slipway.models.facts import Keeps, Layers, Model
from slipway.operator.planning.memory.settings import Release, Settings

ALMOST_ALIKE = 1.5
"""If the most common kind has fewer layers than that times the rarest, a group is as large as the most common kind."""


@dataclass(frozen=True)
class Group:
    """Groups of layers of one kind, which take the same number of blocks for a request."""

    count: int
    block_size: int  # tokens
    kept: int | None  # tokens that are kept at most; None: all of the request
    states: int = 0  # blocks of a request, where the layers have a state instead

    def blocks(self, length: int) -> int:
        """For one request of that length."""
        if self.states:
            return self.count * self.states
        if self.kept is None:
            return self.count * -(-length // self.block_size)
        return self.count * (-(-min(self.kept, length) // self.block_size) + 1)


@dataclass(frozen=True)
class Cache:
    """How the cache of one device is laid out."""

    block_bytes: int
    groups: tuple[Group, ...]

    def blocks(self, length: int) -> int:
        """For one request of that length."""
        return sum(group.blocks(length) for group in self.groups)

    def request_bytes(self, length: int) -> int:
        return self.blocks(length) * self.block_bytes

    def concurrency(self, size: int, length: int) -> float:
        """Requests of that length that fit into `size` bytes; vLLM prints it as the maximum concurrency."""
        return max(0, size) // self.block_bytes / self.blocks(length)

    def tokens(self, size: int, length: int) -> int:
        """As vLLM prints it: the requests that fit, times their length, also where layers have a window."""
        return int(self.concurrency(size, length) * length)

    def longest(self, size: int, *, at_most: int) -> int:
        """The longest request that fits; 0 if none does."""
        room = max(0, size) // self.block_bytes
        if self.blocks(at_most) <= room:
            return at_most
        return bisect_left(range(1, at_most + 1), True, key=lambda length: self.blocks(length) > room)


def cache_of(model: Model, settings: Settings, release: Release) -> Cache | None:
    """None: the model keeps nothing of a request, as encoders do."""
    drafted = settings.draft.layers if settings.draft else ()
    kept = [kind for each in (*model.layers, *drafted) if each.count for kind in each.apart()]
    kinds = [_of_stage(each, settings.pipeline) for each in kept]
    block_size = _block_size(kinds, settings)
    kinds = [each for each in kinds if _page(each, settings, block_size)]
    if not kinds:
        return None
    pages = [_page(each, settings, block_size) for each in kinds]
    if len(set(pages)) > 1 and all(each.keeps is not Keeps.STATE and each.window is None for each in kinds):
        whole = sum(page * each.count for page, each in zip(pages, kinds, strict=True))
        return Cache(whole, (Group(1, block_size, None),))
    in_flight = release.batches(model, settings) * settings.batched_tokens
    states = release.states_of_request if settings.prefix_caching else 1
    page, size = max(pages), _group_size([each.count for each in kinds])
    return Cache(
        page * size,
        tuple(
            Group(
                count=-(-kind.count // size),
                block_size=block_size * (page // own if page % own == 0 else 1),
                kept=_kept(kind, in_flight),
                states=states if kind.keeps is Keeps.STATE else 0,
            )
            for kind, own in zip(kinds, pages, strict=True)
        ),
    )


def _group_size(counts: Sequence[int]) -> int:
    least, most = min(counts), max(counts)
    return most if most < least * ALMOST_ALIKE else least


def _of_stage(layers: Layers, stages: int) -> Layers:
    """The part that a stage of the pipeline has of them at most."""
    return layers if stages == 1 else replace(layers, count=-(-layers.count // stages))


def _kept(layers: Layers, in_flight: int) -> int | None:
    """Blocks behind the window are freed when a step is done, so the tokens of steps in flight are kept, too."""
    return None if layers.window is None else layers.window - 1 + in_flight


def _page(layers: Layers, settings: Settings, block_size: int) -> int:
    """Bytes that one layer takes of a block."""
    return _state(layers, settings) if layers.keeps is Keeps.STATE else block_size * _token(layers, settings)


def _token(layers: Layers, settings: Settings) -> int:
    """Bytes of one token in one layer, on one device. Each device has all of a latent vector."""
    if layers.keeps is Keeps.LATENT:
        return int(layers.latent_size * settings.kv_bits / 8) + layers.index_bytes
    heads = max(1, layers.kv_heads // settings.tensor) if layers.kv_heads else 0
    return int(heads * (layers.key_size + layers.value_size) * settings.kv_bits / 8)


def _state(layers: Layers, settings: Settings) -> int:
    return (layers.state_16_bit * 2 + layers.state_32_bit * 4) // settings.tensor


def _block_size(kinds: Sequence[Layers], settings: Settings) -> int:
    """Where layers have a state, a block is enlarged until a page of keys and values is as large as the state."""
    state = max((_state(each, settings) for each in kinds if each.keeps is Keeps.STATE), default=0)
    token = max((_token(each, settings) for each in kinds if each.keeps is not Keeps.STATE), default=0)
    latent = any(each.keeps is Keeps.LATENT for each in kinds)
    smallest = settings.latent_block_size if latent else settings.block_size
    return smallest * max(1, math.ceil(state / (smallest * token))) if token else smallest
