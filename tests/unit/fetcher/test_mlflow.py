"""What an MLflow server's refusals mean."""

from __future__ import annotations

import threading

from slipway_fetcher.problem import Reason
from slipway_fetcher.sources.mlflow import Api
from slipway_fetcher.web.client import Client
from slipway_fetcher.web.gates import Gates
from slipway_fetcher.web.repeating import Patience


def test_a_server_that_does_not_know_its_own_name_is_not_called_a_wrong_password() -> None:
    """By default it may be called by addresses of private networks, and not by the name of a Service."""
    stop = threading.Event()
    client = Client(Gates(1, stop, lambda _: None))
    refused = Api("http://mlflow.ml.svc:5000", None, client, Patience(1, stop)).refused(
        403, b"Invalid Host header - possible DNS rebinding attack detected", "version"
    )
    assert refused.reason is Reason.ACCESS_DENIED
    assert "requests that call it mlflow.ml.svc:5000" in refused.message
    assert "--allowed-hosts" in refused.remedy
