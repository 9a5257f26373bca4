"""vLLM 0.32.0, as the images contain it: tested on CPUs, and started on an H200."""

from __future__ import annotations

import importlib

from slipway_runtime.faststart.adapters.parts import (
    CaptureParts,
    CoreParts,
    GrammarParts,
    GraphParts,
    RendererParts,
    ServerParts,
    expect,
    expect_uses,
)

API = "vllm.entrypoints.launchers.api_server.entry"
ALSO_IMPORTED = (
    "vllm.v1.engine.async_llm",
    "vllm.entrypoints.serve.sagemaker.api_router",
    "vllm.entrypoints.openai.models.api_router",
    "vllm.entrypoints.openai.chat_completion.api_router",
    "vllm.entrypoints.openai.chat_completion.serving",
    "vllm.entrypoints.openai.completion.api_router",
    "vllm.entrypoints.openai.completion.serving",
    "vllm.entrypoints.openai.responses.api_router",
    "vllm.entrypoints.openai.responses.serving",
    "vllm.entrypoints.serve.elastic_ep.api_router",
    "slipway_runtime.engines.vllm.app",
)
"""Modules that the server would import only after the engine core is ready."""
IMPORTED_ALONE = (("vllm.models.deepseek_v4", "common.eplb_util"),)
"""A module that the worker imports for each model, and whose package imports kernels of one model alone."""


def environment(device: str) -> dict[str, str]:
    """On CPUs it stores a compiled model in a form that it can't load again, and so compiles it at each start. Without
    that form, Inductor's own cache is used. On devices, a library of kernels that few models use would start two
    processes that import torch, to look whether there is something to build.
    """
    return {"VLLM_USE_AOT_COMPILE": "0"} if device == "cpu" else {"HUMMING_DISABLE_PARALLEL_BUILD": "1"}


def core_parts() -> CoreParts:
    from vllm.engine.arg_utils import AsyncEngineArgs  # noqa: PLC0415 - this module is also imported without vLLM
    from vllm.logger import configure_logging_from_args  # noqa: PLC0415
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
        configure=configure_logging_from_args,
        usage=UsageContext.OPENAI_API_SERVER,
        core=core,
        addresses=EngineZmqAddresses,
        executor=Executor,
        loader=default_loader,
    )


def server_parts() -> ServerParts:
    import uvloop  # noqa: PLC0415 - as above
    from vllm import envs  # noqa: PLC0415
    from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args  # noqa: PLC0415
    from vllm.entrypoints.serve.utils.api_utils import cli_env_setup  # noqa: PLC0415
    from vllm.logger import configure_logging_from_args  # noqa: PLC0415
    from vllm.utils.argparse_utils import FlexibleArgumentParser  # noqa: PLC0415

    api = importlib.import_module(API)
    expect(api.run_server, "args", "uvicorn_kwargs")
    expect(api.run_server_worker, "listen_address", "sock", "args", "client_config", "uvicorn_kwargs")
    expect_uses(api.run_server, "run_server_worker")
    expect_uses(api.build_and_serve, "serve_http")
    expect(envs.enable_envs_cache)
    return ServerParts(
        parser=FlexibleArgumentParser,
        arguments=api.AsyncEngineArgs,
        configure=configure_logging_from_args,
        make_parser=make_arg_parser,
        validate=validate_parsed_serve_args,
        prepare=cli_env_setup,
        settle=envs.enable_envs_cache,
        api=api,
        run=uvloop.run,
    )


def capture_parts() -> CaptureParts:
    import torch  # noqa: PLC0415 - as above
    from vllm.compilation import compiler_interface  # noqa: PLC0415
    from vllm.v1.worker.gpu_worker import Worker  # noqa: PLC0415

    expect(Worker.compile_or_warm_up_model, "self")
    expect_uses(Worker.compile_or_warm_up_model, "trigger_inductor_lazy_init")
    expect(compiler_interface.trigger_inductor_lazy_init, "device")
    expect(torch.cuda.empty_cache)
    expect_uses(torch.cuda.graphs.graph.__enter__, "empty_cache", "_host_emptyCache")
    return CaptureParts(worker=Worker, torch=torch, compiler=compiler_interface)


def graph_parts() -> GraphParts:
    import torch  # noqa: PLC0415 - as above
    from vllm.v1.core.sched.scheduler import Scheduler  # noqa: PLC0415
    from vllm.v1.engine import core  # noqa: PLC0415
    from vllm.v1.worker.gpu import cudagraph_utils  # noqa: PLC0415
    from vllm.v1.worker.gpu.model_states.interface import ModelState  # noqa: PLC0415

    manager = cudagraph_utils.ModelCudaGraphManager
    expect(manager.capture, *CAPTURE)
    expect(manager._init_candidates, "self")
    expect_uses(
        manager._init_candidates, "_candidates", "_capture_descs", "cudagraph_capture_sizes", "decode_query_len"
    )
    expect_uses(manager.captured_token_counts, "num_tokens")
    expect_uses(manager.dispatch, "_candidates")
    expect_uses(cudagraph_utils.CudaGraphManager.capture, "_capture_descs", "tqdm")
    process = core.EngineCoreProc
    expect(process._process_input_queue, "self")
    expect_uses(process._process_input_queue, "has_work", "is_running", "input_queue", "_notify_idle_state_callbacks")
    expect_uses(process._process_input_queue, "_handle_client_request")
    expect_uses(process._notify_idle_state_callbacks, "_idle_state_callbacks")
    expect(process.is_scheduler_paused, "self")
    expect(process._process_engine_step, "self")
    expect_uses(process.run_busy_loop, "_process_input_queue", "_process_engine_step")
    expect_uses(Scheduler.schedule, "running")
    expect(ModelState.capture_inner_cudagraphs, *INNER_CAPTURE)
    return GraphParts(manager=manager, module=cudagraph_utils, state=ModelState, torch=torch)


def grammar_parts() -> GrammarParts:
    from vllm.v1 import structured_output  # noqa: PLC0415 - as above

    manager = structured_output.StructuredOutputManager
    expect(structured_output.cached_tokenizer_from_config, "model_config", "kwargs")
    expect_uses(manager.__init__, "cached_tokenizer_from_config", "tokenizer")
    return GrammarParts(manager=manager, module=structured_output)


def renderer_parts() -> RendererParts:
    from vllm.entrypoints.launchers.cli_args import resolve_default_chat_template_kwargs  # noqa: PLC0415 - as above
    from vllm.renderers.base import BaseRenderer  # noqa: PLC0415
    from vllm.renderers.chat_utils import load_chat_template  # noqa: PLC0415
    from vllm.renderers.params import ChatParams  # noqa: PLC0415
    from vllm.v1.engine import async_llm  # noqa: PLC0415

    expect_uses(async_llm.AsyncLLM.__init__, "renderer_from_config")
    expect_uses(BaseRenderer.warmup, "render_chat")
    expect(resolve_default_chat_template_kwargs, "args")
    return RendererParts(
        engine=async_llm,
        chat_parameters=lambda arguments: ChatParams(
            chat_template=load_chat_template(arguments.chat_template),
            chat_template_content_format=arguments.chat_template_content_format,
            chat_template_kwargs=resolve_default_chat_template_kwargs(arguments),
        ),
    )


HANDSHAKE = ("self", "handshake_address", "identity", "local_client", "vllm_config", "client_handshake_address")
CAPTURE = (
    *("self", "model", "model_state", "input_buffers", "intermediate_tensors", "block_tables", "attn_groups"),
    *("kv_cache_config", "pcp_manager", "has_lora", "use_aux_hidden_state_outputs", "lora_capture_hook"),
    "progress_bar_desc",
)
INNER_CAPTURE = ("self", "input_buffers", "block_tables", "attn_groups", "kv_cache_config")
WEIGHTS_ITERATOR = (
    "hf_weights_files",
    "use_tqdm_on_load",
    "safetensors_load_strategy",
    "local_expert_ids",
    "safetensors_prefetch_num_threads",
    "safetensors_prefetch_block_size",
)
