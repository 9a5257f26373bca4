"""For all values, the charts render objects that match the API server's schemas: kubeconform, without a cluster.

The API server itself checks them in tests/cluster/test_charts.py.
"""

from __future__ import annotations

import subprocess

import pytest
from support.charts.helm import kubeconform, text
from support.charts.openapi_schemas import kind_of
from support.charts.values import BRANCHES, NOT_RECORDED, SCHEMAS, kinds

LOCATION = f"{SCHEMAS}/{{{{ .Group }}}}_{{{{ .ResourceKind }}}}_{{{{ .ResourceAPIVersion }}}}.json"
WRONG = """
apiVersion: v1
kind: Service
metadata: {name: a}
spec: {ports: [{port: eighty}], selektor: {}}
"""


def complaints(manifest: str) -> str:
    how = ["-strict", "-schema-location", LOCATION, "-skip", ",".join(NOT_RECORDED)]
    command = [str(kubeconform()), *how]
    done = subprocess.run(command, input=manifest, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr if done.returncode else ""


@pytest.mark.parametrize("branch", BRANCHES)
def test_all_rendered_objects_match_the_schemas(branch: str) -> None:
    assert complaints(text("slipway", BRANCHES[branch])) == ""


def test_the_crds_and_their_policies_match_the_schemas() -> None:
    assert complaints(text("slipway-crds")) == ""


def test_an_invalid_object_is_found() -> None:
    errors = complaints(WRONG)
    assert "/spec/ports/0/port" in errors
    assert "selektor" in errors


def test_there_is_a_schema_for_every_kind_and_no_other() -> None:
    assert {file.name for file in SCHEMAS.glob("*.json")} == {kind.file for kind in kinds()}


def test_a_kind_without_a_schema_is_an_error() -> None:
    manifest = {"apiVersion": "v1", "kind": "Unheard"}
    assert not (SCHEMAS / kind_of(manifest).file).exists()
    assert "could not find schema for Unheard" in complaints("{apiVersion: v1, kind: Unheard, metadata: {name: a}}")
