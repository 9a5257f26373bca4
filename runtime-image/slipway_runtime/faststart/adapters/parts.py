"""The parts of vLLM that the fast start takes in hand, and checks of what it relies on in each."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


class UnexpectedError(Exception):
    """This vLLM is not what was looked into; the message says where."""


@dataclass(frozen=True, kw_only=True)
class CoreParts:
    """Of the process that computes."""

    parser: type[Any]  # FlexibleArgumentParser
    arguments: type[Any]  # AsyncEngineArgs
    configure: Callable[[Any], object]  # of the flags, what else a process sets up by them
    usage: Any  # UsageContext.OPENAI_API_SERVER
    core: Any  # the module that has EngineCoreProc, and starts whatever has that name
    addresses: type[Any]  # EngineZmqAddresses
    executor: type[Any]  # Executor
    loader: Any  # the module that has safetensors_weights_iterator, and calls whatever has that name


@dataclass(frozen=True, kw_only=True)
class ServerParts:
    """Of the process that speaks HTTP."""

    parser: type[Any]
    arguments: type[Any]
    configure: Callable[[Any], object]
    make_parser: Callable[[Any], Any]
    validate: Callable[[Any], None]
    prepare: Callable[[], None]  # cli_env_setup
    settle: Callable[[], None]  # enable_envs_cache: some variables are read for every token; the core does it by itself
    api: Any  # the module that has run_server, run_server_worker and serve_http, and calls whatever has those names
    run: Callable[[Any], None]  # uvloop.run


def expect(function: Callable[..., Any], *parameters: str) -> None:
    """Of a function that is called, or replaced, here."""
    found = tuple(inspect.signature(function).parameters)
    if found != parameters:
        name = f"{function.__module__}.{function.__qualname__}"
        raise UnexpectedError(f"{name} takes ({', '.join(found)}), not ({', '.join(parameters)})")


def expect_uses(function: Callable[..., Any], *names: str) -> None:
    """That a function gets hold of something by its module's name for it, so that it can be replaced there."""
    missing = [name for name in names if name not in _names_in(inspect.unwrap(function).__code__)]
    if missing:
        raise UnexpectedError(f"{function.__module__}.{function.__qualname__} doesn't use {', '.join(missing)}")


def _names_in(code: Any) -> set[str]:
    inner = [_names_in(constant) for constant in code.co_consts if inspect.iscode(constant)]
    return set(code.co_names).union(*inner)
