"""`spec.engine.compileCache`: where compiled code is kept, so that it outlives the pods that compile it."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from slipway.api.kubernetes import AccessMode, StorageSize
from slipway.api.names import MAX_NAME_LENGTH
from slipway.api.schema import ApiModel, ObjectName, Rule, matches

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_PORT = "(:[0-9]{1,5})"
_HOST = rf"{_LABEL}(\.{_LABEL})*{_PORT}?"
_PUSHABLE_HOST = rf"({_LABEL}(\.{_LABEL})+{_PORT}?|localhost{_PORT}?|{_LABEL}{_PORT})"
"""Without a dot or a port, it could be the first part of a repository: slipway_runtime.oci pushes to no such name."""
_PATH = r"(/[a-z0-9]+((\.|__?|-+)[a-z0-9]+)*)+"
LONGEST_REPOSITORY = 255 - len(":") - MAX_NAME_LENGTH - len("-") - 16
"""With the tag of the Job, which is the model's name and 16 digits, an image's name has at most 255 characters."""
CompiledImage = Annotated[
    str,
    matches(
        f"^{_HOST}{_PATH}@sha256:[a-f0-9]{{64}}$",
        "must be an image with its digest, REGISTRY/REPOSITORY@sha256:DIGEST: compiled code is executed, and only a "
        "digest says which",
        at_most=512,
    ),
]
CompiledRepository = Annotated[
    str,
    matches(
        f"^{_PUSHABLE_HOST}{_PATH}$",
        "must be a repository of a registry, REGISTRY/REPOSITORY, in lower case, without a tag or digest; the registry "
        "has a dot or a port",
        at_most=LONGEST_REPOSITORY,
    ),
]


class CompileCache(ApiModel):
    """Where the code is kept that the engine compiles at its first start, so that later starts don't compile it
    again."""

    kind: Literal["Auto", "PVC", "Image", "None"] = Field(
        default="Auto",
        description="PVC keeps it on a volume of this deployment, Image takes it from a registry, with None each "
        "replica compiles for itself. Auto is PVC where a volume can't delay a replica, and None elsewhere.",
    )
    size: StorageSize | None = Field(
        default=None, description="Size of the volume, for Auto and PVC; by default that of the installation."
    )
    storage_class_name: ObjectName | None = Field(
        default=None,
        description="Storage class of the volume, for Auto and PVC; by default that of the installation, or the "
        "cluster's.",
    )
    access_mode: AccessMode | None = Field(
        default=None,
        description="ReadWriteMany shares one volume among all replicas, ReadWriteOncePod is for one replica at a "
        "time, for kind PVC; by default ReadWriteMany if the storage class is known for it.",
    )
    image: CompiledImage | None = Field(
        default=None, description="The image with the compiled code, for kind Image: REGISTRY/REPOSITORY@sha256:DIGEST."
    )
    repository: CompiledRepository | None = Field(
        default=None,
        description="Repository into which a Job pushes the image that it fills, for kind Image without image.",
    )
    push_secret: ObjectName | None = Field(
        default=None,
        description="Secret of type kubernetes.io/dockerconfigjson in the same namespace, with the credentials by "
        "which that Job pushes.",
    )

    constraints: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="self.kind in ['Auto', 'PVC'] || !(has(self.size) || has(self.storageClassName))",
            message="size and storageClassName describe a volume: set kind to PVC or Auto, or remove them",
            at=".kind",
        ),
        Rule(
            rule="self.kind == 'PVC' || !has(self.accessMode)",
            message="accessMode describes the volume of kind PVC: set kind to PVC, or remove accessMode",
            at=".accessMode",
            why="FieldValueForbidden",
        ),
        Rule(
            rule="self.kind == 'Image' || !(has(self.image) || has(self.repository) || has(self.pushSecret))",
            message="image, repository and pushSecret are for an image: set kind to Image, or remove them",
            at=".kind",
        ),
        Rule(
            rule="self.kind != 'Image' || has(self.image) != has(self.repository)",
            message="kind Image needs either image, which is mounted as it is, or repository, into which a Job pushes "
            "what it has compiled: set one of them",
            at=".image",
            why="FieldValueRequired",
        ),
        Rule(
            rule="!has(self.pushSecret) || has(self.repository)",
            message="pushSecret is for pushing to repository: set repository, or remove pushSecret",
            at=".pushSecret",
            why="FieldValueForbidden",
        ),
    )
