"""How vLLM lays its cache out in blocks; worked out by hand from its rules."""

from __future__ import annotations

from dataclasses import replace

from slipway.models.facts import Keeps, Layers
from slipway.operator.planning.memory.blocks import Cache, Group, cache_of
from slipway.operator.planning.memory.releases import RELEASES
from slipway.operator.planning.memory.settings import Settings
from support.builders.models import DEEPSEEK_LITE, GEMMA_12B, LLAMA_8B, attention

OLD, NEW = RELEASES["0.24"], RELEASES["0.32"]
SETTINGS = Settings(sequences=256, batched_tokens=2048)


def test_layers_of_one_kind_are_one_group_whose_block_has_a_page_of_each() -> None:
    """16 tokens * 2 * 8 heads * 128 * 2 B = 64 KiB a page, and 32 of them."""
    assert cache_of(LLAMA_8B, SETTINGS, OLD) == Cache(32 * 64 * 1024, (Group(1, 16, None),))


def test_tensor_parallelism_divides_the_heads_but_never_below_one() -> None:
    assert _block_bytes(tensor=2) == _block_bytes() // 2
    assert _block_bytes(tensor=16) == _block_bytes(tensor=8) == _block_bytes() // 8


def test_a_pipeline_has_the_layers_of_a_stage_on_each_device() -> None:
    assert _block_bytes(pipeline=3) == _block_bytes() * 11 // 32


def test_layers_with_a_window_are_split_into_groups_as_large_as_the_rarest_kind() -> None:
    """8 full layers; 40 with a window are 5 groups of 8. A window keeps 1,023 tokens and those of a step."""
    cache = cache_of(GEMMA_12B, SETTINGS, OLD)
    assert cache == Cache(8 * 16 * 2 * 8 * 256 * 2, (Group(1, 16, None), Group(5, 16, 1023 + 2048)))
    assert cache.blocks(131072) == 131072 // 16 + 5 * (192 + 1)


def test_newer_releases_keep_the_tokens_of_two_steps_in_flight() -> None:
    cache = cache_of(GEMMA_12B, SETTINGS, NEW)
    assert cache
    assert cache.groups[1] == Group(5, 16, 1023 + 2 * 2048)


def test_kinds_of_about_the_same_number_are_padded_to_the_larger_one() -> None:
    """12 with a window and 13 full ones, as gpt-oss-20b with a draft layer: two groups of 13."""
    model = replace(LLAMA_8B, layers=(attention(12, window=128), attention(13)))
    cache = cache_of(model, SETTINGS, OLD)
    assert cache
    assert [group.count for group in cache.groups] == [1, 1]
    assert cache.block_bytes == 13 * 64 * 1024


def test_latent_vectors_are_on_each_device() -> None:
    """16 tokens * 576 values * 2 B * 27 layers, whatever the parallelism."""
    cache = cache_of(DEEPSEEK_LITE, replace(SETTINGS, tensor=8), OLD)
    assert cache == Cache(27 * 16 * 576 * 2, (Group(1, 16, None),))


def test_a_state_enlarges_the_blocks_until_a_page_of_keys_and_values_is_as_large() -> None:
    """A state of 1 MiB and 4 KiB a token: 256 tokens in a block. A request takes one block for each group of states."""
    mamba = Layers(count=21, keeps=Keeps.STATE, state_16_bit=512 * 1024)
    cache = cache_of(replace(LLAMA_8B, layers=(attention(7), mamba)), SETTINGS, OLD)
    assert cache == Cache(7 << 20, (Group(1, 256, None), Group(3, 256, None, states=1)))
    assert cache.blocks(256) == 1 + 3


def test_where_prefixes_are_cached_a_state_is_kept_at_three_places_of_a_request() -> None:
    mamba = Layers(count=21, keeps=Keeps.STATE, state_16_bit=512 * 1024)
    model = replace(LLAMA_8B, layers=(attention(7), mamba))
    for prefix_caching, blocks in ((True, 1 + 3 * 3), (False, 1 + 3)):
        cache = cache_of(model, replace(SETTINGS, prefix_caching=prefix_caching), NEW)
        assert cache
        assert cache.blocks(256) == blocks


def test_layers_with_attention_and_a_state_are_a_group_of_each() -> None:
    """As in Falcon-H1: 1 MiB of state, and 4 KiB a token."""
    both = attention(7, state_16_bit=512 * 1024)
    cache = cache_of(replace(LLAMA_8B, layers=(both,)), SETTINGS, OLD)
    assert cache == Cache(7 << 20, (Group(1, 256, None), Group(1, 256, None, states=1)))


def test_an_encoder_keeps_nothing() -> None:
    assert cache_of(replace(LLAMA_8B, layers=()), SETTINGS, OLD) is None


def test_the_longest_request_fits_and_one_token_more_does_not() -> None:
    cache = cache_of(GEMMA_12B, SETTINGS, OLD)
    assert cache
    size = cache.request_bytes(20_000)
    longest = cache.longest(size, at_most=131072)
    assert longest >= 20_000
    assert cache.request_bytes(longest) <= size < cache.request_bytes(longest + 1)
    assert cache.longest(0, at_most=131072) == 0


def _block_bytes(**further: int) -> int:
    cache = cache_of(LLAMA_8B, replace(SETTINGS, **further), OLD)  # type: ignore[arg-type]
    assert cache
    return cache.block_bytes
