"""The cluster's keys: who they name, that they verify, who may read them."""

from __future__ import annotations

import base64
import datetime
import stat
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lab import pki
from lab.settings import Addresses, LabSettings


def certificate(lab: LabSettings, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((pki.directory(lab) / name).read_bytes())


def kubeconfig(lab: LabSettings, client: str) -> dict[str, Any]:
    loaded = yaml.safe_load(pki.kubeconfig(lab, client).read_text())
    assert isinstance(loaded, dict)
    return loaded


def client_certificate(lab: LabSettings, client: str) -> x509.Certificate:
    user = kubeconfig(lab, client)["users"][0]["user"]
    return x509.load_pem_x509_certificate(base64.b64decode(user["client-certificate-data"]))


def contents(lab: LabSettings) -> dict[Path, bytes]:
    files = [lab.kubeconfig, *pki.directory(lab).iterdir()]
    return {path: path.read_bytes() for path in files}


@pytest.fixture
def keys(lab: LabSettings) -> LabSettings:
    """A lab whose keys were made."""
    pki.create(lab)
    return lab


class TestCertificates:
    """Each verifies against the lab's own authority."""

    @pytest.mark.parametrize(
        "name", ["apiserver.crt", "kubelet-client.crt", "service-accounts.crt"]
    )
    def test_are_signed_by_the_authority(self, keys: LabSettings, name: str) -> None:
        certificate(keys, name).verify_directly_issued_by(certificate(keys, "ca.crt"))

    @pytest.mark.parametrize("name", ["ca", "apiserver", "kubelet-client", "service-accounts"])
    def test_belong_to_the_key_beside_them(self, keys: LabSettings, name: str) -> None:
        key = serialization.load_pem_private_key(
            (pki.directory(keys) / f"{name}.key").read_bytes(), password=None
        )
        assert certificate(keys, f"{name}.crt").public_key() == key.public_key()

    def test_only_the_authority_may_sign(self, keys: LabSettings) -> None:
        def is_authority(found: x509.Certificate) -> bool:
            return found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca

        assert is_authority(certificate(keys, "ca.crt"))
        assert not is_authority(certificate(keys, "apiserver.crt"))
        assert not any(is_authority(client_certificate(keys, name)) for name in pki.CLIENTS)

    def test_hold_although_the_clock_is_somewhat_wrong(self, keys: LabSettings) -> None:
        now = datetime.datetime.now(datetime.UTC)
        found = certificate(keys, "apiserver.crt")
        assert found.not_valid_before_utc < now - datetime.timedelta(hours=23)
        assert found.not_valid_after_utc > now + datetime.timedelta(days=3000)


class TestServer:
    """The API server is known by every name under which it is called."""

    def test_has_its_names_and_addresses(self, keys: LabSettings) -> None:
        found = certificate(keys, "apiserver.crt").extensions
        names = found.get_extension_for_class(x509.SubjectAlternativeName).value
        assert "kubernetes.default.svc" in names.get_values_for_type(x509.DNSName)
        assert set(names.get_values_for_type(x509.IPAddress)) == {
            *(IPv4Address("198.18.0.2"), IPv4Address("198.19.0.1"), IPv4Address("127.0.0.1"))
        }

    def test_serves_and_does_nothing_else(self, keys: LabSettings) -> None:
        found = certificate(keys, "apiserver.crt").extensions
        uses = found.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert list(uses) == [ExtendedKeyUsageOID.SERVER_AUTH]


class TestClients:
    """Who talks to the API server is who Kubernetes expects."""

    @pytest.mark.parametrize(
        ("client", "name", "group"),
        [
            ("admin", "aegis-lab-admin", "system:masters"),
            ("controller-manager", "system:kube-controller-manager", None),
            ("scheduler", "system:kube-scheduler", None),
            ("kubelet", "system:node:aegis-lab", "system:nodes"),
            ("proxy", "system:kube-proxy", None),
        ],
    )
    def test_have_the_names_of_their_roles(
        self, keys: LabSettings, client: str, name: str, group: str | None
    ) -> None:
        found = client_certificate(keys, client)
        found.verify_directly_issued_by(certificate(keys, "ca.crt"))
        names = found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        groups = found.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
        assert [entry.value for entry in names] == [name]
        assert [entry.value for entry in groups] == ([group] if group else [])
        uses = found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert list(uses) == [ExtendedKeyUsageOID.CLIENT_AUTH]

    def test_reach_the_server_and_trust_the_authority(self, keys: LabSettings) -> None:
        cluster = kubeconfig(keys, "admin")["clusters"][0]["cluster"]
        assert cluster["server"] == "https://198.18.0.2:6443"
        authority = base64.b64decode(cluster["certificate-authority-data"])
        assert authority == (pki.directory(keys) / "ca.crt").read_bytes()


class TestFiles:
    """Nobody but their owner reads keys; a run that was cut off starts over."""

    def test_are_readable_by_their_owner_alone(self, keys: LabSettings) -> None:
        assert stat.S_IMODE(pki.directory(keys).stat().st_mode) == 0o700
        files = [p for p in contents(keys) if not p.name.startswith("complete-")]
        assert len(files) == 8 + len(pki.CLIENTS)
        assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}

    def test_are_made_once(self, keys: LabSettings) -> None:
        before = contents(keys)
        pki.create(keys)
        assert contents(keys) == before

    def test_a_client_that_an_older_checkout_did_not_know_gets_its_own(
        self, keys: LabSettings
    ) -> None:
        before = contents(keys)
        pki.kubeconfig(keys, "storage").unlink()
        pki.create(keys)
        after = contents(keys)
        changed = {path.name for path in after if after[path] != before[path]}
        assert changed == {"storage.conf"}
        added = client_certificate(keys, "storage")
        added.verify_directly_issued_by(certificate(keys, "ca.crt"))

    def test_of_an_interrupted_run_are_made_anew(
        self, lab: LabSettings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write, seen = pki._write, list[str]()

        def breaking(path: Path, content: bytes) -> None:
            seen.append(path.name)
            if path.name == "scheduler.conf":
                raise OSError(28, "No space left on device")
            write(path, content)

        monkeypatch.setattr(pki, "_write", breaking)
        with pytest.raises(OSError, match="No space"):
            pki.create(lab)
        half = (pki.directory(lab) / "ca.crt").read_bytes()
        monkeypatch.setattr(pki, "_write", write)
        pki.create(lab)
        assert (pki.directory(lab) / "ca.crt").read_bytes() != half
        for client in pki.CLIENTS:
            client_certificate(lab, client).verify_directly_issued_by(certificate(lab, "ca.crt"))

    def test_follow_a_network_that_is_changed_and_changed_back(self, keys: LabSettings) -> None:
        moved = replace(keys, addresses=Addresses(network=IPv4Network("10.20.0.0/15")))
        for lab in (moved, keys):
            pki.create(lab)
            found = certificate(lab, "apiserver.crt").extensions
            names = found.get_extension_for_class(x509.SubjectAlternativeName).value
            assert lab.addresses.node in names.get_values_for_type(x509.IPAddress)
            assert len(list(pki.directory(lab).glob("complete-*"))) == 1
