"""`spec.pod.env`: the variables by which the fetcher reaches a source are allowed, and secrets only by a Secret."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from slipway.api.variables import NAMES, SECRETS, why_refused
from slipway.contract.flags import HARMLESS
from slipway.operator.rendering.weights import VARIABLES

FETCHER = Path(__file__).parents[3] / "fetcher/slipway_fetcher"
_READ = re.compile(r"""settings\.(?:get|credential)\(([^)]*)\)""")
READ = sorted(
    {
        name
        for file in FETCHER.rglob("*.py")
        for arguments in _READ.findall(file.read_text())
        for name in re.findall(r"""["'](\w+)["']""", arguments)
        if VARIABLES.fullmatch(name)
    }
)


def test_the_fetchers_variables_are_found() -> None:
    assert {"HF_TOKEN", "S3_USE_HTTPS", "MLFLOW_TRACKING_URI", "AZURE_CLIENT_ID"} <= set(READ)


@pytest.mark.parametrize("engine", HARMLESS)
def test_what_the_fetcher_reads_may_be_set(engine: str) -> None:
    assert {name: why for name in READ if (why := why_refused(engine, name))} == {}


def test_what_is_a_credential_itself_is_a_secret() -> None:
    secret = re.compile(r".*_(TOKEN|PASSWORD|SECRET|SECRET_ACCESS_KEY|STORAGE_(ACCESS|ACCOUNT)_KEY)")
    assert {name for name in (*READ, *NAMES) if secret.fullmatch(name)} <= set(SECRETS)
    assert set(SECRETS) <= set(NAMES)
