"""Tokens by which a pod's identity reads blobs, from a service that answers as Microsoft's does."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from slipway_fetcher.problem import FetchError
from slipway_fetcher.settings import Settings
from slipway_fetcher.sources.azure import Identity
from slipway_fetcher.web.client import Client
from slipway_fetcher.web.gates import Gates
from slipway_fetcher.web.repeating import Patience
from support.fakes.cloud_identities import TOKEN, identities


def authorized(url: str, token: Path) -> dict[str, str]:
    stop = threading.Event()
    application = {"AZURE_TENANT_ID": "tenant", "AZURE_CLIENT_ID": "application"}
    environment = {**application, "AZURE_AUTHORITY_HOST": url, "AZURE_FEDERATED_TOKEN_FILE": str(token)}
    identity = Identity("account", Settings(environment), Client(Gates(5, stop)), Patience(5, stop))
    return dict(identity.authorize("GET", "https://account.blob.core.windows.net/models", {}))


def test_the_pods_own_token_is_exchanged_for_one_of_the_application(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    with identities() as services:
        assert authorized(services.url, tmp_path / "token") == {"Authorization": "Bearer token"}
        assert services.given == ["application"]


def test_a_token_that_the_application_does_not_trust_is_refused(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("of another pod")
    with identities() as services, pytest.raises(FetchError, match="gives no token for the application application"):
        authorized(services.url, tmp_path / "token")
