"""Where the model's files come from, in KServe's words, and with whose credentials.

One model alone is `storageUri`: KServe's own and oldest way. With adapters or a draft model there are several sources
with a folder each, `storageUris`.
"""

from __future__ import annotations

from urllib.parse import quote

from slipway.api.llmdeployment import LLMDeploymentSpec
from slipway.contract.pod import ADAPTERS_FOLDER, DRAFT_FOLDER, MODEL_FOLDER
from slipway.operator.rendering.desired import Object, Refusal

SECRET_ANNOTATION = "serving.kserve.io/storageSecretName"  # noqa: S105 - the name of an annotation
NO_CREDENTIALS = ("pvc://", "oci://")  # of KServe's: a volume needs none, a registry's are an image pull secret


def adapter_folder(name: str) -> str:
    return f"{ADAPTERS_FOLDER}/{quote(name, safe='')}"


def storage_uri(uri: str, revision: str | None = None) -> str:
    """A URI as KServe's storage initializer takes it."""
    scheme, _, rest = uri.partition("://")
    if scheme == "mlflow":
        raise Refusal(
            "Slipway doesn't fetch from an MLflow registry yet: name the place where it keeps the files, such as s3://."
        )
    if scheme == "az":
        account, _, path = rest.partition("/")
        return f"https://{account}.blob.core.windows.net/{path}"
    return f"{uri}:{revision}" if scheme == "hf" and revision else uri


def storage(spec: LLMDeploymentSpec) -> tuple[Object, Object]:
    """What of it belongs to the predictor, and what to its model."""
    model = storage_uri(spec.model.uri, spec.model.revision)
    further = {adapter_folder(adapter.name): adapter.uri for adapter in spec.engine.adapters}
    if spec.engine.speculative and spec.engine.speculative.model:
        further[DRAFT_FOLDER] = spec.engine.speculative.model
    if not further:
        return {}, {"storageUri": model}
    sources = {MODEL_FOLDER: model} | {folder: storage_uri(uri) for folder, uri in further.items()}
    return {"storageUris": [{"uri": uri, "mountPath": folder} for folder, uri in sources.items()]}, {}


def secret_annotation(spec: LLMDeploymentSpec) -> dict[str, str]:
    secret = spec.model.credentials_secret
    return {SECRET_ANNOTATION: secret} if secret and not spec.model.uri.startswith(NO_CREDENTIALS) else {}


def image_pull_secrets(spec: LLMDeploymentSpec) -> list[Object]:
    """Those of the spec, and the one for a model that is itself an image."""
    wanted = [secret.name for secret in spec.pod.image_pull_secrets]
    if spec.model.credentials_secret and spec.model.uri.startswith("oci://"):
        wanted.append(spec.model.credentials_secret)
    return [{"name": name} for name in dict.fromkeys(wanted)]
