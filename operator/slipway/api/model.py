"""`spec.model`: the model, where its files are, and where they are cached."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from slipway.api.compile_cache import CompiledRepository
from slipway.api.kubernetes import AccessMode, StorageSize
from slipway.api.schema import (
    LIST_TYPE,
    ApiModel,
    AsText,
    ObjectName,
    Rule,
    cel,
    matches,
    quantity_within,
    rules,
    text,
)

SCHEMES = ("hf", "s3", "gs", "az", "pvc", "oci", "https", "mlflow")
_SEGMENT = "[A-Za-z0-9][-A-Za-z0-9._]*"


def _of_scheme(scheme: str, rest: str, message: str) -> Rule:
    return Rule(
        rule=f"!self.startsWith({cel(scheme + '://')}) || self.matches({cel(f'^{scheme}://{rest}$')})", message=message
    )


URI_RULES = (
    Rule(
        rule=f"[{', '.join(cel(scheme + '://') for scheme in SCHEMES)}].exists(scheme, self.startsWith(scheme))",
        message="must start with hf://, s3://, gs://, az://, pvc://, oci://, https:// or mlflow://",
    ),
    Rule(
        rule=r"!self.matches('(^|/)[.][.](/|$)|\\s|[{][{]')",
        message="must not contain '..' as a path segment, spaces or '{{': write the full path",
    ),
    _of_scheme(
        "hf",
        f"{_SEGMENT}/{_SEGMENT}",
        "a Hugging Face model is hf://ORGANIZATION/MODEL; its branch or commit belongs in model.revision",
    ),
    _of_scheme("s3", "[a-z0-9][-a-z0-9.]+/.*", "an S3 model is s3://BUCKET/PATH"),
    _of_scheme("gs", "[a-z0-9][-a-z0-9._]+/.*", "a Google Cloud Storage model is gs://BUCKET/PATH"),
    _of_scheme(
        "az", "[a-z0-9]{3,24}/[a-z0-9][-a-z0-9]+/.*", "an Azure Blob Storage model is az://ACCOUNT/CONTAINER/PATH"
    ),
    _of_scheme(
        "pvc",
        "[a-z0-9]([-a-z0-9.]*[a-z0-9])?(/.*)?",
        "a model on a volume is pvc://CLAIM/PATH, with a PersistentVolumeClaim of the same namespace",
    ),
    _of_scheme(
        "oci",
        "[a-z0-9][-a-z0-9.]*(:[0-9]+)?(/[a-z0-9][-a-z0-9._]*)+(:[A-Za-z0-9_][-A-Za-z0-9._]*)?(@sha256:[a-f0-9]{64})?",
        "a model in a registry is oci://REGISTRY/REPOSITORY:TAG or, better, oci://REGISTRY/REPOSITORY@sha256:DIGEST",
    ),
    Rule(
        rule="!self.matches('^https://[^/]*@')",
        message="must not contain a user name or password: put them into a Secret and name it in "
        "model.credentialsSecret",
        why="FieldValueForbidden",
    ),
    _of_scheme("https", "[^/]+/.+", "a model on an HTTPS server is https://HOST/PATH"),
    _of_scheme(
        "mlflow",
        "models:/[^/@]+(/[0-9]+|@[^/]+)",
        "a model of an MLflow registry is mlflow://models:/NAME/VERSION or mlflow://models:/NAME@ALIAS",
    ),
)


class ModelFacts(ApiModel):
    """Facts about the model; they complete or correct what Slipway finds out by itself."""

    parameters: int | None = Field(
        default=None, ge=1_000, description="Number of weights, as 8030000000 for an 8B model."
    )
    active_parameters: int | None = Field(
        default=None, ge=1_000, description="Weights that are used per token, in a mixture of experts."
    )
    embedding_parameters: int | None = Field(
        default=None, ge=1, description="Weights of the input embedding, which stay in 16 bits if others are quantized."
    )
    expert_parameters: int | None = Field(
        default=None, ge=1, description="Weights of all routed experts together, in a mixture of experts."
    )
    layers: int | None = Field(default=None, ge=1, le=10_000, description="Number of transformer layers.")
    attention_heads: int | None = Field(
        default=None, ge=1, le=10_000, description="Query heads; tensor parallelism must divide them."
    )
    kv_heads: int | None = Field(default=None, ge=1, le=10_000, description="Key and value heads per layer.")
    latent_size: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        description="Values that a layer stores per token with multi-head latent attention, instead of keys and values "
        "of each head: kv_lora_rank plus qk_rope_head_dim of config.json.",
    )
    sliding_window: int | None = Field(
        default=None, ge=1, le=100_000_000, description="Tokens that a layer with a sliding window attends to."
    )
    sliding_layers: int | None = Field(
        default=None, ge=0, le=10_000, description="Number of layers with a sliding window; the others see all tokens."
    )
    state_layers: int | None = Field(
        default=None,
        ge=0,
        le=10_000,
        description="Number of layers that keep a state of fixed size, such as Mamba's, instead of keys and values.",
    )
    state_bytes: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000_000_000,
        description="Size of that state, in bytes, for one layer and one request.",
    )
    head_dim: int | None = Field(default=None, ge=1, le=100_000, description="Size of one attention head.")
    hidden_size: int | None = Field(default=None, ge=1, le=1_000_000, description="Width of the residual stream.")
    intermediate_size: int | None = Field(
        default=None, ge=1, le=10_000_000, description="Width of the MLP in layers without experts."
    )
    vocabulary_size: int | None = Field(
        default=None, ge=1, le=100_000_000, description="Number of tokens in the vocabulary."
    )
    context_length: int | None = Field(
        default=None, ge=1, le=100_000_000, description="Maximum context length of the model, in tokens."
    )
    dtype: Literal["float32", "float16", "bfloat16", "float8", "int8", "int4"] | None = Field(
        default=None, description="Data type of the weights in the checkpoint."
    )
    weights: Annotated[str, AsText, quantity_within("1Ki", "1Ei", example="16Gi")] | None = Field(
        default=None, description="Size of the weight files; takes precedence over parameters and dtype."
    )
    task: Literal["Generate", "Embed", "Rerank", "Classify"] | None = Field(
        default=None,
        description="The same as spec.model.task, which is to be preferred; for objects that were written before it.",
    )

    constraints: ClassVar[tuple[Rule, ...]] = (
        *(
            Rule(
                rule=f"!has(self.{part}) || !has(self.parameters) || self.{part} <= self.parameters",
                message=f"{part} is part of parameters: set it to at most that number, or correct parameters",
                at=f".{part}",
            )
            for part in ("activeParameters", "embeddingParameters", "expertParameters")
        ),
        Rule(
            rule="!has(self.kvHeads) || !has(self.attentionHeads) || self.attentionHeads % self.kvHeads == 0",
            message="kvHeads must divide attentionHeads, since each key and value head serves the same number of "
            "query heads",
            at=".kvHeads",
        ),
        Rule(
            rule="!has(self.latentSize) || !has(self.kvHeads)",
            message="a model with multi-head latent attention stores one vector of latentSize per token and layer: "
            "remove kvHeads, or latentSize",
            at=".kvHeads",
            why="FieldValueForbidden",
        ),
        Rule(
            rule="!has(self.layers) || (has(self.slidingLayers) ? self.slidingLayers : 0) + "
            "(has(self.stateLayers) ? self.stateLayers : 0) <= self.layers",
            message="slidingLayers and stateLayers are parts of layers: together they can't be more",
            at=".layers",
        ),
    )


class ModelCache(ApiModel):
    """Where downloaded files are kept, so that the next replica doesn't download them again."""

    kind: Literal["Auto", "Node", "PVC", "Image", "None"] = Field(
        default="Auto",
        description="PVC keeps files on a volume of this deployment, Node on each node that has run the model; Image "
        "takes them from an image that a Job pushes and each node pulls once; with None, each replica downloads "
        "them. Auto is Node where the node plugin is, else PVC where a volume can't delay a replica, else None.",
    )
    size: StorageSize | None = Field(
        default=None,
        description="Size of the volume, for Auto and PVC; by default enough for the model, if its size is known, else "
        "that of the installation. It can grow if the storage class allows it. For Image, of the volume on which the "
        "Job has the files until they are pushed; by default they are on the disk of its node.",
    )
    storage_class_name: ObjectName | None = Field(
        default=None,
        description="Storage class of the volume, for Auto, PVC and Image; by default that of the installation, or the "
        "cluster's.",
    )
    access_mode: AccessMode | None = Field(
        default=None,
        description="ReadWriteMany shares one volume among all replicas, ReadWriteOncePod is for one replica at a "
        "time, for kind PVC; by default ReadWriteMany if the storage class is known for it.",
    )
    repository: CompiledRepository | None = Field(
        default=None, description="Repository into which a Job pushes the image with the files, for kind Image."
    )
    push_secret: ObjectName | None = Field(
        default=None,
        description="Secret of type kubernetes.io/dockerconfigjson in the same namespace, with the credentials by "
        "which that Job pushes.",
    )

    constraints: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="self.kind in ['Auto', 'PVC', 'Image'] || !(has(self.size) || has(self.storageClassName))",
            message="size and storageClassName describe a volume: set kind to PVC, Auto or Image, or remove them",
            at=".kind",
        ),
        Rule(
            rule="self.kind != 'Image' || has(self.size) || !has(self.storageClassName)",
            message="storageClassName is of the volume on which the Job has the files until they are pushed: set its "
            "size, too, or remove storageClassName",
            at=".size",
            why="FieldValueRequired",
        ),
        Rule(
            rule="self.kind == 'Image' || !(has(self.repository) || has(self.pushSecret))",
            message="repository and pushSecret are for an image: set kind to Image, or remove them",
            at=".kind",
        ),
        Rule(
            rule="self.kind != 'Image' || has(self.repository)",
            message="kind Image needs a repository into which a Job pushes the files: set one, such as "
            "registry.example.com/team/models",
            at=".repository",
            why="FieldValueRequired",
        ),
        Rule(
            rule="self.kind == 'PVC' || !has(self.accessMode)",
            message="accessMode describes the volume of kind PVC: set kind to PVC, or remove accessMode",
            at=".accessMode",
            why="FieldValueForbidden",
        ),
        Rule(
            rule="self.kind != 'PVC' || oldSelf.kind != 'PVC' || (has(self.storageClassName) == "
            "has(oldSelf.storageClassName) && (!has(self.storageClassName) || "
            "self.storageClassName == oldSelf.storageClassName))",
            message="Kubernetes can't move a volume to another storage class: set kind to None first, which "
            "removes the volume, then to PVC with the new class",
            at=".storageClassName",
            why="FieldValueForbidden",
        ),
        Rule(
            rule="self.kind != 'PVC' || oldSelf.kind != 'PVC' || !has(self.size) || !has(oldSelf.size) || "
            "!isQuantity(string(self.size)) || "
            "quantity(string(self.size)).compareTo(quantity(string(oldSelf.size))) >= 0",
            message="Kubernetes can't shrink a volume: keep the size, or set kind to None first, which removes "
            "the volume",
            at=".size",
            why="FieldValueForbidden",
        ),
    )


Uri = Annotated[str, Field(min_length=1, max_length=1024, json_schema_extra=rules(*URI_RULES))]
FilePattern = Annotated[str, Field(min_length=1), text(256)]
Endpoint = Annotated[
    str,
    matches(
        r"^https?://[^/@?#\s{}]+(/[^?#\s{}]*)?$",
        "must be the URL of a server, http://HOST or https://HOST, with a path if it has one: no user, no password, no "
        "query",
        at_most=512,
    ),
]
WITH_ENDPOINTS = ("hf", "s3", "gs", "az", "oci", "mlflow")
ServedName = Annotated[
    str,
    matches(
        r"^[A-Za-z0-9]([-A-Za-z0-9._:/]*[A-Za-z0-9])?$",
        "must be a model name as clients write it: letters, digits, '-', '.', '_', ':' and '/', such as llama-3.1-8b",
        at_most=128,
    ),
]


class ModelSpec(ApiModel):
    """The model to serve."""

    uri: Uri = Field(
        description="Where the files are: hf://ORGANIZATION/MODEL, s3://BUCKET/PATH, gs://BUCKET/PATH, "
        "az://ACCOUNT/CONTAINER/PATH, pvc://CLAIM/PATH, oci://REGISTRY/REPOSITORY@DIGEST, https://HOST/PATH or "
        "mlflow://models:/NAME/VERSION."
    )
    revision: (
        Annotated[
            str,
            matches(
                r"^[A-Za-z0-9][-A-Za-z0-9._/]*$",
                "must be a commit, tag or branch of the model's repository",
                at_most=128,
            ),
        ]
        | None
    ) = Field(
        default=None,
        description="Commit of the Hugging Face repository. A branch or tag works too, but can change, so that two "
        "replicas may serve different weights.",
    )
    files: list[FilePattern] = Field(
        default_factory=list,
        max_length=20,
        description="Only files whose path matches one of these patterns, such as '*Q4_K_M.gguf', are fetched; by "
        "default those that an engine reads. '*' also matches '/'.",
        json_schema_extra={LIST_TYPE: "atomic"},
    )
    endpoint: Endpoint | None = Field(
        default=None,
        description="URL of the server to fetch from, if it isn't the source's usual one: a mirror of the Hub or of a "
        "registry, an object store of the site, the MLflow server.",
    )
    served_name: ServedName | None = Field(
        default=None, description='The name that clients send as "model"; by default the name of this object.'
    )
    credentials_secret: ObjectName | None = Field(
        default=None,
        description="Secret in the same namespace with the credentials for the model's source, such as HF_TOKEN.",
    )
    facts: ModelFacts = Field(
        default_factory=ModelFacts,
        description="Facts about the model that override, or replace, those that the planner reads from its files.",
    )
    task: Literal["Auto", "Generate", "Embed", "Rerank", "Classify", "Transcribe"] = Field(
        default="Auto",
        description="What the model is for: it decides how the engine is started, and which requests the model serves. "
        "Auto takes it from the model's architecture, which doesn't say it of models such as Qwen3-Embedding.",
    )
    cache: ModelCache = Field(
        default_factory=ModelCache, description="Where downloaded files are kept, so that they are downloaded once."
    )

    constraints: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="!has(self.revision) || self.uri.startsWith('hf://')",
            message="revision is a commit of a Hugging Face repository: with other sources, put the version into uri",
            at=".revision",
            why="FieldValueForbidden",
        ),
        Rule(
            rule="!has(self.task) || self.task == 'Auto' || !has(self.facts) || !has(self.facts.task) || "
            "self.facts.task == self.task",
            message="task and facts.task differ: remove facts.task, which task has replaced",
            at=".task",
        ),
        Rule(
            rule="!has(self.files) || size(self.files) == 0 || !self.uri.startsWith('pvc://')",
            message="files chooses what is fetched, and a volume is mounted as it is: remove files, or put the path "
            "into uri",
            at=".files",
            why="FieldValueForbidden",
        ),
        Rule(
            rule=f"!has(self.endpoint) || {cel([f'{each}://' for each in WITH_ENDPOINTS])}"
            ".exists(scheme, self.uri.startsWith(scheme))",
            message="endpoint is the server of an hf://, s3://, gs://, az://, oci:// or mlflow:// source: an https:// "
            "source has its server in uri, and pvc:// has none",
            at=".endpoint",
            why="FieldValueForbidden",
        ),
    )
