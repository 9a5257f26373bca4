"""The candidates of a plan: a profile with a degree of parallelism, and what rules one out before memory does. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from slipway.api.acceleratorprofile import AcceleratorProfile
from slipway.api.llmdeployment import LLMDeploymentSpec
from slipway.contract.engines import VLLM
from slipway.models.facts import Keeps, Model
from slipway.operator.planning.drivers import check_drivers
from slipway.operator.planning.engines import CPU, runtime_for
from slipway.operator.planning.supply import ProfileSupply, Spot, Supply
from slipway.operator.planning.words import times

MOST_TENSOR = 64
SMALL_FLOATS = ("fp8", "fp4")  # in the names of quantization methods


@dataclass(frozen=True)
class Candidate:
    """Devices of one profile for one replica."""

    profile: AcceleratorProfile
    tensor: int
    pipeline: int

    @property
    def name(self) -> str:
        return self.profile.metadata.name

    @property
    def devices(self) -> int:
        """CPUs count as one."""
        return 1 if self.profile.spec.vendor == CPU else self.tensor * self.pipeline

    @property
    def price(self) -> float:
        """Per hour and replica; infinite if the profile has none."""
        price = self.profile.spec.cost_per_hour
        return float("inf") if price is None else price * self.devices

    @property
    def label(self) -> str:
        """As plans name it: `h100-80gb`, or `2x h100-80gb`."""
        return self.name if self.devices == 1 else f"{self.devices}x {self.name}"


def candidates_on(spec: LLMDeploymentSpec, profile: AcceleratorProfile, model: Model | None) -> Iterator[Candidate]:
    """With the parallelism of the spec; where it is Auto, with each one that the model and a node allow."""
    wanted = spec.engine.parallelism
    if wanted.tensor != "Auto":
        yield Candidate(profile, wanted.tensor, wanted.pipeline)
        return
    yield Candidate(profile, 1, wanted.pipeline)
    if model is None or profile.spec.vendor == CPU or profile.spec.shared_by > 1:
        return
    tensor = 2
    while tensor * wanted.pipeline <= profile.spec.devices_per_node and tensor <= MOST_TENSOR:
        if not cannot_divide(model, tensor):
            yield Candidate(profile, tensor, wanted.pipeline)
        tensor *= 2


def cannot_divide(model: Model, tensor: int) -> str:
    """Why vLLM couldn't split the model over that many devices, in half a sentence; empty if it could."""
    heads = model.attention_heads
    if heads and heads % tensor:
        return f"its {heads} attention heads can't be divided by parallelism.tensor {tensor}"
    for layers in model.layers:
        kv = layers.kv_heads
        if layers.keeps is Keeps.KEYS_AND_VALUES and kv and kv % tensor and tensor % kv:
            return f"its {kv} KV heads and parallelism.tensor {tensor} don't divide each other"
    return ""


def why_not(spec: LLMDeploymentSpec, candidate: Candidate, model: Model | None, supply: Supply) -> str:
    """What keeps the engine from running there, whatever the memory, in half a sentence; empty if nothing does."""
    return (
        _not_by_profile(spec, candidate)
        or _not_by_model(spec, candidate, model)
        or _not_by_nodes(spec, candidate, supply)
    )


def _not_by_profile(spec: LLMDeploymentSpec, candidate: Candidate) -> str:
    engine, facts = spec.engine.name, candidate.profile.spec
    if runtime_for(engine, facts.vendor) is None:
        return f"{engine} doesn't run on hardware of vendor {facts.vendor}"
    if candidate.devices > 1 and facts.shared_by > 1:
        return f"a replica wants {candidate.devices} devices, and shared ones may all be parts of the same"
    if candidate.devices > facts.devices_per_node:
        return f"a replica wants {candidate.devices} devices, and a node has {facts.devices_per_node} for it at most"
    if spec.accelerator.spot == "Required" and not facts.spot:
        return "the spec requires spot nodes, and the profile has none"
    return ""


def _not_by_model(spec: LLMDeploymentSpec, candidate: Candidate, model: Model | None) -> str:
    divided = cannot_divide(model, candidate.tensor) if model and candidate.tensor > 1 else ""
    return divided or _cannot_compute(spec, candidate, model)


def _not_by_nodes(spec: LLMDeploymentSpec, candidate: Candidate, supply: Supply) -> str:
    there = supply.of(candidate.name, spec.accelerator.spot)
    if there is None:
        return ""
    runtime = runtime_for(spec.engine.name, candidate.profile.spec.vendor) or ""
    return _not_there(spec, candidate, there) or check_drivers(runtime, there).rejected


def _cannot_compute(spec: LLMDeploymentSpec, candidate: Candidate, model: Model | None) -> str:
    """Older devices lack types; vLLM's Marlin kernels compute FP8 and FP4 weights in 16 bits from Ampere on."""
    quantized = model.quantization.method if model and model.quantization else ""
    wanted = "FP8" if spec.engine.quantization == "FP8" else quantized
    features, vendor = candidate.profile.spec.features, candidate.profile.spec.vendor
    needs_newer = any(each in wanted.lower() for each in SMALL_FLOATS)
    if spec.engine.name != VLLM.name or not needs_newer or not features or "fp8" in features:
        return ""  # a profile without features says nothing about them
    return "" if vendor == "NVIDIA" and "bf16" in features else f"the device can't compute with {wanted} weights"


def _not_there(spec: LLMDeploymentSpec, candidate: Candidate, there: ProfileSupply) -> str:
    """A node without devices gets them back, after its device plugin has restarted; and the spec's own tolerations may
    open a node that the profile's don't."""
    if there.can_grow or there.without_devices or (there.tainted and spec.pod.tolerations):
        return ""
    if not there.nodes and there.tainted:
        return f"its nodes have a taint that it doesn't tolerate ({', '.join(there.taints)}): see pod.tolerations"
    if not there.nodes:
        kind = "spot node" if spec.accelerator.spot == "Required" else "node"
        return f"the cluster has no {kind} with it, and nothing that would add one"
    if there.most_on_a_node < candidate.devices:
        return f"a replica wants {times(candidate.devices, 'device')}, and no node has more than {there.most_on_a_node}"
    return ""


def is_full(candidate: Candidate, supply: Supply, spot: Spot) -> bool:
    """Whether no node has enough free devices now, and none would be added."""
    there = supply.of(candidate.name, spot)
    if there is None or there.can_grow or there.most_free_on_a_node is None:
        return False
    return there.most_free_on_a_node < candidate.devices
