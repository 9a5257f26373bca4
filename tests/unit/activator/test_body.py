"""The blocks that a body is kept in: what is kept is what is accounted, however it came."""

import sys

import pytest
from slipway.activator.body import BLOCK, Blocks


@pytest.mark.parametrize("size", [1, 2, 1000, BLOCK // 2, BLOCK, 3 * BLOCK])
def test_pieces_of_any_size_take_hardly_more_than_what_is_in_them(size: int) -> None:
    blocks = Blocks()
    for _ in range(4 * BLOCK // size + 1):
        blocks.add(b"x" * size)
    assert b"".join(blocks) == b"x" * blocks.size
    assert sum(map(sys.getsizeof, blocks)) < 1.01 * blocks.size


@pytest.mark.parametrize("size", [0, 10, 99, 100, 101, 3 * BLOCK])
def test_of_a_long_body_its_beginning_and_its_end_are_looked_at(size: int) -> None:
    blocks, body = Blocks(), bytes(each % 251 for each in range(size))
    for begin in range(0, size, 1000):
        blocks.add(body[begin : begin + 1000])
    assert blocks.ends(100) == (body if size <= 100 else body[:50] + body[-50:])
