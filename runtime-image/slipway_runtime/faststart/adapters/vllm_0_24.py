"""vLLM 0.24.0."""

from __future__ import annotations

import importlib

from slipway_runtime.faststart.adapters.parts import (
    CaptureParts,
    CoreParts,
    GrammarParts,
    GraphParts,
    RendererParts,
    ServerParts,
    UnexpectedError,
    expect,
    expect_uses,
)

API = "vllm.entrypoints.openai.api_server"
ALSO_IMPORTED = (
    "vllm.v1.engine.async_llm",
    "vllm.entrypoints.serve.sagemaker.api_router",
    "vllm.entrypoints.openai.models.api_router",
    "vllm.entrypoints.openai.chat_completion.api_router",
    "vllm.entrypoints.openai.chat_completion.batch_serving",
    "vllm.entrypoints.openai.chat_completion.serving",
    "vllm.entrypoints.openai.completion.api_router",
    "vllm.entrypoints.openai.completion.serving",
    "vllm.entrypoints.openai.responses.api_router",
    "vllm.entrypoints.openai.responses.serving",
    "vllm.entrypoints.anthropic.api_router",
    "vllm.entrypoints.anthropic.serving",
    "vllm.entrypoints.mcp.tool_server",
    "vllm.entrypoints.serve.disagg.api_router",
    "vllm.entrypoints.serve.elastic_ep.api_router",
    "vllm.entrypoints.serve.render.api_router",
    "slipway_runtime.engines.vllm.app",
)
"""Modules that the server would import only after the engine core is ready."""
IMPORTED_ALONE: tuple[tuple[str, str], ...] = ()


def environment(device: str) -> dict[str, str]:
    """Puts the compiled model into one file that is loaded without Inductor, as later versions do on their own."""
    return {"VLLM_USE_MEGA_AOT_ARTIFACT": "1"}


def core_parts() -> CoreParts:
    from vllm.engine.arg_utils import AsyncEngineArgs  # noqa: PLC0415 - this module is also imported without vLLM
    from vllm.model_executor.model_loader import default_loader  # noqa: PLC0415
    from vllm.usage.usage_lib import UsageContext  # noqa: PLC0415
    from vllm.utils.argparse_utils import FlexibleArgumentParser  # noqa: PLC0415
    from vllm.v1.engine import core  # noqa: PLC0415
    from vllm.v1.engine.utils import EngineZmqAddresses  # noqa: PLC0415
    from vllm.v1.executor import Executor  # noqa: PLC0415

    process = core.EngineCoreProc
    expect(AsyncEngineArgs.create_engine_config, "self", "usage_context", "headless")
    expect(process._perform_handshakes, *HANDSHAKE)
    expect_uses(process.__init__, "_perform_handshakes")
    expect(process.run_busy_loop, "self")
    expect(process.run_engine_core, "args", "dp_rank", "local_dp_rank", "kwargs")
    expect_uses(process.run_engine_core, "EngineCoreProc", "run_busy_loop")
    expect(default_loader.safetensors_weights_iterator, *WEIGHTS_ITERATOR)
    expect_uses(default_loader.DefaultModelLoader._get_weights_iterator, "safetensors_weights_iterator")
    return CoreParts(
        parser=FlexibleArgumentParser,
        arguments=AsyncEngineArgs,
        configure=lambda _: None,
        usage=UsageContext.OPENAI_API_SERVER,
        core=core,
        addresses=EngineZmqAddresses,
        executor=Executor,
        loader=default_loader,
    )


def server_parts() -> ServerParts:
    import uvloop  # noqa: PLC0415 - as above
    from vllm import envs  # noqa: PLC0415

    api = importlib.import_module(API)
    expect(api.run_server, "args", "uvicorn_kwargs")
    expect(api.run_server_worker, "listen_address", "sock", "args", "client_config", "uvicorn_kwargs")
    expect_uses(api.run_server, "run_server_worker")
    expect_uses(api.build_and_serve, "serve_http")
    expect(envs.enable_envs_cache)
    return ServerParts(
        parser=api.FlexibleArgumentParser,
        arguments=api.AsyncEngineArgs,
        configure=lambda _: None,
        make_parser=api.make_arg_parser,
        validate=api.validate_parsed_serve_args,
        prepare=api.cli_env_setup,
        settle=envs.enable_envs_cache,
        api=api,
        run=uvloop.run,
    )


def capture_parts() -> CaptureParts:
    import torch  # noqa: PLC0415 - as above
    from vllm.v1.worker.gpu_worker import Worker  # noqa: PLC0415

    expect(Worker.compile_or_warm_up_model, "self")
    expect(torch.cuda.empty_cache)
    expect_uses(torch.cuda.graphs.graph.__enter__, "empty_cache", "_host_emptyCache")
    return CaptureParts(worker=Worker, torch=torch)


def graph_parts() -> GraphParts:
    raise UnexpectedError(NEVER_READ)


def grammar_parts() -> GrammarParts:
    raise UnexpectedError(NEVER_READ)


def renderer_parts() -> RendererParts:
    raise UnexpectedError(NEVER_READ)


NEVER_READ = "this part of vLLM 0.24 was never read"
HANDSHAKE = ("self", "handshake_address", "identity", "local_client", "vllm_config", "client_handshake_address")
WEIGHTS_ITERATOR = (
    "hf_weights_files",
    "use_tqdm_on_load",
    "safetensors_load_strategy",
    "local_expert_ids",
    "safetensors_prefetch_num_threads",
    "safetensors_prefetch_block_size",
)
