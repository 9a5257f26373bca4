"""Parts of Kubernetes' own types that are used inside ours, with the field names of Kubernetes."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from slipway.api.schema import (
    LABEL_VALUE,
    LIST_KEYS,
    LIST_TYPE,
    NO_TEMPLATE_IN_KEYS,
    ApiModel,
    AsText,
    ObjectName,
    ReportModel,
    Rule,
    matches,
    quantity_within,
    text,
)

LabelValue = Annotated[
    str, matches(LABEL_VALUE, "must be a label value: at most 63 letters, digits, '-', '_' and '.'", at_most=63)
]
LABEL_KEY = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
Labels = Annotated[dict[str, LabelValue], Field(max_length=64), NO_TEMPLATE_IN_KEYS]
AccessMode = Literal["ReadWriteMany", "ReadWriteOncePod"]
StorageSize = Annotated[str, AsText, quantity_within("1Mi", "1Ei", example="100Gi")]


class ObjectMeta(ReportModel):
    """The part of an object's metadata that the operator reads."""

    name: str
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    managed_fields: list[dict[str, Any]] = Field(default_factory=list)


class Toleration(ApiModel):
    key: Annotated[str, text(317)] | None = Field(
        default=None, description="Key of the taint; without it, every taint is tolerated."
    )
    operator: Literal["Exists", "Equal"] = Field(
        default="Equal", description="Exists tolerates any value of the key; Equal only the one given."
    )
    value: Annotated[str, text(63)] | None = Field(default=None, description="Value of the taint, for operator Equal.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="Effect of the taint; without it, every effect is tolerated."
    )
    toleration_seconds: int | None = Field(
        default=None, ge=0, description="How long a NoExecute taint is tolerated; without it, for ever."
    )


Tolerations = Annotated[list[Toleration], Field(max_length=32, json_schema_extra={LIST_TYPE: "atomic"})]


class LabelSelectorRequirement(ApiModel):
    key: Annotated[str, text(317)] = Field(description="The key of the label.")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"] = Field(
        description="How it is compared with the values."
    )
    values: list[Annotated[str, text(63)]] = Field(
        default_factory=list,
        max_length=64,
        description="What the label is compared with, for In and NotIn.",
        json_schema_extra={LIST_TYPE: "atomic"},
    )


class LabelSelector(ApiModel):
    match_labels: Labels = Field(default_factory=dict, description="Labels that must all be present with these values.")
    match_expressions: list[LabelSelectorRequirement] = Field(
        default_factory=list,
        max_length=16,
        description="Additional requirements, which must all hold.",
        json_schema_extra={LIST_TYPE: "atomic"},
    )


# --- environment -----------------------------------------------------------------------------------------------------


class KeySelector(ApiModel):
    name: ObjectName = Field(description="Name of the Secret or ConfigMap, in the deployment's namespace.")
    key: Annotated[str, Field(min_length=1), text(253)] = Field(description="The entry whose value is used.")
    optional: bool = Field(default=False, description="Whether the pod may start when the object or key is missing.")


class FieldSelector(ApiModel):
    field_path: Annotated[str, text(317)] = Field(description="Path in the pod, such as status.hostIP or metadata.uid.")


class EnvVarSource(ApiModel):
    secret_key_ref: KeySelector | None = Field(default=None, description="Takes the value from a Secret.")
    config_map_key_ref: KeySelector | None = Field(default=None, description="Takes the value from a ConfigMap.")
    field_ref: FieldSelector | None = Field(default=None, description="Takes the value from a field of the pod.")

    constraints: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="[has(self.secretKeyRef), has(self.configMapKeyRef), has(self.fieldRef)].filter(x, x).size() == 1",
            message="valueFrom needs exactly one source: set secretKeyRef, configMapKeyRef or fieldRef",
        ),
    )


class EnvVar(ApiModel):
    name: Annotated[str, text(128)] = Field(description="Name of the variable.")
    value: Annotated[str, text(4096, "take it from a ConfigMap, with valueFrom")] | None = Field(
        default=None, description="Its value; secrets belong in a Secret, named under valueFrom."
    )
    value_from: EnvVarSource | None = Field(default=None, description="Where the value comes from, instead of value.")


# --- volumes ---------------------------------------------------------------------------------------------------------


class KeyToPath(ApiModel):
    key: Annotated[str, text(253)] = Field(description="The entry that becomes a file.")
    path: Annotated[str, text(512)] = Field(description="The file's path within the volume.")
    mode: int | None = Field(default=None, ge=0, le=0o777, description="The file's permission bits.")


Items = Annotated[list[KeyToPath], Field(max_length=64, json_schema_extra={LIST_TYPE: "atomic"})]


class ConfigMapVolume(ApiModel):
    name: ObjectName = Field(description="The ConfigMap, in the deployment's namespace.")
    items: Items = Field(default_factory=list, description="The entries that become files; without this, all of them.")
    default_mode: int | None = Field(default=None, ge=0, le=0o777, description="Permission bits of the files.")
    optional: bool = Field(default=False, description="Whether the pod may start when the ConfigMap is missing.")


class SecretVolume(ApiModel):
    secret_name: ObjectName = Field(description="The Secret, in the deployment's namespace.")
    items: Items = Field(default_factory=list, description="The entries that become files; without this, all of them.")
    default_mode: int | None = Field(default=None, ge=0, le=0o777, description="Permission bits of the files.")
    optional: bool = Field(default=False, description="Whether the pod may start when the Secret is missing.")


class ClaimVolume(ApiModel):
    claim_name: ObjectName = Field(description="The PersistentVolumeClaim, in the deployment's namespace.")
    read_only: bool = Field(default=False, description="Whether the pod may only read from it.")


class EmptyDirVolume(ApiModel):
    medium: Literal["", "Memory"] = Field(
        default="", description="Memory keeps the files in RAM, where they count against the pod's memory limit."
    )
    size_limit: StorageSize | None = Field(default=None, description="Maximum size; beyond it, the pod is evicted.")


class Volume(ApiModel):
    name: Annotated[str, text(63)] = Field(description="The name that volumeMounts refer to.")
    config_map: ConfigMapVolume | None = Field(default=None, description="Files from the entries of a ConfigMap.")
    secret: SecretVolume | None = Field(default=None, description="Files from the entries of a Secret.")
    persistent_volume_claim: ClaimVolume | None = Field(default=None, description="An existing PersistentVolumeClaim.")
    empty_dir: EmptyDirVolume | None = Field(default=None, description="Scratch space that is deleted with the pod.")

    constraints: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="[has(self.configMap), has(self.secret), has(self.persistentVolumeClaim), "
            "has(self.emptyDir)].filter(x, x).size() == 1",
            message="a volume needs exactly one source: set configMap, secret, persistentVolumeClaim or emptyDir",
        ),
    )


class VolumeMount(ApiModel):
    name: Annotated[str, text(63)] = Field(description="The volume, by its name under volumes.")
    mount_path: Annotated[str, text(512)] = Field(description="The path in the engine's container.")
    sub_path: Annotated[str, text(512)] | None = Field(
        default=None, description="The part of the volume that is mounted."
    )
    read_only: bool = Field(default=False, description="Whether the engine may only read from it.")


class LocalObjectReference(ApiModel):
    name: ObjectName = Field(description="Name of the object, in the deployment's namespace.")


def keyed(*keys: str) -> dict[str, Any]:
    """Schema of a list whose items are merged by key, so that each field manager can own some of them."""
    return {LIST_TYPE: "map", LIST_KEYS: list(keys)}
