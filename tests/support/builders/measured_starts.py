"""Measured starts of vLLM, and what the planner predicts for each, from config.json alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from slipway.models.config import model_of_config
from slipway.models.facts import Model
from slipway.operator.planning.memory import vllm, weights
from slipway.operator.planning.memory.blocks import Cache, cache_of
from slipway.operator.planning.memory.releases import RELEASES
from slipway.operator.planning.memory.settings import GIB, Device, Settings
from slipway.operator.planning.plan import Memory
from slipway.operator.planning.speed import Pace, cache_of_token, efficiency_of

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
    "largest_graph": "graphs up to {}",
    "is_compiling": "nothing compiled before",
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
    def is_planned(self) -> bool:
        """Not where images take memory, too: a plan leaves the size of the cache to vLLM there."""
        return not self.model.known_weights.encoders

    @property
    def kv_bytes(self) -> tuple[int, int]:
        """The least and the most that the measured cache had; some sizes were written down in thousandths of a GiB."""
        if exact := self.measured.get("kv_bytes"):
            return int(exact), int(exact)
        return int((self.measured["kv"] - 0.0011) * GIB), int((self.measured["kv"] + 0.0011) * GIB)

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
        if model.known_weights.encoders:
            settings = replace(settings, seen_tokens=row.get("length") or 0)
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


@dataclass(frozen=True, kw_only=True)
class Run:
    """A measured step of decoding, or a prefill, and what is predicted for it."""

    what: str
    seconds: float
    predicted: float

    @property
    def error(self) -> float:
        return self.predicted / self.seconds - 1


def runs() -> list[Run]:
    models = {start.name: start.model for start in starts() if start.release == "0.32"}
    content = yaml.safe_load((MEASURED / "vllm-speed-0.32.yaml").read_text())
    device = {name: float(value) for name, value in content["device"].items()}
    decodes = [_decode(models[row["model"]], row, device) for row in content["decode"]]
    return [*decodes, *(_prefill(models[row["model"]], row, device) for row in content["prefill"])]


def _decode(model: Model, row: Mapping[str, Any], device: Mapping[str, float]) -> Run:
    run = Settings(sequences=1, batched_tokens=1, weight_bits=row.get("weight_bits"))
    predicted = _pace(model, row, device).step(
        model,
        weights=weights.on_each_device(model, run),
        cache_of_token=cache_of_token(model, 16),
        requests=row["requests"],
        context=row["context"],
    )
    what = f"{_name(row)}: a step of {row['requests']} with {row['context']:,} tokens each"
    return Run(what=what, seconds=row["ms"] / 1e3, predicted=predicted)


def _prefill(model: Model, row: Mapping[str, Any], device: Mapping[str, float]) -> Run:
    predicted = row["tokens"] / _pace(model, row, device).prefill(model)
    return Run(what=f"{_name(row)}: a prompt of {row['tokens']:,} tokens", seconds=row["ms"] / 1e3, predicted=predicted)


def _pace(model: Model, row: Mapping[str, Any], device: Mapping[str, float]) -> Pace:
    known, is_small = efficiency_of(model), row.get("weight_bits") == 8
    rate = device["small_compute"] * known.small_compute if is_small else device["compute"] * known.compute
    return Pace(read=device["bandwidth"] * known.bandwidth, compute=rate, layer=known.layer)


def _name(row: Mapping[str, Any]) -> str:
    return f"{row['model']}{', FP8 weights' if row.get('weight_bits') else ''}"
