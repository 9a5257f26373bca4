"""The cache of Secrets with API keys: it is bounded, whichever clients send which keys for which Secrets."""

from __future__ import annotations

from slipway.activator.proxy.access.api_key_cache import (
    CLIENTS,
    MOST,
    PROVEN,
    WRONG_BURST,
    ApiKeyCache,
    SecretKeys,
    SecretRef,
)

SECRET = SecretRef("chat", "keys")


def fill(ring: ApiKeyCache, ref: SecretRef, *, keys: int = 2000) -> SecretKeys:
    cached = ring.of(ref)
    cached.owners = {b"%d" % number: "owner" for number in range(keys)}
    ring.weigh(ref, cached)
    return cached


def test_a_cached_secret_is_found_the_next_time() -> None:
    ring = ApiKeyCache()
    assert fill(ring, SECRET) is ring.of(SECRET)


def test_however_many_secrets_a_tenant_has_the_cache_is_bounded_and_others_stay() -> None:
    ring = ApiKeyCache()
    honest = [fill(ring, SecretRef(f"team-{number}", "keys"), keys=100) for number in range(50)]
    for number in range(200):
        fill(ring, SecretRef("evil", f"keys-{number}"))
        assert ring.weight <= MOST
    for number in range(2 * MOST // 16):
        ring.of(SecretRef("evil", f"gone-{number}"))
    assert ring.weight <= MOST
    assert [ring.of(SecretRef(f"team-{number}", "keys")) for number in range(50)] == honest


def test_a_tenant_evicts_its_own_least_recently_used_secret() -> None:
    ring = ApiKeyCache()
    first, second = fill(ring, SecretRef("evil", "first")), fill(ring, SecretRef("evil", "second"))
    for number in range(MOST // 2000 - 1):
        ring.of(SecretRef("evil", "first"))
        fill(ring, SecretRef("evil", f"keys-{number}"))
    assert ring.of(SecretRef("evil", "first")) is first
    assert ring.of(SecretRef("evil", "second")) is not second


def test_a_secret_evicted_while_it_was_read_is_not_counted() -> None:
    ring = ApiKeyCache()
    evicted = ring.of(SecretRef("evil", "gone"))
    for number in range(2 * MOST // 2000):
        fill(ring, SecretRef("evil", f"keys-{number}"))
    before = ring.weight
    evicted.owners = {b"%d" % number: "owner" for number in range(2000)}
    ring.weigh(SecretRef("evil", "gone"), evicted)
    assert ring.weight == before


def test_clients_and_keys_remembered_per_secret_are_bounded() -> None:
    ring = ApiKeyCache()
    cached = ring.of(SECRET)
    for number in range(3 * PROVEN):
        cached.was_wrong(f"client-{number}", b"wrong", 0.0)
        cached.was_valid(f"client-{number}", b"valid")
    ring.weigh(SECRET, cached)
    assert ring.weight == 16 + CLIENTS + PROVEN


def test_a_client_that_failed_too_often_waits_except_with_a_key_that_was_valid() -> None:
    cached = SecretKeys()
    cached.was_valid("client", b"valid")
    for _ in range(WRONG_BURST):
        assert cached.wait("client", b"other", 0.0) == 0
        cached.was_wrong("client", b"wrong", 0.0)
    assert cached.wait("client", b"other", 0.0) > 0
    assert cached.wait("client", b"valid", 0.0) == 0
    cached.was_wrong("client", b"valid", 0.0)
    assert cached.wait("client", b"valid", 0.0) > 0
