"""What an engine is to the rest of rendering."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from slipway.api.engine_notes import USUAL_PATH, Series
from slipway.api.llmdeployment import LLMDeployment, LLMDeploymentSpec
from slipway.contract.pod import ENGINE_PORT, RUNTIME_PORT
from slipway.operator.planning import Plan


@dataclass(frozen=True, kw_only=True)
class RenderedEngine:
    """An engine as rendering uses it: a built-in one for the life of the program, another for one rendering."""

    name: str
    model_format: str  # by which KServe checks that the runtime serves the model
    arguments: Callable[[LLMDeployment, Plan], list[str]]  # as the engine's own documentation writes them
    environment: Callable[[LLMDeployment, Plan], dict[str, str]] = lambda _, __: {}
    ignored: Callable[[LLMDeploymentSpec, Plan], list[str]] = lambda _, __: []
    """A sentence for each field that isn't carried out, and for each value that another one wins over."""
    port: int = ENGINE_PORT
    checks_keys: bool = True  # those of access.apiKeysSecret
    metrics_port: int = RUNTIME_PORT  # slipway-runtime's: the engine's metrics and its own in one scrape
    metrics_path: str = USUAL_PATH
    readiness_port: int = RUNTIME_PORT
    in_flight: tuple[Series, ...] = ()  # its names for the requests that run or wait, if they differ from our runtime's
    drains_for: float | None = None  # seconds after SIGTERM; None: slipway-runtime drains, or the runtime doesn't say


def won(by_hand: Iterable[str], ours: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Options of the spec's `extraArgs` that Slipway sets, too, each with Slipway's."""
    known = {_name(option): option for option in ours if option.startswith("-")}
    for option in by_hand:
        if option.startswith("-") and _name(option) in known:
            yield option, known[_name(option)]


def _name(option: str) -> str:
    return option.partition("=")[0].replace("_", "-")
