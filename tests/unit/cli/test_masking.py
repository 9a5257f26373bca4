"""A support bundle has no credential that a rule can know, and what a maintainer needs."""

from __future__ import annotations

import json
import random
import string
from typing import Any

import pytest
from slipway_cli.cluster.masking import ANNOTATIONS, ARGUMENTS, LONGEST_LINE, VARIABLES, Masker, is_random
from slipway_cli.visible import plain
from support.builders.objects import manifest

MARK = "***"
RANDOM = "q8Zt3LmX0vRb7KdY2wNs"
"""Of no known form, and without a name before it."""


def masked(thing: Any) -> str:
    return json.dumps(Masker().thing(thing))


def pod(**container: Any) -> dict[str, Any]:
    return manifest("v1", "Pod", "p", spec={"containers": [{"name": "c", **container}]})


# --- by their place --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        *("HF_TOKEN", "my-own", "VLLM_API_KEY", "DATABASE_URL", "OTEL_EXPORTER_OTLP_HEADERS"),
        *("GOOGLE_PW", "GOOGLE_SA_JSON", "HIPCHAT_PWD", "GOPHER", "PYTHON_APP", "SLIPWAYPW", "CUDAX", "POD_LABEL"),
        *("LLAMA_PSWD", "VLLM_PW", "VLLM_PW_2", "SLIPWAY_GITHUB_PAT", "TORCH_DSN", "KEDA_CONNECTION", "HIP_LOGIN"),
    ],
)
def test_the_value_of_an_environment_variable_is_masked(name: str) -> None:
    found = Masker()
    text = json.dumps(found.thing(pod(env=[{"name": name, "value": "correct horse"}])))
    assert "horse" not in text
    assert name in text
    assert found.found[VARIABLES] == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("VLLM_LOGGING_LEVEL", "DEBUG"),
        ("CUDA_VISIBLE_DEVICES", "0,1"),
        ("CUDA_DEVICE_MAX_CONNECTIONS", "8"),
        ("LLAMA_ARG_THREADS", "4"),
        ("TORCHINDUCTOR_CACHE_DIR", "/cache"),
        ("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True"),
        ("GOMEMLIMIT", "1GiB"),
        ("PYTHONPATH", "/opt"),
    ],
)
def test_settings_of_engines_are_kept(name: str, value: str) -> None:
    assert value in masked(pod(env=[{"name": name, "value": value}]))


def test_a_token_in_a_setting_of_an_engine_is_masked_by_its_form() -> None:
    assert RANDOM not in masked(pod(env=[{"name": "VLLM_LOGGING_LEVEL", "value": RANDOM}]))


def test_which_key_of_a_secret_is_used_is_kept() -> None:
    reference = {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "token"}}}
    assert Masker().thing(pod(env=[reference]))["spec"]["containers"][0]["env"] == [reference]
    assert "llama-keys" in masked({"spec": {"access": {"apiKeysSecret": "llama-keys"}}})


@pytest.mark.parametrize(
    "arguments",
    [
        ["--api-key", "one", "two", "--port", "8080"],
        ["--api-key=one", "--port", "8080"],
        ["--hf-token", "one", "--port", "8080"],
        ["--auth-key", "one", "--key", "two", "--port", "8080"],
        ["--pass", "one", "--db.pwd=two", "--port", "8080"],
        ["-H", "X-Mine: one", "--port", "8080"],
        ["--user", "me:one", "--port", "8080"],
        ["sh", "-c", "curl -u me:one https://host", "--port", "8080"],
        ["sh", "-c", "export HF_TOKEN=one; MY_PASS='one two' exec serve --port 8080"],
        ["pull", "me:one-more@registry.example.com/image", "--port", "8080"],
        ["serve", "--header=Cookie: a=one; b=two", "--port", "8080"],
        ["--default-chat-template-kwargs", '{\\"password\\": \\"one\\"}', "--port", "8080"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("key", ["args", "command", "extraArgs"])
def test_a_credential_among_arguments_is_masked_and_the_others_are_kept(arguments: list[str], key: str) -> None:
    found = masked({key: arguments})
    assert "one" not in found
    assert "two" not in found
    assert "8080" in found


def test_arguments_that_only_sound_like_credentials_are_kept() -> None:
    arguments = ["--max-num-batched-tokens", "2048", "--tokenizer", "org/model", "--served-model-name", "a-b"]
    arguments += ["--bypass", "x"]
    found = Masker()
    assert found.thing({"args": arguments})["args"] == arguments
    assert not found.found[ARGUMENTS]


def test_only_annotations_of_products_are_kept_and_no_copy_of_the_object() -> None:
    annotations = {
        "slipway.dev/paused": "true",
        "team.example.com/note": "correct horse",
        "slipway.dev/token": "correct horse",
        "kubectl.kubernetes.io/last-applied-configuration": '{"spec": "correct horse"}',
    }
    found = Masker()
    text = json.dumps(found.thing({"metadata": {"annotations": annotations, "managedFields": ["correct horse"]}}))
    assert "horse" not in text
    assert '"slipway.dev/paused": "true"' in text
    assert found.found[ANNOTATIONS] == 2


@pytest.mark.parametrize("headers", [{"X-Mine": "horse"}, [{"name": "X-Mine", "value": "horse"}]])
def test_headers_are_masked(headers: object) -> None:
    assert "horse" not in masked({"httpHeaders": headers, "headers": headers})


@pytest.mark.parametrize("key", ["password", "token", "apiKey", "client_secret", "sessionToken", "secret_access_key"])
def test_a_value_of_such_a_name_is_masked(key: str) -> None:
    assert "horse" not in masked({"spec": {key: "horse"}})


# --- by their form ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        f"https://me:{RANDOM}@host/m.gguf",
        f"https://me:with/slash{RANDOM}@host/m.gguf",
        f"https://store/m?X-Amz-Signature={RANDOM}",
        f"https://store/{RANDOM}/m.gguf",
        f"s3://{RANDOM}:other@bucket/m",
        f"cookie: session=1; other={RANDOM}",
        f"key is {RANDOM}",
        f"key is {RANDOM}-{RANDOM}_x",
        f"\x1b[31mhf_\x1b[0m{RANDOM}",
        f"hf_\u200b{RANDOM}",
        "0123456789abcdef0123456789abcdef is mine",
    ],
)
def test_it_is_masked_wherever_it_is(text: str) -> None:
    secret = RANDOM if RANDOM in text else "0123456789abcdef"
    everywhere = {"metadata": {"name": text, "labels": {text: text}}, "status": {"message": text}, text: [text]}
    assert secret not in masked(everywhere)
    assert secret not in Masker().log(f"{text}\n")


@pytest.mark.parametrize(
    "text",
    [
        "ghcr.io/a/b@sha256:3a7bd3e2360a3d29eea436fcfb7e44c735d117c42d1c1835420b6b9942dd4f1b",
        "containerd://3a7bd3e2360a3d29eea436fcfb7e44c735d117c42d1c1835420b6b9942dd4f1b",
        "hf://meta-llama/Meta-Llama-3-8B-Instruct-GPTQ-Int4 and Qwen/Qwen3-30B-A3B-Instruct-2507-FP8",
        "snapshots/0e9e39f249a16976918f6564b8830bc894c89659/config.json",
        "Name:SlipwayGpuOutOfMemory HorizontalPodAutoscaler KServeInferenceServiceNotReady",
        "6b1f5a90-54c2-4a1c-9d0e-0d4c5d9f4c11",
        "localhost:5000/image:tag@sha256:3a7bd3e2360a3d29eea436fcfb7e44c735d117c42d1c1835420b6b9942dd4f1b",
        "gemma-predictor-7c6d626efb-x2x4l",
        "Free memory on device (10.2/79.2 GiB) is less than desired GPU memory utilization (0.9, 71.3 GiB)",
    ],
)
def test_what_a_maintainer_needs_is_kept(text: str) -> None:
    assert Masker().text(text) == text
    assert Masker().log(text) == f"{text}\n"


def test_a_revision_is_kept_where_the_field_says_that_it_is_one() -> None:
    commit = "0e9e39f249a16976918f6564b8830bc894c89659"
    assert commit in masked({"revision": commit})
    assert commit not in masked({"note": commit})
    assert RANDOM not in masked({"revision": RANDOM})


def test_most_random_words_are_recognised() -> None:
    chance = random.Random(1)  # the same words in each run
    for letters, length, missed in (
        (string.ascii_letters + string.digits, 32, 0.02),
        (string.ascii_letters + string.digits + "-_", 43, 0.03),
        (string.ascii_lowercase + string.digits, 40, 0.03),
        (string.hexdigits[:16], 32, 0.0),
    ):
        words = ["".join(chance.choices(letters, k=length)) for _ in range(2000)]
        kept = [word for word in words if MARK not in Masker().text(f"x {word}")]
        assert len(kept) <= missed * len(words), (letters, len(kept))
    assert not is_random("inferenceservicesOfTheWholeCluster2")


# --- logs ------------------------------------------------------------------------------------------------------------


def test_a_private_key_of_several_lines_is_removed_and_the_log_goes_on() -> None:
    key = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nQ8Zt3L\n-----END RSA PRIVATE KEY-----"
    assert Masker().log(f"before\n{key}\nafter\n") == f"before\n{MARK}\nafter\n"
    endless = Masker().log(f"{key[:40]}\n" + "x\n" * 1000)
    assert len(endless.splitlines()) > 700  # a log that only starts one isn't hidden


def test_a_log_cannot_steer_a_terminal() -> None:
    """A title, a colour, a move of the cursor, a link, text that is written from right to left."""
    steering = "\x1b]0;owned\x07\x1b[31mred\x1b[2J\x1b]8;;https://x\x1b\\link\x9b1mbold\x08over\u202egnp.exe\x00"
    assert plain(steering) == "redlinkboldovergnp.exe"
    assert Masker().log(steering) == "redlinkboldovergnp.exe\n"


def test_half_of_a_key_at_the_end_of_a_long_line_is_masked() -> None:
    line = f"{'x ' * ((LONGEST_LINE - 10) // 2)} token={RANDOM}"
    found = Masker().log(line)
    assert RANDOM[:6] not in found
    assert len(found) < LONGEST_LINE + 100


@pytest.mark.parametrize(
    "part",
    ["://", "://a:", "eyJ-", "sig=x!", "aB3", "\x1b]", "-u a ", "cookie", "a:", "@", "A", "a.", "A_TOKEN", "a:bbbb@"],
)
def test_masking_takes_linear_time(part: str) -> None:
    """A slow rule would time out."""
    Masker().log("\n".join([part * (8000 // len(part))] * 40))
    Masker().text(part * (60_000 // len(part)))


def test_masking_twice_changes_nothing_more() -> None:
    once = Masker().thing(pod(env=[{"name": "A", "value": RANDOM}], args=["--api-key", "a", f"--x={RANDOM}"]))
    again = Masker()
    assert again.thing(once) == once
