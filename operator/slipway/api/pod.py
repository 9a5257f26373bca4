"""`spec.pod`: what else the pods should have, within what the rest of the spec leaves open."""

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
        message="the queue is named in pod.queueName: leave its label out",
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
    """A variable that the engine gets."""

    constraints: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule=f"self.name.matches({cel(A_NAME)})",
            message="a variable's name has only letters, digits and '_', and no digit first",
            at=".name",
        ),
        Rule(
            rule="!(has(self.value) && has(self.valueFrom))",
            message="a variable has a value or a valueFrom, not both: leave one out",
        ),
        Rule(
            rule=f"!(self.name in {cel(SECRETS)}) || !has(self.value)",
            message="this is a secret that all who can read the object would see: name its Secret in "
            "model.credentialsSecret",
            at=".value",
            why="FieldValueForbidden",
        ),
    )


class EngineVolume(Volume):
    """A volume that the pods get."""

    constraints: ClassVar[tuple[Rule, ...]] = (
        *Volume.constraints,
        Rule(
            rule="!self.name.startsWith('kserve-') && !self.name.startsWith('slipway-')",
            message="volumes that begin with kserve- or slipway- are made by KServe and Slipway: choose another name",
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
    """Where the engine sees a volume."""

    constraints: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="self.mountPath.startsWith('/') && !self.mountPath.matches('/[.]{0,2}/|/[.]{0,2}$')",
            message="mountPath must be a folder from the root, such as /data, without '.', '..' and '/' at its end",
            at=".mountPath",
        ),
    )


class Resources(ApiModel):
    """What a replica takes of its node beside accelerators."""

    requests: Amounts = Field(default_factory=dict, description="What the scheduler sets aside for each replica.")
    limits: Amounts = Field(default_factory=dict, description="What each replica may use at most.")


class PodSpecExtras(ApiModel):
    """What else the pods should have."""

    labels: Labels = Field(
        default_factory=dict,
        description="Further labels of the pods. A change starts them anew.",
        json_schema_extra=rules(*LABEL_RULES),
    )
    annotations: dict[str, Annotated[str, text(16384)]] = Field(
        default_factory=dict,
        max_length=64,
        description="Further annotations of the pods. A change starts them anew.",
        json_schema_extra=rules(*ANNOTATION_RULES),
    )
    service_account_name: ObjectName | None = Field(
        default=None, description="ServiceAccount of the pods; by default the namespace's own."
    )
    priority_class_name: ObjectName | None = Field(
        default=None, description="PriorityClass of the pods: who gives way when accelerators are short."
    )
    queue_name: ObjectName | None = Field(
        default=None, description="Kueue queue that the pods wait in for their quota."
    )
    tolerations: Tolerations = Field(
        default_factory=list, description="Taints that the pods tolerate, beside those of the accelerator profile."
    )
    node_selector: Labels = Field(
        default_factory=dict, description="Labels that a node must have, beside those of the accelerator profile."
    )
    resources: Resources = Field(
        default_factory=Resources, description="CPU and memory of each replica; by default what the plan finds right."
    )
    env: list[EngineVariable] = Field(
        default_factory=list,
        max_length=64,
        description="Environment variables of the engine. Slipway's own get those that are known to be harmless, and "
        "any that begins with APP_.",
        json_schema_extra=keyed("name"),
    )
    volumes: list[EngineVolume] = Field(
        default_factory=list,
        max_length=32,
        description="Further volumes of the pods.",
        json_schema_extra=keyed("name"),
    )
    volume_mounts: list[EngineMount] = Field(
        default_factory=list,
        max_length=32,
        description="Where the engine sees those volumes, such as under /data.",
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
        default=None, description="Scheduler of the pods; by default the cluster's own."
    )

    constraints: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="!has(self.volumeMounts) || self.volumeMounts.all(mount, "
            "has(self.volumes) && self.volumes.exists(volume, volume.name == mount.name))",
            message="every volumeMount needs a volume of its name under pod.volumes",
            at=".volumeMounts",
        ),
    )
