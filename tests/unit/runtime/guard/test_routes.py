"""Which paths are exposed to clients."""

import pytest
from slipway_runtime.guard.routes import RouteKind, Routes

INTERNAL_TO_VLLM = [
    "/invocations",
    "/inference/v1/generate",
    "/generative_scoring",
    "/scale_elastic_ep",
    "/is_scaling_elastic_ep",
    "/metrics",
    "/load",
    "/version",
    "/ping",
    "/server_info",
    "/tokenizer_info",
    "/kv_event_sources",
    "/fault_tolerance/status",
    "/fault_tolerance/apply",
    "/docs",
    "/openapi.json",
    "/redoc",
    "/abort_requests",
    "/collective_rpc",
    "/pause",
    "/resume",
    "/sleep",
    "/wake_up",
    "/reset_prefix_cache",
    "/reset_mm_cache",
    "/reset_encoder_cache",
    "/release_kv_cache_memory",
    "/start_profile",
    "/stop_profile",
    "/update_weights",
    "/init_weight_transfer_engine",
    "/get_world_size",
    "/v1/load_lora_adapter",
    "/v1/unload_lora_adapter",
    "/cohere/v2/chat",
]
INTERNAL_TO_LLAMACPP = [
    "/slots",
    "/slots/0",
    "/props",
    "/lora-adapters",
    "/completion",
    "/infill",
    "/cors-proxy",
    "/tools",
]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/rerank"])
def test_requests_that_the_engine_computes_are_work(path: str) -> None:
    route = Routes().find("POST", path)
    assert route
    assert route.kind is RouteKind.WORK


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/gemma", "/v1/responses/resp_1"])
def test_requests_that_cost_nothing_still_need_a_key(path: str) -> None:
    route = Routes().find("GET", path)
    assert route
    assert route.kind is RouteKind.KEYED


def test_health_needs_no_key_with_head_too() -> None:
    for method in ("GET", "HEAD"):
        route = Routes().find(method, "/health")
        assert route
        assert route.kind is RouteKind.OPEN


@pytest.mark.parametrize("path", [*INTERNAL_TO_VLLM, *INTERNAL_TO_LLAMACPP])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_other_paths_of_the_engines_do_not_exist(method: str, path: str) -> None:
    assert Routes().find(method, path) is None


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "*",
        "v1/models",
        "//v1/models",
        "/v1//models",
        "/v1/models/",
        "/v1/models/..",
        "/v1/models/.",
        "/v1/models/a/b",
        "/V1/models",
        "/v1/models\0",
        "/health/../metrics",
        "/v1/models/*/x",
        "/v1/chat/completions/render",
    ],
)
def test_a_path_that_only_resembles_a_route_does_not_exist(path: str) -> None:
    assert Routes().find("GET", path) is None


def test_another_method_does_not_exist() -> None:
    assert Routes().find("GET", "/v1/chat/completions") is None
    assert Routes().find("POST", "/health") is None


def test_further_paths_can_be_allowed_and_need_a_key() -> None:
    route = Routes(["POST /v1/load/*"]).find("POST", "/v1/load/adapter")
    assert route
    assert (route.kind, route.path) == (RouteKind.LIMITED, "/v1/load/*")


def test_a_path_exists_if_any_method_does() -> None:
    assert Routes().exists("/v1/chat/completions")
    assert not Routes().exists("/metrics")
