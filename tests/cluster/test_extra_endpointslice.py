"""One Service with two sources of endpoints: its pods, and a slice of our own that leads to the test."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from support.builders import objects
from support.cluster import Kube, ReachableServer, ServiceAccess, is_ready
from support.cluster.services import until_answers, until_only

HELD, POD = "held by the tester", "web"


@pytest.fixture
async def service(kube: Kube, tester: ReachableServer) -> AsyncIterator[str]:
    """A Service whose selector matches no pods, with the extra slice."""

    async def hold(_: web.Request) -> web.Response:
        return web.Response(text=HELD)

    async with tester.http(hold) as port:
        extra = tester.endpoint_slice("web-extra", service="web", port_name="http", port=port)
        await kube.apply(objects.service("web", selector={"app": "web"}), extra)
        yield "web"


async def test_without_pods_requests_reach_the_slice(service: str, access: ServiceAccess) -> None:
    url = await access.url(service)
    async with access.session() as session:
        await until_only(session, url, HELD)


async def test_with_a_ready_pod_both_respond_and_only_the_pod_after_the_slice_is_deleted(
    service: str, access: ServiceAccess, kube: Kube, python_image: str
) -> None:
    await kube.apply(objects.web_server(POD, python_image, labels={"app": "web"}))
    await kube.wait_for("pod", POD, is_ready)
    url = await access.url(service)
    async with access.session() as session:
        await until_answers(session, url, {HELD, POD})
        await kube.delete("endpointslice", "web-extra")
        await until_only(session, url, POD)
