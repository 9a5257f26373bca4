"""Messages of pods are reported without the credentials in them, and otherwise unchanged."""

from __future__ import annotations

import pytest
from slipway.observing import words
from slipway.observing.causes import main_cause
from slipway.observing.redacting import MARK, redacted
from support.builders.observed import container, ended, event, pod, snapshot

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl"

SECRETS = [
    # the text, the credential in it, the redacted text
    ("GET https://me:hunter2@host/m.gguf", "hunter2", f"GET https://{MARK}@host/m.gguf"),
    ("https://me:p@ss@host/m", "p@ss", f"https://{MARK}@host/m"),
    ("https://ghp_0123456789abcdef@github.com/a", "ghp_0123456789abcdef", f"https://{MARK}@github.com/a"),
    (
        "403 for url: https://b.s3.amazonaws.com/k?X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F2026&X-Amz-Signature=0af3e9",
        "0af3e9",
        f"403 for url: https://b.s3.amazonaws.com/k?X-Amz-Credential={MARK}&X-Amz-Signature={MARK}",
    ),
    ("https://a.blob.core.windows.net/c/m?sv=2024&sig=a%2Bb%3D", "a%2Bb%3D", None),
    ("https://x/m?token=abc.", "abc", f"https://x/m?token={MARK}."),
    ("see https://x/cb#access_token=abc", "abc", f"see https://x/cb#access_token={MARK}"),
    ("GET /b/k?X-Amz-Signature=0af3e9 HTTP/1.1", "0af3e9", f"GET /b/k?X-Amz-Signature={MARK} HTTP/1.1"),
    ("Invalid token hf_abcdefGHIJ0123", "hf_abcdefGHIJ0123", f"Invalid token {MARK}"),
    ("Incorrect API key provided: sk-proj-abc_DEF-0123", "sk-proj-abc_DEF-0123", None),
    ("bad credentials gho_0123456789", "gho_0123456789", None),
    ("github_pat_11ABCDEFG0123", "github_pat_11ABCDEFG0123", MARK),
    ("slack said xoxb-12345-67890-abc", "xoxb-12345-67890-abc", f"slack said {MARK}"),
    ("The AWS Access Key Id AKIAIOSFODNN7EXAMPLE isn't valid", "AKIAIOSFODNN7EXAMPLE", None),
    ("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG", "wJalrXUtnFEMI", f"AWS_SECRET_ACCESS_KEY={MARK}"),
    ("AWS_SESSION_TOKEN: IQoJb3JpZ2luX2VjEJ7", "IQoJb3JpZ2luX2VjEJ7", f"AWS_SESSION_TOKEN: {MARK}"),
    ("Authorization: Bearer abcdef.ghi", "abcdef", f"Authorization: Bearer {MARK}"),
    ("authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz", f"authorization: Basic {MARK}"),
    ("{'Authorization': 'secret words'}", "secret words", f"{{'Authorization': {MARK}}}"),
    ("X-Api-Key: 12345", "12345", f"X-Api-Key: {MARK}"),
    ('{"password": "two words", "user": "a"}', "two words", f'{{"password": {MARK}, "user": "a"}}'),
    (r'{"config": "{\"password\": \"two words\", \"user\": 1}"}', "two words", None),
    (r"{\"token\": \"abc\"}", "abc", rf"{{\"token\": {MARK}}}"),
    (r'password: "a\"bcdef" was wrong', "bcdef", f"password: {MARK} was wrong"),
    (r'{"password": "ab\\", "user": "a"}', "ab", f'{{"password": {MARK}, "user": "a"}}'),
    (r'{"x":"{\"token\": \"ab\\\"cdefgh\"}"}', "cdefgh", rf'{{"x":"{{\"token\": {MARK}}}"}}'),
    (r'{"x":"{\"password\": \"ab\", \"b\": 1}"}', "ab", rf'{{"x":"{{\"password\": {MARK}, \"b\": 1}}"}}'),
    (r"{'password': 'a\'bcdef', 'b': 1}", "bcdef", f"{{'password': {MARK}, 'b': 1}}"),
    (r'password: "abc\"defgh', "defgh", f"password: {MARK}"),
    (r'{"x":"{\"password\": \"ab\ncdef', "cdef", rf'{{"x":"{{\"password\": {MARK}'),
    ('password: "abc\\', "abc", f"password: {MARK}"),
    ("password=pa55, user=a", "pa55", f"password={MARK}, user=a"),
    ("passwd: pa55 was wrong", "pa55", f"passwd: {MARK} was wrong"),
    (f"token={'QUJD' * 12}==", "QUJD", f"token={MARK}"),
    ("AccountKey=abc123==;EndpointSuffix=core.windows.net", "abc123", None),
    ("unrecognized arguments: --api-key my-own --tensor 2", "my-own", None),
    ("--hf-token=abc", "abc", f"--hf-token={MARK}"),
    (f"jwt {JWT} has expired", JWT, f"jwt {MARK} has expired"),
    ("-----BEGIN RSA PRIVATE KEY----- MIIE abc", "MIIE", MARK),
    ("nvapi-AbCd_efgh-0123 was refused", "nvapi-AbCd_efgh-0123", f"{MARK} was refused"),
]


@pytest.mark.parametrize(("text", "secret", "left"), SECRETS, ids=[text[:30] for text, *_ in SECRETS])
def test_a_credential_is_redacted(text: str, secret: str, left: str | None) -> None:
    redacted_text = redacted(text)
    assert secret not in redacted_text
    assert MARK in redacted_text
    if left is not None:
        assert redacted_text == left


@pytest.mark.parametrize("text", [text for text, *_ in SECRETS])
def test_redacted_text_is_unchanged_by_redacting_it_again(text: str) -> None:
    assert redacted(redacted(text)) == redacted(text)


@pytest.mark.parametrize(
    "text",
    [
        "ValueError: To serve at least one request with the model's max seq len (131072), 16.0 GiB KV cache is needed",
        "max_num_batched_tokens=2048, max_tokens: 4096 and prompt_tokens: 12",
        "Unknown token: <s>",
        "error: unrecognized arguments: --tokenizer-mode slow --nope",
        'Failed to pull image "ghcr.io/a/b:1": rpc error: code = NotFound desc = failed to resolve reference',
        "image ghcr.io/a/b@sha256:3a7bd3e2360a3d29eea436fcfb7e44c735d117c42d1c1835420b6b9942dd4f1b",
        "configmap \"secret-things\" not found; secret 'llama-keys' not found",
        "RepositoryNotFoundError: 404 Client Error for url: https://huggingface.co/api/models/a/b",
        "Get https://localhost:1/v2/: dial tcp [::1]:1: connect: connection refused",
        "CUDA out of memory. Tried to allocate 2.00 GiB (GPU 0; 79.15 GiB total capacity)",
        "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
    ],
)
def test_text_without_a_credential_is_unchanged(text: str) -> None:
    assert redacted(text) == text


@pytest.mark.parametrize(
    "text_part",
    [
        *("a", "://", "token=", "=", "?a=", "-", "eyJ", "eyJ-", "sig=x!", "--", "password:", '"'),
        *('token="', r"token=\"", r'token="\"', r"token='\'", r"token=\"\\\"\x", "\\"),
    ],
)
def test_redacting_takes_linear_time(text_part: str) -> None:
    """As long as a termination message can be, full of what a rule searches for; a slow rule would time out."""
    assert len(redacted(text_part * (12_000 // len(text_part)))) > 0


# --- everywhere such messages are used -------------------------------------------------------------------------------

SIGNED = "https://store/m?X-Amz-Signature=0af3e9"


@pytest.mark.parametrize(
    "failing",
    [
        pod(containerStatuses=[container(state=ended(f"403 Client Error for url: {SIGNED}"), restartCount=3)]),
        pod(containerStatuses=[container(state=ended(f"Segmentation fault after {SIGNED}"))]),
        pod(containerStatuses=[container(state={"waiting": {"reason": "ErrImagePull", "message": f"Get {SIGNED}"}})]),
        pod(containerStatuses=[container(state=ended(f'{{"reason": "ModelNotFound", "message": "no {SIGNED}"}}'))]),
    ],
    ids=["known words", "unknown words", "an image", "our runtime"],
)
def test_a_cause_is_reported_without_credentials(failing: object) -> None:
    assert isinstance(failing, dict)
    cause = main_cause(snapshot(failing))
    assert cause
    assert "store/m?X-Amz-Signature=" in cause.message
    assert "0af3e9" not in cause.message


def test_an_event_is_reported_without_credentials() -> None:
    silent = pod(containerStatuses=[container(started=True)])
    redacted_text = event(silent, "Unhealthy", f"Readiness probe failed: Get {SIGNED}")
    cause = main_cause(snapshot(silent, events=(redacted_text,)))
    assert cause is None or "0af3e9" not in cause.message


def test_half_of_a_credential_at_the_end_of_a_message_is_redacted_too() -> None:
    text = "x" * (words.LONGEST - 12) + " hf_abcdefGHIJ0123456789"
    assert "hf_ab" not in words.shorten(text)
