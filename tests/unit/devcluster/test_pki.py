"""Certificates that Kubernetes, KServe and KEDA accept, and keys that only their owner may read."""

import ipaddress
import json
import stat
from base64 import b64decode
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from slipway_devcluster import pki


@pytest.fixture(scope="module")
def authority() -> pki.Authority:
    return pki.Authority("test")


def parsed(certificate: pki.Certificate) -> x509.Certificate:
    return x509.load_pem_x509_certificate(certificate.certificate)


def test_a_certificate_names_its_user_and_groups(authority: pki.Authority) -> None:
    subject = parsed(authority.issue("kubelet", organizations=["system:nodes"])).subject

    assert subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "kubelet"
    assert subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value == "system:nodes"


def test_hosts_may_be_names_or_addresses(authority: pki.Authority) -> None:
    certificate = parsed(authority.issue("api", hosts=["kubernetes.default.svc", "198.51.100.2"]))
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value

    assert names.get_values_for_type(x509.DNSName) == ["kubernetes.default.svc"]
    assert names.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address("198.51.100.2")]


def test_one_certificate_is_for_servers_and_clients_because_keda_uses_it_for_both(authority: pki.Authority) -> None:
    certificate = parsed(authority.issue("keda", hosts=["keda-operator.keda.svc"]))
    uses = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value

    assert set(uses) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}


def test_a_certificate_is_verified_only_by_its_own_authority(authority: pki.Authority) -> None:
    certificate = parsed(authority.issue("somebody"))

    certificate.verify_directly_issued_by(parsed(authority.own))
    with pytest.raises(ValueError, match=r"[Ii]ssuer"):
        certificate.verify_directly_issued_by(parsed(pki.Authority("another").own))


def test_keys_are_readable_only_by_their_owner(authority: pki.Authority, tmp_path: Path) -> None:
    authority.issue("somebody").write(tmp_path, "somebody")

    assert stat.S_IMODE((tmp_path / "somebody.key").stat().st_mode) == 0o600


def test_a_kubeconfig_contains_everything_that_a_client_needs(authority: pki.Authority) -> None:
    client = authority.issue("admin")

    text = pki.kubeconfig(
        server="https://127.0.0.1:1", cluster="c", user="admin", authority=authority.own.certificate, client=client
    )

    config = json.loads(text)
    assert config["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:1"
    assert b64decode(config["users"][0]["user"]["client-key-data"]) == client.key
    assert config["current-context"] == config["contexts"][0]["name"]
