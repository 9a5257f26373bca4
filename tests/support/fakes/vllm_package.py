"""A vLLM in a few lines: it has what the fast start relies on, and a test can remove any part of it.

Its engine core and its server find each other by their addresses, as the real ones do; here the addresses are files.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

LAYOUTS = {"0.24.0": "vllm.entrypoints.openai.api_server", "0.32.0": "vllm.entrypoints.launchers.api_server.entry"}

ARGUMENTS = """
import argparse
from dataclasses import dataclass
from types import SimpleNamespace

@dataclass
class AsyncEngineArgs:
    model: str = ""
    max_model_len: int = 0
    tensor_parallel_size: int = 1
    disable_log_stats: bool = False

    @staticmethod
    def add_cli_args(parser):
        parser.add_argument("--model")
        parser.add_argument("--max-model-len", type=int, default=0)
        parser.add_argument("--tensor-parallel-size", type=int, default=1)
        return parser

    @classmethod
    def from_cli_args(cls, args):
        return cls(args.model, args.max_model_len, args.tensor_parallel_size)

    def create_engine_config(self, usage_context=None, headless=False):
        config = SimpleNamespace(
            parallel_config=SimpleNamespace(world_size=self.tensor_parallel_size, data_parallel_size=1),
            model_config=SimpleNamespace(multimodal_config=None),
        )
        setattr(config, "__post_init__", lambda: None)
        return config
"""
CORE = """
import contextlib, pathlib, signal, sys, time

class EngineCoreProc:
    def __init__(self, vllm_config, local_client, handshake_address, executor_class, log_stats, engine_index=0):
        with self._perform_handshakes(handshake_address, b"0", local_client, vllm_config, None) as addresses:
            self.addresses = addresses
            print("the fake core loads", flush=True)

    @contextlib.contextmanager
    def _perform_handshakes(self, handshake_address, identity, local_client, vllm_config, client_handshake_address):
        raise RuntimeError("a handshake without a peer")
        yield

    @staticmethod
    def run_engine_core(*args, dp_rank=0, local_dp_rank=0, **kwargs):
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        engine_core = EngineCoreProc(*args, engine_index=dp_rank, **kwargs)
        engine_core.run_busy_loop()

    def run_busy_loop(self):
        pathlib.Path(self.addresses.inputs[0].removeprefix("ipc://")).write_text("here")
        while True:
            time.sleep(0.05)
"""
SERVER = """
import argparse, asyncio, http.server, os, pathlib, signal, sys
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.utils.argparse_utils import FlexibleArgumentParser
from vllm.entrypoints.serve.utils.api_utils import cli_env_setup
from vllm.entrypoints.openai.cli_args import make_arg_parser, validate_parsed_serve_args

class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = " ".join(sys.argv).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

async def serve_http(app, port):
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    await asyncio.to_thread(http.server.ThreadingHTTPServer(("127.0.0.1", port), Answers).serve_forever)

async def build_and_serve(engine_client, listen_address, sock, args):
    return await serve_http(None, args.port)

async def run_server(args, **uvicorn_kwargs):
    await run_server_worker("here", None, args, **uvicorn_kwargs)

async def run_server_worker(listen_address, sock, args, client_config=None, **uvicorn_kwargs):
    if client_config:
        engine = pathlib.Path(client_config["input_address"].removeprefix("ipc://"))
        while not engine.exists():
            await asyncio.sleep(0.02)
    await build_and_serve(None, listen_address, sock, args)

if __name__ == "__main__":
    print("the ordinary start", flush=True)
    asyncio.run(run_server(make_arg_parser(FlexibleArgumentParser()).parse_args()))
"""
CLI = """
from vllm.engine.arg_utils import AsyncEngineArgs

def make_arg_parser(parser):
    parser.add_argument("--port", type=int)
    parser.add_argument("--middleware", action="append")
    return AsyncEngineArgs.add_cli_args(parser)

def validate_parsed_serve_args(args):
    pass
"""
LOADER = """
def safetensors_weights_iterator(
    hf_weights_files, use_tqdm_on_load, safetensors_load_strategy=None, local_expert_ids=None, *,
    safetensors_prefetch_num_threads=8, safetensors_prefetch_block_size=1,
):
    return iter(())

class DefaultModelLoader:
    def _get_weights_iterator(self, source):
        return safetensors_weights_iterator([], False)
"""
FILES = {
    "torch/__init__.py": "",
    "uvloop/__init__.py": "from asyncio import run\n",
    "vllm/engine/arg_utils.py": ARGUMENTS,
    "vllm/model_executor/model_loader/default_loader.py": LOADER,
    "vllm/usage/usage_lib.py": "class UsageContext:\n    OPENAI_API_SERVER = 1\n",
    "vllm/utils/argparse_utils.py": "from argparse import ArgumentParser as FlexibleArgumentParser\n",
    "vllm/envs.py": "def enable_envs_cache():\n    print('the environment is kept', flush=True)\n",
    "vllm/logger.py": "def configure_logging_from_args(args):\n    pass\n",
    "vllm/v1/engine/core.py": CORE,
    "vllm/v1/engine/utils.py": "from types import SimpleNamespace as EngineZmqAddresses\n",
    "vllm/v1/executor/__init__.py": "class Executor:\n    get_class = staticmethod(lambda config: None)\n",
    "vllm/entrypoints/serve/utils/api_utils.py": "def cli_env_setup():\n    pass\n",
    "vllm/entrypoints/openai/cli_args.py": CLI,
    "vllm/entrypoints/launchers/cli_args.py": CLI,
}


def install(folder: Path, version: str, also: tuple[str, ...] = (), replaced: Mapping[str, str] | None = None) -> None:
    """Writes it into a folder for PYTHONPATH. `also` names empty modules; `replaced` maps code to other code."""
    module = LAYOUTS[version]
    empty = {f"{name.replace('.', '/')}.py": "" for name in also if name.startswith("vllm.")}
    for name, text in {**empty, **FILES, f"{module.replace('.', '/')}.py": SERVER}.items():
        for old, new in (replaced or {}).items():
            text = text.replace(old, new)  # noqa: PLW2901
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        for parent in file.relative_to(folder).parents:
            if str(parent) != ".":
                (folder / parent / "__init__.py").touch()
    (folder / f"vllm-{version}.dist-info").mkdir()
