"""Calls to an API server that has faults: which are retried, which are not, and what the errors say."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client import Configuration
from slipway.kube.call_retries import Patience
from slipway.kube.client import FieldManagers, KubeClient
from slipway.kube.connection import Connection
from slipway.kube.errors import (
    ConflictError,
    ForbiddenError,
    InvalidError,
    KindMissingError,
    KubeError,
    NamespaceGoesError,
    NotFoundError,
    NotLeaderError,
    TooLargeError,
    UnavailableError,
)
from slipway.kube.metrics import WatchMetrics
from slipway.objects.kinds import CONFIG_MAP, INFERENCE_SERVICE, POD, SECRET, Object, UnknownKindError, kind_of
from slipway.process.metrics import MetricsRegistry

CONFIG: Object = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "chat"}}
MANAGERS = FieldManagers(objects="slipway", status="slipway-status")
QUICK = Patience(deadline=20.0, per_try=10.0, first_pause=0.001, longest_pause=0.002)
"""Short pauses between tries. Each try has plenty of time even on a busy machine."""

Fault = Callable[[web.Request], Awaitable[web.Response]]


def status(code: int, reason: str, message: str, **details: str) -> web.Response:
    body = {"kind": "Status", "code": code, "reason": reason, "message": message, "details": details}
    return web.json_response(body, status=code)


@dataclass
class Server:
    """Responds with its faults in their order, then echoes the request."""

    faults: list[Fault] = field(default_factory=list)
    requests: list[web.Request] = field(default_factory=list)
    bodies: list[str] = field(default_factory=list)

    def fail(self, code: int, *, times: int = 1, headers: dict[str, str] | None = None) -> None:
        async def fault(_: web.Request) -> web.Response:
            return web.Response(status=code, text="trouble", headers=headers)

        self.faults += [fault] * times

    def answer(self, response: Callable[[], web.Response]) -> None:
        async def fault(_: web.Request) -> web.Response:
            return response()

        self.faults.append(fault)

    def reset(self) -> None:
        async def fault(request: web.Request) -> web.Response:
            assert request.transport
            request.transport.abort()
            return web.Response()

        self.faults.append(fault)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        text = await request.text()
        self.bodies.append(text)
        if self.faults:
            return await self.faults.pop(0)(request)
        return web.json_response(text=text or "{}")


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def metrics() -> MetricsRegistry:
    return MetricsRegistry("slipway")


@pytest.fixture
async def client(server: Server, metrics: MetricsRegistry) -> AsyncIterator[KubeClient]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    async with TestServer(app) as http:
        configuration = Configuration(host=str(http.make_url("")).rstrip("/"))
        connection = Connection(configuration)
        yield KubeClient(connection, WatchMetrics(metrics), patience=QUICK, managers=MANAGERS, jitter=lambda: 1.0)
        await connection.close()


async def test_an_apply_is_server_side_under_our_field_manager(client: KubeClient, server: Server) -> None:
    await client.apply(CONFIG_MAP, CONFIG)
    [request] = server.requests
    assert request.method == "PATCH"
    assert request.path == "/api/v1/namespaces/chat/configmaps/a"
    assert dict(request.query) == {"fieldManager": "slipway", "force": "true"}
    assert request.content_type == "application/apply-patch+yaml"
    assert json.loads(server.bodies[0]) == CONFIG


async def test_a_dry_run_creates_nothing(client: KubeClient, server: Server) -> None:
    await client.create(CONFIG_MAP, CONFIG, dry_run=True)
    await client.create(CONFIG_MAP, CONFIG)
    assert [dict(request.query) for request in server.requests] == [{"dryRun": "All"}, {}]


async def test_a_status_is_applied_by_a_field_manager_of_its_own(client: KubeClient, server: Server) -> None:
    await client.apply_status(CONFIG_MAP, CONFIG)
    [request] = server.requests
    assert request.path.endswith("/configmaps/a/status")
    assert request.query["fieldManager"] == "slipway-status"


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
async def test_temporary_errors_are_retried(client: KubeClient, server: Server, code: int) -> None:
    server.fail(code, times=2)
    assert await client.apply(CONFIG_MAP, CONFIG) == CONFIG
    assert len(server.requests) == 3


async def test_a_request_whose_connection_breaks_is_retried(client: KubeClient, server: Server) -> None:
    server.reset()
    assert await client.apply(CONFIG_MAP, CONFIG) == CONFIG


@pytest.mark.parametrize(
    ("code", "error"), [(400, InvalidError), (403, ForbiddenError), (409, ConflictError), (422, InvalidError)]
)
async def test_permanent_errors_are_not_retried(
    client: KubeClient, server: Server, code: int, error: type[KubeError]
) -> None:
    server.answer(lambda: status(code, "Reason", "the words"))
    with pytest.raises(error, match="the words"):
        await client.apply(CONFIG_MAP, CONFIG)
    assert len(server.requests) == 1


async def test_an_error_names_the_request_and_quotes_the_server(client: KubeClient, server: Server) -> None:
    server.answer(lambda: status(422, "Invalid", "spec.replicas: must be positive"))
    with pytest.raises(InvalidError) as caught:
        await client.apply(CONFIG_MAP, CONFIG)
    assert str(caught.value) == "apply ConfigMap chat/a failed (422 Invalid): spec.replicas: must be positive"


async def test_retry_after_is_respected(client: KubeClient, server: Server) -> None:
    server.fail(429, headers={"Retry-After": "30"})
    with pytest.raises(UnavailableError, match="429"):  # Retry-After is beyond the deadline, so there is no retry
        await client.apply(CONFIG_MAP, CONFIG)
    assert len(server.requests) == 1


async def test_retries_end_at_the_deadline(client: KubeClient, server: Server) -> None:
    server.fail(503, times=10_000)
    with pytest.raises(UnavailableError):
        await client.with_(patience=Patience(deadline=0.3, first_pause=0.02, longest_pause=0.04)).apply(
            CONFIG_MAP, CONFIG
        )
    assert 2 <= len(server.requests) <= 20


async def test_a_server_that_does_not_respond_times_out(client: KubeClient, server: Server) -> None:
    async def hang(_: web.Request) -> web.Response:
        await asyncio.sleep(2)
        return web.Response()

    server.faults.append(hang)
    assert await client.with_(patience=replace(QUICK, per_try=1.0)).apply(CONFIG_MAP, CONFIG) == CONFIG
    assert len(server.requests) == 2


async def test_a_missing_kind_is_distinguished_from_a_missing_object(client: KubeClient, server: Server) -> None:
    server.answer(lambda: web.Response(status=404, text="404 page not found\n"))
    with pytest.raises(KindMissingError):
        await client.get(INFERENCE_SERVICE, "a", "chat")
    server.answer(lambda: status(404, "NotFound", 'pods "a" not found', name="a", kind="pods"))
    with pytest.raises(NotFoundError):
        await client.get(POD, "a", "chat")


async def test_a_terminating_namespace_is_distinguished_from_a_missing_right(
    client: KubeClient, server: Server
) -> None:
    going = {"kind": "Status", "reason": "Forbidden", "details": {"causes": [{"reason": "NamespaceTerminating"}]}}
    server.answer(lambda: web.json_response(going, status=403))
    with pytest.raises(NamespaceGoesError):
        await client.apply(CONFIG_MAP, CONFIG)
    server.answer(lambda: status(403, "Forbidden", "no"))
    with pytest.raises(ForbiddenError):
        await client.apply(CONFIG_MAP, CONFIG)


async def test_a_refusal_because_our_kind_is_not_yet_known_counts_as_temporary(
    client: KubeClient, server: Server
) -> None:
    words = "cannot set blockOwnerDeletion in this case because cannot find RESTMapping for APIVersion slipway.dev/v1"
    server.answer(lambda: status(403, "Forbidden", words))
    with pytest.raises(UnavailableError):
        await client.apply(CONFIG_MAP, CONFIG)


async def test_a_response_with_too_many_bytes_is_not_read(client: KubeClient, server: Server) -> None:
    server.answer(lambda: web.Response(body=b"{" * 101))
    with pytest.raises(TooLargeError, match="more than 100 bytes"):
        await client.get(CONFIG_MAP, "a", "team", at_most=100)
    server.answer(lambda: web.json_response({"a": 1}))
    assert await client.get(CONFIG_MAP, "a", "team", at_most=100) == {"a": 1}


async def test_a_list_with_too_many_bytes_is_not_read_and_not_requested_again(
    client: KubeClient, server: Server
) -> None:
    server.answer(lambda: web.Response(body=b"{" * 101))
    with pytest.raises(TooLargeError, match="more than 100 bytes"):
        await client.list(POD, field_selector="status.podIP=10.0.0.1", at_most=100)
    assert len(server.requests) == 1


async def test_a_list_is_read_page_by_page(client: KubeClient, server: Server) -> None:
    pages = [{"items": [{"a": 1}], "metadata": {"continue": "more"}}, {"items": None, "metadata": {}}]
    for page in pages:
        server.answer(lambda page=page: web.json_response(page))  # type: ignore[misc]
    assert await client.list(CONFIG_MAP) == [{"a": 1, "apiVersion": "v1", "kind": "ConfigMap"}]
    assert [request.query.get("continue") for request in server.requests] == [None, "more"]


async def test_a_list_with_a_field_selector_is_not_paged(client: KubeClient, server: Server) -> None:
    """The API server would read each page from etcd instead of from its cache."""
    server.answer(lambda: web.json_response({"items": [], "metadata": {}}))
    assert await client.list(POD, field_selector="status.podIP=10.0.0.1") == []
    [request] = server.requests
    assert dict(request.query) == {"fieldSelector": "status.podIP=10.0.0.1"}


async def test_deleting_a_missing_object_is_not_an_error(client: KubeClient, server: Server) -> None:
    server.answer(lambda: status(404, "NotFound", "gone", name="a"))
    assert await client.delete(CONFIG_MAP, "a", "chat") is False


async def test_every_try_is_counted(client: KubeClient, server: Server, metrics: MetricsRegistry) -> None:
    server.fail(503)
    server.reset()
    await client.apply(CONFIG_MAP, CONFIG)
    counted = {
        code: metrics.collectors.get_sample_value(
            "slipway_api_calls_total", {"verb": "apply", "kind": "ConfigMap", "code": code}
        )
        for code in ("503", "none", "200")
    }
    assert counted == {"503": 1, "none": 1, "200": 1}


async def test_a_standby_reads_but_does_not_write(client: KubeClient, server: Server) -> None:
    def guard() -> float:
        raise NotLeaderError("b leads")

    standby = client.with_(guard=guard)
    for write in (
        standby.apply(CONFIG_MAP, CONFIG),
        standby.create(CONFIG_MAP, CONFIG),
        standby.delete(CONFIG_MAP, "a", "chat"),
    ):
        with pytest.raises(NotLeaderError):
            await write
    assert server.requests == []
    await standby.get(CONFIG_MAP, "a", "chat")


async def test_the_lease_is_checked_again_before_each_try(client: KubeClient, server: Server) -> None:
    left = [1.0]

    def guard() -> float:
        if not left:
            raise NotLeaderError("b leads")
        return left.pop()

    server.fail(503)
    with pytest.raises(NotLeaderError):
        await client.with_(guard=guard).apply(CONFIG_MAP, CONFIG)
    assert len(server.requests) == 1


def test_an_unknown_kind_is_named_in_the_error() -> None:
    with pytest.raises(UnknownKindError, match=r"example\.com/v1 Widget is not in slipway\.objects\.kinds"):
        kind_of({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "a"}})


async def test_a_list_of_metadata_keeps_only_the_identity_of_the_objects(client: KubeClient, server: Server) -> None:
    """The managed fields of ten thousand objects are hundreds of megabytes."""
    which = {"name": "a", "namespace": "chat", "uid": "1", "resourceVersion": "7"}
    page = {"metadata": {}, "items": [{"metadata": {**which, "managedFields": [{"manager": "slipway"}]}}]}
    server.answer(lambda: web.json_response(page))
    assert await client.list_metadata(CONFIG_MAP) == [{"metadata": which}]


async def test_the_existence_of_a_secret_is_checked_without_reading_its_content(
    client: KubeClient, server: Server
) -> None:
    assert await client.exists(SECRET, "a", "chat") is True
    server.answer(lambda: status(404, "NotFound", "gone", name="a"))
    assert await client.exists(SECRET, "a", "chat") is False
    assert {request.headers["Accept"].partition(";")[2] for request in server.requests} == {
        "as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
    }


@pytest.mark.parametrize("allowed", [True, False])
async def test_the_api_server_reports_what_is_allowed(client: KubeClient, server: Server, allowed: bool) -> None:
    server.answer(lambda: web.json_response({"status": {"allowed": allowed}}))
    assert await client.may_get(SECRET, "a", "chat") is allowed
    [review] = map(json.loads, server.bodies)
    right = {"verb": "get", "group": "", "resource": "secrets", "name": "a", "namespace": "chat"}
    assert review["spec"] == {"resourceAttributes": right}


async def test_a_page_that_is_too_large_is_requested_in_smaller_pages_without_gaps(
    client: KubeClient, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tenant who may create objects can make them very large, and can label them as ours."""
    monkeypatch.setattr("slipway.kube.client.LARGEST_PAGE", 2_000)
    sizes = [1_500, *[100] * 10]
    items = [{"metadata": {"name": str(each), "labels": {"x": "y" * size}}} for each, size in enumerate(sizes)]

    async def page(request: web.Request) -> web.Response:
        start, limit = int(request.query.get("continue", "0")), int(request.query["limit"])
        end = start + limit
        rest = {"continue": str(end)} if end < len(items) else {}
        return web.json_response({"metadata": rest, "items": items[start:end]})

    server.faults = [page] * 20
    found = await client.list_metadata(POD)
    assert [each["metadata"]["name"] for each in found] == [str(each) for each in range(11)]
