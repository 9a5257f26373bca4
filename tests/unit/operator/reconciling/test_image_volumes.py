"""Whether the API server knows volumes of images: who asks, and what is said until it is known."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from slipway.kube.errors import Call, InvalidError, UnavailableError
from slipway.objects.kinds import Kind, Object
from slipway.operator.reconciling.image_volumes import AGAIN, FRESH, OFF, ImageVolumes

CALL = Call("create", "PodTemplate", "slipway-system/slipway-image-volumes")


class Server:
    """Responds only when it may."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.asked, self.now, self.may = 0, 0.0, asyncio.Event()
        self.volumes = ImageVolumes(self, namespace="slipway-system", clock=lambda: self.now)  # type: ignore[arg-type]

    async def create(self, _kind: Kind, thing: Object, **_: Any) -> Object:
        self.asked += 1
        await self.may.wait()
        if self.error:
            raise self.error
        return thing


def refusal() -> InvalidError:
    return InvalidError(CALL, "must specify a volume type", code=422)


async def test_until_it_is_known_nobody_hears_that_pods_can_mount_images() -> None:
    server = Server()
    server.error = refusal()
    asking = [asyncio.create_task(server.volumes.obstacle()) for _ in range(3)]
    await asyncio.sleep(0)
    server.may.set()
    assert await asyncio.gather(*asking) == [OFF] * 3
    assert server.asked == 1


async def test_one_who_asks_and_is_cancelled_leaves_no_answer() -> None:
    server = Server()
    server.error = refusal()
    first = asyncio.create_task(server.volumes.obstacle())
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    server.may.set()
    assert await server.volumes.obstacle() == OFF


async def test_what_was_known_stays_while_the_api_server_fails() -> None:
    server = Server()
    server.may.set()
    assert await server.volumes.obstacle() == ""
    server.error, server.now = UnavailableError(CALL, "etcd is away", code=500), FRESH
    assert await server.volumes.obstacle() == ""
    server.error, server.now = refusal(), FRESH + AGAIN
    assert await server.volumes.obstacle() == OFF
