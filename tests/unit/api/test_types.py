"""The types parse what users write, and refuse invalid values in the words of the API server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from slipway.api.acceleratorprofile import AcceleratorProfile
from slipway.api.llmdeployment import LLMDeployment
from support.builders.llmdeployments import acceleratorprofile, llmdeployment
from support.repository import samples


def read(spec: dict[str, Any]) -> LLMDeployment:
    return LLMDeployment.model_validate(llmdeployment(spec=spec))


@pytest.mark.parametrize("sample", samples(), ids=lambda path: path.stem)
def test_a_sample_is_unchanged_after_parsing_and_serializing(sample: Path) -> None:
    document = yaml.safe_load(sample.read_text())
    written = LLMDeployment.model_validate(document).model_dump(by_alias=True, exclude_unset=True, exclude={"status"})
    assert written == document


def test_there_are_samples() -> None:
    assert {"gemma-cpu", "llama-8b"} <= {sample.stem for sample in samples()}


def test_fields_are_accepted_under_their_names_in_yaml_and_in_python() -> None:
    in_yaml = read({"scaling": {"hold": {"maxRequests": 8}}})
    in_python = read({"scaling": {"hold": {"max_requests": 8}}})
    assert in_yaml.spec.scaling.hold.max_requests == in_python.spec.scaling.hold.max_requests == 8


def test_an_unknown_field_of_the_spec_is_refused() -> None:
    with pytest.raises(ValidationError, match="minReplica"):
        read({"scaling": {"minReplica": 1}})


def test_an_unknown_field_of_the_status_from_a_newer_version_is_ignored() -> None:
    document = {**llmdeployment(), "status": {"state": "Idle", "mood": "good"}}
    status = LLMDeployment.model_validate(document).status
    assert status is not None
    assert status.state == "Idle"


def test_metadata_is_read_as_the_api_server_writes_it() -> None:
    document = llmdeployment()
    document["metadata"] |= {"uid": "1-2", "generation": 3, "managedFields": [{"manager": "kubectl"}]}
    metadata = LLMDeployment.model_validate(document).metadata
    assert (metadata.uid, metadata.generation, metadata.deletion_timestamp) == ("1-2", 3, None)


def test_a_model_is_served_under_the_name_of_its_object() -> None:
    assert read({}).served_name == "model"


def test_served_name_overrides_the_name_of_the_object() -> None:
    assert read({"model": {"servedName": "llama"}}).served_name == "llama"


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ({"scaling": {"idleAfter": "1s"}}, "must be a duration from 10s to 168h"),
        ({"scaling": {"hold": {"timeout": "2h"}}}, "must be Auto or a duration from 1s to 1h"),
        ({"scaling": {"hold": {"maxBytes": "64MB"}}}, "must be a quantity from 4Ki to 16Gi, such as 64Mi"),
        ({"engine": {"parallelism": {"tensor": 0}}}, "must be Auto or a whole number from 1 to 64"),
        ({"model": {"credentialsSecret": "HF_TOKEN"}}, "must be the name of an object"),
        ({"model": {"servedName": "llama\n"}}, "must be a model name as clients write it"),
    ],
)
def test_a_bad_value_is_refused_in_the_words_of_the_api_server(spec: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        read(spec)


@pytest.mark.parametrize("cron", ["0 8 * * 1-5", "*/15 * * * *", "30 6,18 1 JAN-mar MON", "0 0 ? * 0"])
def test_a_cron_expression_is_accepted(cron: str) -> None:
    schedule = [{"cron": cron, "duration": "1h", "minReplicas": 1}]
    assert read({"scaling": {"schedule": schedule}}).spec.scaling.schedule[0].cron == cron


@pytest.mark.parametrize(
    "cron", ["0 8 * *", "60 * * * *", "0 24 * * *", "0 0 32 * *", "0 0 * 13 *", "0 0 * * 7", "@daily"]
)
def test_an_invalid_cron_expression_is_refused(cron: str) -> None:
    schedule = [{"cron": cron, "duration": "1h", "minReplicas": 1}]
    with pytest.raises(ValidationError, match="must be a cron expression of five fields"):
        read({"scaling": {"schedule": schedule}})


def test_a_profile_is_read() -> None:
    profile = AcceleratorProfile.model_validate(
        acceleratorprofile("l4", {"compute": {"bf16": 121}, "costPerHour": 0.7})
    )
    assert profile.spec.resource is not None
    assert (profile.spec.resource.name, profile.spec.resource.count) == ("nvidia.com/gpu", 1)


def test_parsed_objects_are_immutable() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        read({}).spec.scaling.min_replicas = 3
