"""The blocks in which a body is stored: they take the memory that is accounted, and are freed when they are sent."""

import asyncio
import sys

import pytest
from slipway.activator.proxy.request_body import BLOCK, BodyBlocks, write_piece


@pytest.mark.parametrize("size", [1, 2, 1000, BLOCK // 2, BLOCK, 3 * BLOCK])
def test_pieces_of_any_size_take_little_more_memory_than_their_content(size: int) -> None:
    blocks = BodyBlocks()
    for _ in range(4 * BLOCK // size + 1):
        blocks.add(b"x" * size)
    assert b"".join(blocks) == b"x" * blocks.size
    assert sum(map(sys.getsizeof, blocks)) < 1.01 * blocks.size


class Sink:
    """Accepts writes when the test lets it."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.takes = asyncio.Semaphore(0)

    def write(self, data: bytes) -> None:
        self.written.append(data)

    async def drain(self) -> None:
        await self.takes.acquire()


@pytest.mark.parametrize(("chunked", "at_a_time"), [(False, 1), (True, 3)])
async def test_a_block_is_sent_when_the_previous_one_is_written_and_is_not_copied(
    chunked: bool, at_a_time: int
) -> None:
    blocks, sink = BodyBlocks(), Sink()
    blocks.add(bytes(BLOCK))
    blocks.add(bytes(BLOCK))

    async def send() -> None:
        for block in blocks:
            await write_piece(sink, block, chunked=chunked)

    sending = asyncio.create_task(send())
    await asyncio.sleep(0)
    assert len(sink.written) == at_a_time
    assert any(written is next(iter(blocks)) for written in sink.written)
    sink.takes.release()
    sink.takes.release()
    await sending
    assert len(sink.written) == 2 * at_a_time
