"""Files that Slipway's fetcher brings: init containers, the volume, and where the engine finds them."""

from __future__ import annotations

from typing import Any

import pytest
from slipway.objects.kinds import Object
from slipway.operator.installation import Fetcher
from slipway.operator.rendering import Unrenderable
from slipway.operator.rendering.weights import KEY, Source, resolved_at
from support.builders.rendering import of_kind, on_h100, plan, predictor, rendered, runtime

FETCHER = Fetcher("registry.example/slipway-fetcher:1", "Always", ("pull",))
COMMIT = "0e0e69c9337420fc17bd9b3f1e141ade0dd227f8"


def fetched(**spec: Any) -> Object:
    return predictor(on_h100(**spec), fetcher=FETCHER)


def mounts(found: Object) -> dict[str, Object]:
    """Of the engine, by their folders."""
    return {each["mountPath"]: each for each in found["model"]["volumeMounts"]}


def key(uri: str, **more: Any) -> str:
    return Source(container="", folder="", uri=uri, **more).key


def test_the_model_is_fetched_into_a_folder_that_the_engine_has_mounted_read_only() -> None:
    found = fetched(model={"uri": "hf://org/model", "revision": COMMIT})
    [container] = found["initContainers"]
    [volume] = found["volumes"]
    folder = key("hf://org/model", revision=COMMIT)
    where = ["hf://org/model", f"/mnt/weights/{folder}", "--port=8081"]
    assert container["args"] == [*where, f"--revision={COMMIT}"]
    assert container["volumeMounts"] == [{"name": volume["name"], "mountPath": "/mnt/weights"}]
    mount = {"name": volume["name"], "mountPath": "/mnt/models", "subPath": folder, "readOnly": True}
    assert mounts(found) == {"/mnt/models": mount}


def test_the_fetcher_has_no_privileges_and_its_memory_is_limited() -> None:
    [container] = fetched()["initContainers"]
    assert container["image"] == FETCHER.image
    assert container["imagePullPolicy"] == "Always"
    assert set(container["resources"]["limits"]) == {"cpu", "memory"}, "a quota may demand both"
    security = container["securityContext"]
    assert security["readOnlyRootFilesystem"]
    assert security["runAsNonRoot"]
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert fetched()["imagePullSecrets"] == [{"name": "pull"}]


def test_files_and_endpoint_are_those_of_the_model() -> None:
    model = {"uri": "hf://org/model", "files": ["*Q4_K_M.gguf", "a$(HOME)"], "endpoint": "https://mirror.example"}
    adapters = [{"name": "same", "uri": "hf://org/sql"}, {"name": "other", "uri": "s3://b/sql"}]
    model_, same, other = fetched(model=model, engine={"adapters": adapters})["initContainers"]
    assert model_["args"][3:] == ["--files=*Q4_K_M.gguf", "--files=a$$(HOME)", "--endpoint=https://mirror.example"]
    assert same["args"][3:] == ["--endpoint=https://mirror.example"], "it is on the same kind of server"
    assert other["args"][3:] == []


@pytest.mark.parametrize(
    "other",
    [
        {"model": {"credentialsSecret": "staging"}},
        {"pod": {"env": [{"name": "AWS_ENDPOINT_URL", "value": "https://s3.staging.example"}]}},
        {"model": {"endpoint": "https://s3.staging.example"}},
    ],
    ids=["by a Secret", "by a variable", "by an endpoint"],
)
def test_the_same_uri_at_another_server_has_another_folder(other: Object) -> None:
    model = {"uri": "s3://models/llama"}
    [here] = fetched(model=model)["initContainers"]
    [there] = fetched(**{**other, "model": {**model, **other.get("model", {})}})["initContainers"]
    assert here["args"][1] != there["args"][1]


def test_credentials_are_mounted_where_files_are_fetched_and_not_into_the_engine() -> None:
    found = fetched(model={"uri": "s3://b/m", "credentialsSecret": "keys"}, engine={"adapters": [ADAPTER]})
    volumes = [each["name"] for each in found["volumes"] if each.get("secret") == {"secretName": "keys"}]
    for container in found["initContainers"]:
        assert "--credentials=/etc/slipway/credentials" in container["args"]
        assert volumes[0] in [each["name"] for each in container["volumeMounts"]]
    assert volumes[0] not in [each["name"] for each in found["model"]["volumeMounts"]]


def test_nothing_that_kserve_would_fetch_with_is_left() -> None:
    wanted = on_h100(model={"uri": "hf://org/model", "credentialsSecret": "token"})
    answer = rendered(wanted, plan(wanted), serving_runtime=runtime("slipway-vllm-cuda"), fetcher=FETCHER)
    assert not isinstance(answer, Unrenderable)
    service = of_kind(answer, "InferenceService")
    assert "token" not in service["metadata"]["annotations"].values()
    assert service["spec"]["predictor"]["model"]["storageUri"] == "file:///mnt/models"
    assert "storageUris" not in service["spec"]["predictor"]


ADAPTER = {"name": "sql", "uri": "s3://b/sql"}


def test_draft_model_and_adapters_have_folders_of_their_own_in_the_same_volume() -> None:
    engine = {"adapters": [ADAPTER], "speculative": {"method": "draft", "tokens": 2, "model": "s3://b/draft"}}
    found = fetched(engine=engine)
    assert [each["name"] for each in found["initContainers"]] == [
        "storage-initializer",
        "fetch-draft",
        "fetch-adapter-0",
    ]
    assert {folder: each["subPath"] for folder, each in mounts(found).items()} == {
        "/mnt/models": key("hf://org/model"),
        "/mnt/draft": key("s3://b/draft"),
        "/mnt/adapters/sql": key("s3://b/sql"),
    }
    assert len({each["name"] for each in mounts(found).values()}) == 1


def test_the_same_source_is_fetched_once() -> None:
    found = fetched(engine={"adapters": [ADAPTER, {"name": "again", "uri": ADAPTER["uri"]}]})
    assert [each["name"] for each in found["initContainers"]] == ["storage-initializer", "fetch-adapter-0"]
    assert mounts(found)["/mnt/adapters/sql"]["subPath"] == mounts(found)["/mnt/adapters/again"]["subPath"]


def test_a_claim_stays_kserves_and_only_what_is_fetched_is_added() -> None:
    found = fetched(model={"uri": "pvc://weights/llama"}, engine={"adapters": [ADAPTER]})
    assert found["model"]["storageUri"] == "pvc://weights/llama"
    assert [each["name"] for each in found["initContainers"]] == ["fetch-adapter-0"]
    assert [*mounts(found)] == ["/mnt/adapters/sql"]


def test_a_claim_next_to_fetched_files_is_mounted_with_its_path() -> None:
    found = fetched(engine={"adapters": [{"name": "sql", "uri": "pvc://loras/of/sql"}]})
    mount = mounts(found)["/mnt/adapters/sql"]
    [volume] = [each for each in found["volumes"] if each["name"] == mount["name"]]
    assert volume["persistentVolumeClaim"] == {"claimName": "loras", "readOnly": True}
    assert (mount["subPath"], mount["readOnly"]) == ("of/sql", True)


def test_a_model_on_claims_alone_is_rendered_as_without_a_fetcher() -> None:
    model = {"uri": "pvc://weights/llama"}
    assert fetched(model=model) == predictor(on_h100(model=model))


def test_variables_that_say_how_a_source_is_reached_are_the_fetchers_too() -> None:
    names = ("HTTPS_PROXY", "no_proxy", "HF_ENDPOINT", "APP_A", "VLLM_LOGGING_LEVEL")
    [container] = fetched(pod={"env": [{"name": name, "value": "x"} for name in names]})["initContainers"]
    assert [each["name"] for each in container["env"]] == ["HTTPS_PROXY", "no_proxy", "HF_ENDPOINT"]


@pytest.mark.parametrize(
    ("uri", "revision"),
    [
        ("hf://org/model", COMMIT),
        (f"oci://registry.example/model@sha256:{'0' * 64}", ""),
        ("https://example.com/a.gguf#sha256=00", ""),
        ("mlflow://models:/llama/3", ""),
    ],
)
def test_the_folder_of_files_that_never_change_has_one_name(uri: str, revision: str) -> None:
    assert not KEY.search(key(uri, revision=revision))


@pytest.mark.parametrize(
    ("uri", "revision"),
    [
        ("hf://org/model", "main"),
        ("hf://org/model", ""),
        ("oci://registry.example/m:1", ""),
        ("s3://b/m", ""),
        ("https://example.com/a.gguf", ""),
        ("mlflow://models:/llama@champion", ""),
    ],
)
def test_files_that_may_change_are_fetched_again_after_a_restart(uri: str, revision: str) -> None:
    before = {"spec": {"predictor": fetched(model={"uri": uri, **({"revision": revision} if revision else {})})}}
    after = resolved_at(before, "2026-11-30T12:00:00Z")
    folders = [mounts(each["spec"]["predictor"])["/mnt/models"]["subPath"] for each in (before, after)]
    assert folders[0] != folders[1]
    assert after["spec"]["predictor"]["initContainers"][0]["args"][1] == f"/mnt/weights/{folders[1]}"
    assert resolved_at(after, None) == before


@pytest.mark.parametrize(
    "model", [{"files": ["*.gguf"]}, {"endpoint": "https://a.example"}, {"uri": "mlflow://models:/a/1"}]
)
def test_what_only_the_fetcher_can_do_is_refused_without_it(model: dict[str, Any]) -> None:
    wanted = on_h100(model={"uri": "hf://org/model"} | model)
    answer = rendered(wanted, plan(wanted), serving_runtime=runtime("slipway-vllm-cuda"))
    assert isinstance(answer, Unrenderable)
    assert "set fetcher.enabled in the chart's values" in answer.message
