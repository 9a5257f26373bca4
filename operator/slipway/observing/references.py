"""What a spec names that somebody else makes: claims, Secrets, ConfigMaps, classes. Without one of them no pod starts.

Left out is what a pod can do without: what is `optional`, and Secrets of registries, which an image may not need.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from slipway.api.llmdeployment import LLMDeploymentSpec

from .world import Lack, Object

CLAIM, SECRET, CONFIG_MAP = "PersistentVolumeClaim", "Secret", "ConfigMap"
SERVICE_ACCOUNT, PRIORITY_CLASS, RUNTIME_CLASS = "ServiceAccount", "PriorityClass", "RuntimeClass"
MADE_BY_KUBERNETES = ("default", "system-cluster-critical", "system-node-critical")
NO_SECRET_OF_KSERVES = ("pvc://", "oci://")


@dataclass(frozen=True)
class Reference:
    field: str
    kind: str
    name: str

    def lack(self, problem: str = "", *, is_final: bool = True) -> Lack:
        return Lack(field=self.field, kind=self.kind, name=self.name, problem=problem, is_final=is_final)


def references_of(spec: LLMDeploymentSpec) -> tuple[Reference, ...]:
    """Each object once, by the first field that names it."""
    found: dict[tuple[str, str], Reference] = {}
    for reference in (*_of_model(spec), *_of_access(spec), *_of_pod(spec)):
        found.setdefault((reference.kind, reference.name), reference)
    return tuple(found.values())


def _of_model(spec: LLMDeploymentSpec) -> Iterator[Reference]:
    sources = {"spec.model.uri": spec.model.uri}
    sources |= {f"spec.engine.adapters[{each.name}].uri": each.uri for each in spec.engine.adapters}
    if spec.engine.speculative and spec.engine.speculative.model:
        sources["spec.engine.speculative.model"] = spec.engine.speculative.model
    for field, uri in sources.items():
        scheme, _, rest = uri.partition("://")
        if scheme == "pvc":
            yield Reference(field, CLAIM, rest.partition("/")[0])
    if spec.model.credentials_secret and not spec.model.uri.startswith(NO_SECRET_OF_KSERVES):
        yield Reference("spec.model.credentialsSecret", SECRET, spec.model.credentials_secret)


def _of_access(spec: LLMDeploymentSpec) -> Iterator[Reference]:
    if spec.access.api_keys_secret:
        yield Reference("spec.access.apiKeysSecret", SECRET, spec.access.api_keys_secret)


def _of_pod(spec: LLMDeploymentSpec) -> Iterator[Reference]:
    pod = spec.pod
    for volume in pod.volumes:
        field = f"spec.pod.volumes[{volume.name}]"
        if volume.persistent_volume_claim:
            yield Reference(field, CLAIM, volume.persistent_volume_claim.claim_name)
        if volume.config_map and not volume.config_map.optional:
            yield Reference(field, CONFIG_MAP, volume.config_map.name)
        if volume.secret and not volume.secret.optional:
            yield Reference(field, SECRET, volume.secret.secret_name)
    for variable in pod.env:
        field, source = f"spec.pod.env[{variable.name}]", variable.value_from
        if source and source.config_map_key_ref and not source.config_map_key_ref.optional:
            yield Reference(field, CONFIG_MAP, source.config_map_key_ref.name)
        if source and source.secret_key_ref and not source.secret_key_ref.optional:
            yield Reference(field, SECRET, source.secret_key_ref.name)
    named = {
        ("spec.pod.serviceAccountName", SERVICE_ACCOUNT): pod.service_account_name,
        ("spec.pod.priorityClassName", PRIORITY_CLASS): pod.priority_class_name,
        ("spec.pod.runtimeClassName", RUNTIME_CLASS): pod.runtime_class_name,
    }
    for (field, kind), name in named.items():
        if name and name not in MADE_BY_KUBERNETES:
            yield Reference(field, kind, name)


def lack_of_claim(reference: Reference, claim: Object | None) -> Lack | None:
    """One that waits for its first pod is Pending, which is as it should be: only the scheduler knows more."""
    if claim is None:
        return reference.lack()
    if (claim.get("status") or {}).get("phase") == "Lost":
        return reference.lack("whose volume is gone (it is Lost): restore the volume, or make the claim anew")
    return None
