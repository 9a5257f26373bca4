"""vLLM: what is different for a model that generates no text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from slipway_runtime.contract.tasks import POOLING, Task
from slipway_runtime.engines import flags
from slipway_runtime.engines.engine import Choice, StartRefusedError
from slipway_runtime.versions import version_of

CHANGE_IT = {"runner", "convert", "hf-overrides", "pooler-config", "model-impl"}
"""Flags that make a model for another task of the files."""
FOR_SOUND = ("av", "scipy", "soundfile", "soxr")
"""The distributions of vllm[audio]. vLLM imports them at each start, whichever model it serves (ADR 0075)."""


def choices_of(task: str) -> Iterator[Choice]:
    if task in POOLING:
        yield Choice("--runner=pooling", f"the model's task is {task}")
    if task in (Task.RERANK, Task.CLASSIFY):
        yield Choice("--convert=classify", f"the model's task is {task}")


def without_prefix_caching(task: str, given: Sequence[str]) -> tuple[str, ...]:
    """vLLM itself decides about it: it ends with an error if an encoder is to do it. The flag is no one's wish, because
    it is the default of the spec."""
    if task not in POOLING:
        return (*given,)
    return tuple(each for each in given if flags.name_of(each) != "--enable-prefix-caching")


def refuse_without_libraries(task: str, packages: Path) -> None:
    """`packages`: the folder of vLLM's environment."""
    lacking = [each for each in FOR_SOUND if not version_of(each, path=[str(packages)])]
    if task == Task.TRANSCRIBE and lacking:
        raise StartRefusedError(
            f"vLLM can't read sounds here, because it lacks {', '.join(lacking)}.",
            "Use an image with vllm[audio]: Slipway's images lack it, since every start would take longer.",
        )
