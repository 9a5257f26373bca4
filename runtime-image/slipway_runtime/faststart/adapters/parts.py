"""The parts of vLLM that the fast start uses or replaces, and checks of what it relies on in them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


class UnexpectedError(Exception):
    """This vLLM differs from the one that the adapter was written for; the message says where."""


@dataclass(frozen=True, kw_only=True)
class CoreParts:
    """Parts of the process that computes."""

    parser: type[Any]  # FlexibleArgumentParser
    arguments: type[Any]  # AsyncEngineArgs
    configure: Callable[[Any], object]  # what else a process sets up by its flags
    usage: Any  # UsageContext.OPENAI_API_SERVER
    core: Any  # the module with EngineCoreProc; it starts whatever has that name
    addresses: type[Any]  # EngineZmqAddresses
    executor: type[Any]  # Executor
    loader: Any  # the module with safetensors_weights_iterator; it calls whatever has that name


@dataclass(frozen=True, kw_only=True)
class ServerParts:
    """Parts of the process that speaks HTTP."""

    parser: type[Any]
    arguments: type[Any]
    configure: Callable[[Any], object]
    make_parser: Callable[[Any], Any]
    validate: Callable[[Any], None]
    prepare: Callable[[], None]  # cli_env_setup
    # enable_envs_cache: some variables are read for every token; the core calls it on its own
    settle: Callable[[], None]
    api: Any  # the module with run_server, run_server_worker and serve_http; it calls whatever has those names
    run: Callable[[Any], None]  # uvloop.run


@dataclass(frozen=True, kw_only=True)
class CaptureParts:
    """Parts that capture CUDA graphs."""

    worker: type[Any]  # with compile_or_warm_up_model
    torch: Any  # whose graphs call cuda.empty_cache and _C._host_emptyCache by these names
    compiler: Any = None  # the module with trigger_inductor_lazy_init, which the worker calls by that name, if it does


@dataclass(frozen=True, kw_only=True)
class GraphParts:
    """Parts that know which CUDA graphs there are."""

    manager: type[Any]  # ModelCudaGraphManager
    module: Any  # the module that it is in, which calls tqdm by that name
    state: type[Any]  # ModelState, whose capture_inner_cudagraphs does nothing
    torch: Any


@dataclass(frozen=True, kw_only=True)
class GrammarParts:
    """Parts that make grammars."""

    manager: type[Any]  # StructuredOutputManager
    module: Any  # the module that it is in, which calls cached_tokenizer_from_config by that name


@dataclass(frozen=True, kw_only=True)
class RendererParts:
    """Parts of the server that make prompts of conversations."""

    engine: Any  # the module with renderer_from_config; it calls whatever has that name
    chat_parameters: Callable[[Any], Any]  # of the server's arguments, as vLLM's own warm-up has them


def expect(function: Callable[..., Any], *parameters: str) -> None:
    """Checks the parameters of a function that is called or replaced here."""
    found = tuple(inspect.signature(function).parameters)
    if found != parameters:
        name = f"{function.__module__}.{function.__qualname__}"
        raise UnexpectedError(f"{name} takes ({', '.join(found)}), not ({', '.join(parameters)})")


def expect_uses(function: Callable[..., Any], *names: str) -> None:
    """Checks that a function finds others by their names in its module, so that they can be replaced there."""
    used = _names_used(inspect.unwrap(function))
    missing = [name for name in names if name not in used]
    if missing:
        raise UnexpectedError(f"{function.__module__}.{function.__qualname__} doesn't use {', '.join(missing)}")


def _names_used(function: Any) -> set[str]:
    """Returns those of a function, and of one that it decorates."""
    decorated = (cell.cell_contents for cell in function.__closure__ or () if cell.cell_contents is not function)
    others = [_names_in(each.__code__) for each in decorated if inspect.isfunction(each)]
    return _names_in(function.__code__).union(*others)


def _names_in(code: Any) -> set[str]:
    inner = [_names_in(constant) for constant in code.co_consts if inspect.iscode(constant)]
    return set(code.co_names).union(*inner)
