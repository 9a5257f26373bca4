"""Measured starts of vLLM, and what the planner predicts for each, from config.json alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from slipway.models.config import model_of_config
from slipway.models.facts import Model
from slipway.operator.planning.memory import vllm
from slipway.operator.planning.memory.blocks import Cache, cache_of
from slipway.operator.planning.memory.releases import RELEASES
from slipway.operator.planning.memory.settings import Device, Settings
from slipway.operator.planning.plan import Memory

from support.repository import ROOT

MEASURED = ROOT / "benchmarks/measured"
DEFAULTS: Mapping[str, Any] = {"sequences": 1024, "batched_tokens": 8192}
WORDS = {
    "utilization": "utilization {}",
    "weight_bits": "FP{} weights",
    "kv_bits": "FP{} cache",
    "batched_tokens": "{:,} tokens in a step",
    "sequences": "{} sequences",
    "tensor": "tensor {}",
    "adapters": "{} adapters",
    "adapter_rank": "rank {}",
    "is_drafting": "n-gram speculation",
}


@dataclass(frozen=True, kw_only=True)
class Start:
    """A measured start, and what is predicted for it."""

    release: str
    device: str
    name: str
    model: Model
    settings: Settings
    differs: Mapping[str, Any]
    measured: Mapping[str, Any]
    length: int  # of the requests by which tokens are counted
    memory: Memory
    cache: Cache | None

    @property
    def tokens(self) -> int:
        """As predicted; 0 for a model without a cache."""
        return self.cache.tokens(self.memory.kv_cache, self.length) if self.cache else 0

    @property
    def error(self) -> float:
        """Of the predicted tokens, as a part of the measured ones."""
        return self.tokens / int(self.measured["tokens"]) - 1

    @property
    def what(self) -> str:
        flags = [WORDS[key].format(value) for key, value in self.differs.items() if key in WORDS]
        return ", ".join([self.name, *flags])


def starts() -> list[Start]:
    return [start for file in sorted(MEASURED.glob("vllm-memory*.yaml")) for start in _of(file)]


def _of(file: Path) -> Iterator[Start]:
    content = yaml.safe_load(file.read_text())
    models = {name: model_of_config(config, name=name) for name, config in content["models"].items()}
    for row in content["starts"]:
        model, differs = models[row["model"]], row.get("settings") or {}
        settings, release = Settings(**{**DEFAULTS, **differs}), RELEASES[row["release"]]
        memory = vllm.divide(model, Device(total=content["devices"][row["device"]]["total"]), settings, release)
        yield Start(
            release=row["release"],
            device=row["device"],
            name=row["model"],
            model=model,
            settings=settings,
            differs=differs,
            measured=row,
            memory=memory,
            cache=cache_of(model, settings, release),
            length=row.get("length") or model.context_length or 0,
        )
