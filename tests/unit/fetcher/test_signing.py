"""Signatures of requests to S3, compared with those that AWS publishes for its own examples."""

from __future__ import annotations

from datetime import UTC, datetime

from slipway_fetcher.sources.aws import Keys, query_of, signed

KEYS = Keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
NOW = datetime(2013, 5, 24, tzinfo=UTC)
BUCKET = "https://examplebucket.s3.amazonaws.com"


def signature(url: str) -> str:
    headers = signed(KEYS, "GET", url, {}, region="us-east-1", service="s3", now=NOW)
    return headers["Authorization"].rpartition("Signature=")[2]


def test_the_signature_of_a_list_is_the_published_one() -> None:
    url = f"{BUCKET}/?{query_of({'max-keys': '2', 'prefix': 'J'})}"
    assert signature(url) == "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"


def test_the_signature_of_a_subresource_is_the_published_one() -> None:
    assert signature(f"{BUCKET}/?lifecycle") == "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"


def test_keys_are_in_no_representation() -> None:
    assert "EXAMPLE" not in repr(KEYS)
