"""`spec.pod`: additional settings of the pods, as far as the rest of the spec leaves them open."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from slipway.api.kubernetes import (
    EnvVar,
    Labels,
    LocalObjectReference,
    Tolerations,
    Volume,
    VolumeMount,
    keyed,
)
from slipway.api.schema import (
    NO_TEMPLATE_IN_KEYS,
    ApiModel,
    AsText,
    ObjectName,
    Rule,
    cel,
    quantity_within,
    rules,
    text,
)
from slipway.api.variables import A_NAME, SECRETS

RESERVED_PREFIXES = ("slipway.dev/", "serving.kserve.io/", "networking.kserve.io/", "internal.serving.kserve.io/")
_RESERVED = "[" + ", ".join(f"'{prefix}'" for prefix in RESERVED_PREFIXES) + "]"

LABEL_RULES = (
    NO_TEMPLATE_IN_KEYS.as_rule,
    Rule(
        rule=f"self.all(key, !{_RESERVED}.exists(prefix, key.startsWith(prefix)))",
        message="labels of slipway.dev and kserve.io are set by Slipway and KServe: choose another prefix",
        why="FieldValueForbidden",
    ),
    Rule(
        rule="!('app' in self || 'component' in self || 'app.kubernetes.io/managed-by' in self)",
        message="the labels app, component and app.kubernetes.io/managed-by are set by Slipway and KServe: choose "
        "another name",
        why="FieldValueForbidden",
    ),
    Rule(
        rule="!('kueue.x-k8s.io/queue-name' in self)",
        message="pod.queueName sets this label: remove it, and set pod.queueName",
        why="FieldValueForbidden",
    ),
)
ANNOTATION_RULES = (
    NO_TEMPLATE_IN_KEYS.as_rule,
    Rule(
        rule=f"self.all(key, !{_RESERVED}.exists(prefix, key.startsWith(prefix)))",
        message="annotations of slipway.dev and kserve.io are set by Slipway and KServe: choose another prefix",
        why="FieldValueForbidden",
    ),
)
RESOURCE_RULES = (
    Rule(
        rule="self.all(name, name in ['cpu', 'memory', 'ephemeral-storage'])",
        message="accelerators come from spec.accelerator: name only cpu, memory and ephemeral-storage here",
        why="FieldValueForbidden",
    ),
)

Amounts = Annotated[
    dict[str, Annotated[str, AsText, quantity_within("1m", "1Ei", example="500m, 4 or 16Gi")]],
    Field(max_length=8, json_schema_extra=rules(*RESOURCE_RULES)),
]


class EngineVariable(EnvVar):
    """An environment variable of the engine."""

    constraints: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule=f"self.name.matches({cel(A_NAME)})",
            message="a variable's name has only letters, digits and '_', and doesn't start with a digit",
            at=".name",
        ),
        Rule(
            rule="!(has(self.value) && has(self.valueFrom))",
            message="a variable has a value or a valueFrom, not both: remove one",
        ),
        Rule(
            rule=f"!(self.name in {cel(SECRETS)}) || !has(self.value)",
            message="this is a secret, and everyone who can read the object would see it: name its Secret in "
            "model.credentialsSecret",
            at=".value",
            why="FieldValueForbidden",
        ),
    )


class EngineVolume(Volume):
    """A volume of the pods."""

    constraints: ClassVar[tuple[Rule, ...]] = (
        *Volume.constraints,
        Rule(
            rule="!self.name.startsWith('kserve-') && !self.name.startsWith('slipway-')",
            message="names that start with kserve- or slipway- are reserved for volumes of KServe and Slipway: choose "
            "another",
            at=".name",
            why="FieldValueForbidden",
        ),
        Rule(
            rule="self.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
            message="a volume's name has only lower-case letters, digits and '-'",
            at=".name",
        ),
    )


class EngineMount(VolumeMount):
    """Where a volume is mounted in the engine's container."""

    constraints: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="self.mountPath.startsWith('/') && !self.mountPath.matches('/[.]{0,2}/|/[.]{0,2}$')",
            message="mountPath must be an absolute path, such as /data, without '.', '..' and a '/' at the end",
            at=".mountPath",
        ),
    )


class Resources(ApiModel):
    """CPU, memory and storage of a replica."""

    requests: Amounts = Field(
        default_factory=dict, description="Requests of each replica, which the scheduler reserves."
    )
    limits: Amounts = Field(default_factory=dict, description="Limits of each replica.")


class PodSpecExtras(ApiModel):
    """Additional settings of the pods."""

    labels: Labels = Field(
        default_factory=dict,
        description="Additional labels of the pods. A change replaces the pods.",
        json_schema_extra=rules(*LABEL_RULES),
    )
    annotations: dict[str, Annotated[str, text(16384)]] = Field(
        default_factory=dict,
        max_length=64,
        description="Additional annotations of the pods. A change replaces the pods.",
        json_schema_extra=rules(*ANNOTATION_RULES),
    )
    service_account_name: ObjectName | None = Field(
        default=None, description="ServiceAccount of the pods; by default the default one of the namespace."
    )
    priority_class_name: ObjectName | None = Field(
        default=None, description="PriorityClass of the pods: which pods are preempted when accelerators are scarce."
    )
    queue_name: ObjectName | None = Field(default=None, description="Kueue queue in which the pods wait for quota.")
    tolerations: Tolerations = Field(
        default_factory=list, description="Tolerations of the pods, in addition to those of the accelerator profile."
    )
    node_selector: Labels = Field(
        default_factory=dict,
        description="Labels that a node must have, in addition to those of the accelerator profile.",
    )
    resources: Resources = Field(
        default_factory=Resources, description="CPU and memory of each replica; by default as planned."
    )
    env: list[EngineVariable] = Field(
        default_factory=list,
        max_length=64,
        description="Environment variables of the engine. Slipway's own engines accept those that are known to be "
        "harmless, and any that starts with APP_.",
        json_schema_extra=keyed("name"),
    )
    volumes: list[EngineVolume] = Field(
        default_factory=list,
        max_length=32,
        description="Additional volumes of the pods.",
        json_schema_extra=keyed("name"),
    )
    volume_mounts: list[EngineMount] = Field(
        default_factory=list,
        max_length=32,
        description="Where those volumes are mounted in the engine's container, such as under /data.",
        json_schema_extra=keyed("mountPath"),
    )
    image_pull_secrets: list[LocalObjectReference] = Field(
        default_factory=list,
        max_length=8,
        description="Secrets with the registry's credentials.",
        json_schema_extra=keyed("name"),
    )
    runtime_class_name: ObjectName | None = Field(
        default=None, description="RuntimeClass of the pods; by default that of the accelerator profile."
    )
    scheduler_name: ObjectName | None = Field(
        default=None, description="Scheduler of the pods; by default that of the cluster."
    )

    constraints: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="!has(self.volumeMounts) || self.volumeMounts.all(mount, "
            "has(self.volumes) && self.volumes.exists(volume, volume.name == mount.name))",
            message="a volumeMount has no volume of its name: add the volume under pod.volumes",
            at=".volumeMounts",
        ),
    )
