"""`spec.access` as the guard in the pod gets it: where the Secret with the API keys is mounted."""

from __future__ import annotations

from slipway.api.exposure import AccessSpec
from slipway.contract.pod import KEYS_FOLDER
from slipway.objects.kinds import Object

KEYS_VOLUME = "slipway-api-keys"


def volumes(access: AccessSpec) -> list[Object]:
    """Mounts the Secret with the keys: changes reach the pod without a restart."""
    secret = access.api_keys_secret
    return [{"name": KEYS_VOLUME, "secret": {"secretName": secret}}] if secret else []


def volume_mounts(access: AccessSpec) -> list[Object]:
    return [{"name": KEYS_VOLUME, "mountPath": KEYS_FOLDER, "readOnly": True}] if access.api_keys_secret else []
