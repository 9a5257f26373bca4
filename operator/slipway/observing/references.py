"""The objects that a spec, the profile of its plan and its own serving runtime name, and that others create: claims,
Secrets, ConfigMaps and their keys, classes.

Without them no pod starts. References that are `optional` are left out. Secrets of registries are included, though a
pod may start without them: the image may be public, or on the node already. Keys of Secrets are left out, because
reading them would need the right to read their values.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, islice

from slipway.api.acceleratorprofile import AcceleratorProfile
from slipway.api.llmdeployment import LLMDeploymentSpec
from slipway.objects.kinds import Object
from slipway.objects.metadata import name_of
from slipway.observing.snapshot import UnmetReference

CLAIM, SECRET, CONFIG_MAP = "PersistentVolumeClaim", "Secret", "ConfigMap"
SERVICE_ACCOUNT, PRIORITY_CLASS, RUNTIME_CLASS = "ServiceAccount", "PriorityClass", "RuntimeClass"
MADE_BY_KUBERNETES = ("default", "system-cluster-critical", "system-node-critical")
MOST_OF_RUNTIME = 100  # of the objects that one runtime names are looked up; the spec's own are bounded by the schema


@dataclass(frozen=True, slots=True)
class Reference:
    field: str
    kind: str
    name: str
    key: str = ""  # the key that the ConfigMap must have
    is_needed: bool = True

    def unmet(self, problem: str = "") -> UnmetReference:
        return UnmetReference(
            field=self.field, kind=self.kind, name=self.name, problem=problem, is_needed=self.is_needed
        )

    def without_key(self) -> UnmetReference:
        return UnmetReference(field=self.field, kind=self.kind, name=self.name, key=self.key)


def references_of(
    spec: LLMDeploymentSpec,
    *,
    profile: AcceleratorProfile | None = None,
    runtime: Object | None = None,
    has_fetcher: bool = False,
) -> tuple[Reference, ...]:
    """Each object and each key once, by the first field that names it. `profile`: of the plan; `runtime`: the one of
    the user's own that is the spec's engine; `has_fetcher`: sources are fetched by Slipway's fetcher, not by KServe."""
    found: dict[tuple[str, str, str], Reference] = {}
    of_spec = (_of_sources, _of_access, _of_volumes, _of_variables, _of_pod, _of_registries)
    credentials = _of_fetcher(spec) if has_fetcher else _of_kserve(spec)
    of_others = (credentials, _of_profile(spec, profile), _of_runtime(spec, runtime))
    for reference in chain(*(those(spec) for those in of_spec), *of_others):
        found.setdefault((reference.kind, reference.name, reference.key), reference)
    return tuple(found.values())


def _sources(spec: LLMDeploymentSpec) -> dict[str, str]:
    """The URIs by their fields."""
    sources = {"spec.model.uri": spec.model.uri}
    sources |= {f"spec.engine.adapters[{each.name}].uri": each.uri for each in spec.engine.adapters}
    if spec.engine.speculative and spec.engine.speculative.model:
        sources["spec.engine.speculative.model"] = spec.engine.speculative.model
    return sources


def _of_sources(spec: LLMDeploymentSpec) -> Iterator[Reference]:
    for field, uri in _sources(spec).items():
        scheme, _, rest = uri.partition("://")
        if scheme == "pvc":
            yield Reference(field, CLAIM, rest.partition("/")[0])


def _of_fetcher(spec: LLMDeploymentSpec) -> Iterator[Reference]:
    """It mounts the Secret where anything is fetched."""
    secret, uris = spec.model.credentials_secret, _sources(spec).values()
    if secret and any(not uri.startswith("pvc://") for uri in uris):
        yield Reference("spec.model.credentialsSecret", SECRET, secret)


def _of_kserve(spec: LLMDeploymentSpec) -> Iterator[Reference]:
    """It reads the Secret to fetch the model; that of an image is one for pulling it."""
    if secret := spec.model.credentials_secret:
        is_image = spec.model.uri.startswith("oci://")
        if not spec.model.uri.startswith("pvc://"):
            yield Reference("spec.model.credentialsSecret", SECRET, secret, is_needed=not is_image)


def _of_access(spec: LLMDeploymentSpec) -> Iterator[Reference]:
    if spec.access.api_keys_secret:
        yield Reference("spec.access.apiKeysSecret", SECRET, spec.access.api_keys_secret)


def _of_volumes(spec: LLMDeploymentSpec) -> Iterator[Reference]:
    for volume in spec.pod.volumes:
        field = f"spec.pod.volumes[{volume.name}]"
        if volume.persistent_volume_claim:
            yield Reference(field, CLAIM, volume.persistent_volume_claim.claim_name)
        if volume.config_map and not volume.config_map.optional:
            for key in [item.key for item in volume.config_map.items] or [""]:
                yield Reference(field, CONFIG_MAP, volume.config_map.name, key)
        if volume.secret and not volume.secret.optional:
            yield Reference(field, SECRET, volume.secret.secret_name)


def _of_variables(spec: LLMDeploymentSpec) -> Iterator[Reference]:
    for variable in spec.pod.env:
        field, source = f"spec.pod.env[{variable.name}]", variable.value_from
        if source and source.config_map_key_ref and not source.config_map_key_ref.optional:
            yield Reference(field, CONFIG_MAP, source.config_map_key_ref.name, source.config_map_key_ref.key)
        if source and source.secret_key_ref and not source.secret_key_ref.optional:
            yield Reference(field, SECRET, source.secret_key_ref.name)


def _of_pod(spec: LLMDeploymentSpec) -> Iterator[Reference]:
    pod = spec.pod
    named = {
        ("spec.pod.serviceAccountName", SERVICE_ACCOUNT): pod.service_account_name,
        ("spec.pod.priorityClassName", PRIORITY_CLASS): pod.priority_class_name,
        ("spec.pod.runtimeClassName", RUNTIME_CLASS): pod.runtime_class_name,
    }
    for (field, kind), name in named.items():
        if name and name not in MADE_BY_KUBERNETES:
            yield Reference(field, kind, name)


def _of_registries(spec: LLMDeploymentSpec) -> Iterator[Reference]:
    for secret in spec.pod.image_pull_secrets:
        yield Reference(f"spec.pod.imagePullSecrets[{secret.name}]", SECRET, secret.name, is_needed=False)


def _of_profile(spec: LLMDeploymentSpec, profile: AcceleratorProfile | None) -> Iterator[Reference]:
    if profile and profile.spec.runtime_class and not spec.pod.runtime_class_name:
        yield Reference(f"AcceleratorProfile {profile.metadata.name}", RUNTIME_CLASS, profile.spec.runtime_class)


def _of_runtime(spec: LLMDeploymentSpec, runtime: Object | None) -> Iterator[Reference]:
    """Variables and volumes that the spec replaces by their names are left out. KServe's CRD may have no schema, and of
    a runtime that is too large only the name is stored: what isn't as expected names nothing."""
    if runtime is None:
        return
    field = f"{runtime.get('kind', 'ServingRuntime')} {name_of(runtime)}"
    pod = _object(runtime.get("spec"))
    variables, volumes = {each.name for each in spec.pod.env}, {each.name for each in spec.pod.volumes}
    yield from islice(_of_runtime_pod(field, pod, variables, volumes), MOST_OF_RUNTIME)


def _of_runtime_pod(field: str, pod: Object, variables: set[str], volumes: set[str]) -> Iterator[Reference]:
    for container in _objects(pod.get("containers")):
        for source in _objects(container.get("envFrom")):
            yield from _named(field, CONFIG_MAP, source.get("configMapRef"))
            yield from _named(field, SECRET, source.get("secretRef"))
        kept = (each for each in _objects(container.get("env")) if each.get("name") not in variables)
        for source in (_object(each.get("valueFrom")) for each in kept):
            yield from _named(field, CONFIG_MAP, source.get("configMapKeyRef"), key="key")
            yield from _named(field, SECRET, source.get("secretKeyRef"))
    for volume in (each for each in _objects(pod.get("volumes")) if each.get("name") not in volumes):
        yield from _named(field, CLAIM, volume.get("persistentVolumeClaim"), name="claimName")
        yield from _named(field, CONFIG_MAP, volume.get("configMap"))
        yield from _named(field, SECRET, volume.get("secret"), name="secretName")
    for secret in _objects(pod.get("imagePullSecrets")):
        yield from (replace(each, is_needed=False) for each in _named(field, SECRET, secret))


def _named(field: str, kind: str, source: object, *, name: str = "name", key: str = "") -> Iterator[Reference]:
    """`key`: the field that has the object's key."""
    found = _object(source)
    named, of_key = found.get(name), found.get(key) if key else ""
    if isinstance(named, str) and named and not found.get("optional"):
        yield Reference(field, kind, named, of_key if isinstance(of_key, str) else "")


def _object(found: object) -> Object:
    return found if isinstance(found, dict) else {}


def _objects(found: object) -> Iterator[Object]:
    return (each for each in found if isinstance(each, dict)) if isinstance(found, list) else iter(())


def unmet_in(references: Iterable[Reference], keys: Collection[str] | None) -> Iterator[UnmetReference]:
    """Of all references to one object. `keys`: the object's; None: it doesn't exist."""
    for each in references:
        if keys is None:
            yield each.unmet()
        elif each.key and each.key not in keys:
            yield each.without_key()


def remarks(unmet: Iterable[UnmetReference]) -> Iterator[str]:
    """A sentence for each that may not stop anything."""
    return (f"SecretMissing: {in_words(each)}" for each in unmet if not each.is_needed)


def in_words(unmet: UnmetReference) -> str:
    named = f"{unmet.kind} {unmet.name}"
    if unmet.key:
        remedy = "add the key, or correct its name"
        return f"{unmet.field} names the key {unmet.key} of {named}, which doesn't exist in it: {remedy}"
    if unmet.problem:
        return f"{unmet.field} names {named}, {unmet.problem}"
    return f"{unmet.field} names {named}, which doesn't exist: create it, or correct the name"


def unmet_claim(reference: Reference, claim: Object | None) -> UnmetReference | None:
    """A claim that waits for its first pod is Pending, which is no problem: only the scheduler knows more."""
    if claim is None:
        return reference.unmet()
    if (claim.get("status") or {}).get("phase") == "Lost":
        return reference.unmet("whose volume is gone (it is Lost): restore the volume, or recreate the claim")
    return None
