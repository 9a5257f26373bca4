"""The candidates of a plan: a profile with a degree of parallelism, and what rules one out before memory does. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from slipway.api.acceleratorprofile import AcceleratorProfile
from slipway.api.llmdeployment import LLMDeploymentSpec
from slipway.contract.engines import VLLM
from slipway.models.facts import Keeps, Model
from slipway.operator.planning.drivers import check_drivers, that_run
from slipway.operator.planning.engine_flags import has
from slipway.operator.planning.engines import CPU, runtime_for
from slipway.operator.planning.resources import host_request
from slipway.operator.planning.supply import ProfileSupply, Supply
from slipway.operator.planning.words import times

MOST_TENSOR = 64
NEEDED: Mapping[str, Mapping[str, frozenset[str]]] = {
    "fp8": {"NVIDIA": frozenset({"bf16", "fp8"}), "AMD": frozenset({"fp8"}), "Intel": frozenset({"fp8"})},
    "mxfp4": {"NVIDIA": frozenset({"bf16", "fp4"}), "AMD": frozenset({"fp8"})},
    "nvfp4": {"NVIDIA": frozenset({"bf16", "fp4"})},
}
"""By the format of weights and the vendor: the features of which a device needs one. Other formats run on any device.

On NVIDIA, vLLM's Marlin kernels compute FP8 and FP4 weights in 16 bits from Ampere on, which are the devices with bf16.
"""
NOT_IN_FLOAT16 = ("gemma2", "gemma3", "gemma3_text", "glm4")  # vLLM: _FLOAT16_NOT_SUPPORTED_MODELS in config/model.py
OWN_KERNELS = ("AWQ", "GPTQ", "W8A8", "W4A16")  # of spec.engine.quantization: the checkpoint must be quantized already

ALLOW = "set accelerator.spot to Allowed"


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


@dataclass(frozen=True)
class Running:
    """Where the model's pods run now, or were made to run."""

    profile: str
    devices: int
    has_pods: bool = True
    admits_both: bool = False  # they were made before spot nodes were distinguished, and nothing has changed them since

    def is_by(self, candidate: Candidate) -> bool:
        return (candidate.name, candidate.devices) == (self.profile, self.devices)


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
        if not cannot_divide(model, tensor, whole_experts=_has_whole_experts(spec)):
            yield Candidate(profile, tensor, wanted.pipeline)
        tensor *= 2


def cannot_divide(model: Model, tensor: int, *, whole_experts: bool = False) -> str:
    """Why vLLM couldn't split the model over that many devices, in half a sentence; empty if it could.

    `whole_experts`: each device has whole experts instead of a part of each.
    """
    heads = model.attention_heads
    if heads and heads % tensor:
        return f"its {heads} attention heads can't be divided by parallelism.tensor {tensor}"
    for layers in model.layers:
        kv = layers.kv_heads
        if layers.keeps is Keeps.KEYS_AND_VALUES and kv and kv % tensor and tensor % kv:
            return f"its {kv} KV heads and parallelism.tensor {tensor} don't divide each other"
    return _splits_a_block(model, tensor, whole_experts)


def _splits_a_block(model: Model, tensor: int, whole_experts: bool) -> str:
    """Weights that share a scale must be on one device."""
    quantization, experts = model.quantization, model.experts
    if quantization is None or not quantization.edge:
        return ""
    edge, inner = quantization.edge, []
    if model.intermediate_size and not quantization.only_experts and not _has_experts_everywhere(model):
        inner.append(model.intermediate_size)
    if experts is not None and experts.intermediate_size and not whole_experts:
        inner.append(experts.intermediate_size)
    odd = next((each for each in inner if each % (tensor * edge)), None)
    if odd is None:
        return ""
    return f"its MLPs of width {odd} can't be divided by parallelism.tensor {tensor} into whole blocks of {edge}"


def _has_experts_everywhere(model: Model) -> bool:
    return model.experts is not None and model.experts.layers >= model.layer_count


def _has_whole_experts(spec: LLMDeploymentSpec) -> bool:
    return has(spec.engine.extra_args, "enable-expert-parallel") or has(spec.engine.extra_args, "ep")


def terms_on(
    spec: LLMDeploymentSpec, candidate: Candidate, supply: Supply, running: Running | None
) -> tuple[LLMDeploymentSpec, str]:
    """The spec by which nodes are looked at there, and a warning if that isn't the spec itself: a new version refuses
    no model where its pods were made, and warns instead."""
    if not (running and running.admits_both and running.is_by(candidate)):
        return spec, ""
    wrong = _not_by_nodes(spec, candidate, supply)
    if not wrong or _not_by_nodes(terms := _with_both(spec), candidate, supply):
        return spec, ""
    return terms, (
        f"accelerator.spot is {spec.accelerator.spot}, and its pods were made before this version kept to that on the "
        f"nodes of {candidate.name}. They stay as they are until the next change of the pods, which is refused: {wrong}"
        f"{'' if ALLOW in wrong else f'. To go on there, {ALLOW}'}."
    )


def _with_both(spec: LLMDeploymentSpec) -> LLMDeploymentSpec:
    return spec.model_copy(update={"accelerator": spec.accelerator.model_copy(update={"spot": "Allowed"})})


def why_not(spec: LLMDeploymentSpec, candidate: Candidate, model: Model | None, supply: Supply) -> str:
    """What keeps the engine from running there, whatever the memory, in half a sentence; empty if nothing does."""
    return (
        _not_by_profile(spec, candidate)
        or _not_by_model(spec, candidate, model)
        or _not_by_cache(spec, candidate)
        or _not_by_nodes(spec, candidate, supply)
    )


def _not_by_profile(spec: LLMDeploymentSpec, candidate: Candidate) -> str:
    engine, facts = spec.engine.name, candidate.profile.spec
    if runtime_for(engine, facts.vendor) is None:
        return f"{engine} doesn't run on hardware of vendor {facts.vendor}"
    if engine == VLLM.name and facts.vendor == CPU and candidate.tensor * candidate.pipeline > 1:
        return "on CPUs a replica is one process with all of the memory, so engine.parallelism must be 1"
    if candidate.devices > 1 and facts.shared_by > 1:
        return f"a replica wants {candidate.devices} devices, and shared ones may all be parts of the same"
    if candidate.devices > facts.devices_per_node:
        return f"a replica wants {candidate.devices} devices, and a node has {facts.devices_per_node} for it at most"
    return ""


def _not_by_model(spec: LLMDeploymentSpec, candidate: Candidate, model: Model | None) -> str:
    divided = ""
    if model and candidate.tensor > 1:
        divided = cannot_divide(model, candidate.tensor, whole_experts=_has_whole_experts(spec))
    if spec.engine.name != VLLM.name:
        return divided
    return (
        divided
        or _contradicts_checkpoint(spec, model)
        or _cannot_compute(spec, candidate, model)
        or _needs_bfloat16(spec, candidate, model)
    )


def _contradicts_checkpoint(spec: LLMDeploymentSpec, model: Model | None) -> str:
    """What the checkpoint is, is known where its layers are from its config or a catalogue."""
    wanted, found = spec.engine.quantization, model.quantization if model else None
    if model is None or not model.architecture:
        return ""
    if found is not None and wanted == "FP8" and found.format != "fp8":
        return f"the checkpoint is {found.format or found.method}: remove engine.quantization"
    if found is None and wanted in OWN_KERNELS:
        return f"the checkpoint isn't quantized: remove engine.quantization, or take a checkpoint with {wanted}"
    return ""


def _not_by_nodes(spec: LLMDeploymentSpec, candidate: Candidate, supply: Supply) -> str:
    there = supply.of(candidate.name, spec.accelerator.spot)
    if there is None:
        return ""
    runtime = _runtime(spec, candidate)
    return (
        check_drivers(runtime, there).rejected
        or _only_on_spot(spec, candidate, supply)
        or _not_there(spec, candidate, that_run(runtime, there))
    )


def _only_on_spot(spec: LLMDeploymentSpec, candidate: Candidate, supply: Supply) -> str:
    there, everything = supply.of(candidate.name, spec.accelerator.spot), supply.of(candidate.name)
    if there is None or everything is None or there.nodes or there.can_grow or not everything.spot_nodes:
        return ""
    return f"its nodes are all spot nodes, which the spec doesn't allow: {ALLOW}"


def _runtime(spec: LLMDeploymentSpec, candidate: Candidate) -> str:
    return runtime_for(spec.engine.name, candidate.profile.spec.vendor) or ""


def _cannot_compute(spec: LLMDeploymentSpec, candidate: Candidate, model: Model | None) -> str:
    quantized = model.quantization.format if model and model.quantization else ""
    wanted = "fp8" if spec.engine.quantization == "FP8" else quantized
    features, vendor = candidate.profile.spec.features, candidate.profile.spec.vendor
    if wanted not in NEEDED or not features:
        return ""  # a profile without features says nothing about them
    enough = NEEDED[wanted].get(vendor, frozenset()) & set(features)
    return "" if enough else f"the device can't compute with {wanted.upper()} weights"


def _needs_bfloat16(spec: LLMDeploymentSpec, candidate: Candidate, model: Model | None) -> str:
    """vLLM would take float32, twice as much of everything, where no type is asked for."""
    features, vendor = candidate.profile.spec.features, candidate.profile.spec.vendor
    if vendor != "NVIDIA" or not features or "bf16" in features or has(spec.engine.extra_args, "dtype"):
        return ""
    if model is None or model.model_type not in NOT_IN_FLOAT16:
        return ""
    return "the model can't be computed in float16, and the device has no bfloat16"


def _not_by_cache(spec: LLMDeploymentSpec, candidate: Candidate) -> str:
    """vLLM's Triton kernels convert to FP8 from Ada on, and Slipway's image has no others that do."""
    features, vendor = candidate.profile.spec.features, candidate.profile.spec.vendor
    if spec.engine.name != VLLM.name or spec.engine.kv_cache_dtype != "FP8" or vendor != "NVIDIA":
        return ""
    return "" if not features or "fp8" in features else "the device can't compute with an FP8 cache"


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


def is_full(spec: LLMDeploymentSpec, candidate: Candidate, supply: Supply) -> bool:
    """Whether no node has enough free devices now, and none would be added."""
    there = supply.of(candidate.name, spec.accelerator.spot)
    if there is None or there.can_grow:
        return False
    if candidate.profile.spec.vendor == CPU:
        wanted = host_request(spec, candidate.profile)
        return there.rooms is not None and not any(room.holds(*wanted) for room in there.rooms)
    free = that_run(_runtime(spec, candidate), there).most_free_on_a_node
    return free is not None and free < candidate.devices
