"""lab.database: what a server outside the cluster is given, and where it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from lab import database, pki
from lab.settings import LabSettings


def test_its_address_has_what_an_address_may_not_have_in_words_of_its_own() -> None:
    server = database.Server(host="198.18.0.2", password="a/b@c", authority=Path("ca.pem"))
    assert server.url() == "postgresql://postgres:a%2Fb%40c@198.18.0.2:5432/postgres"
    assert server.url("db", "me", "x:y") == "postgresql://me:x%3Ay@198.18.0.2:5432/db"
    assert "a/b@c" not in repr(server)


def test_its_certificate_names_it_and_nobody_else_reads_its_key(
    lab: LabSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Path] = []
    monkeypatch.setattr(os, "chown", lambda path, *_: given.append(path))
    pki.create(lab)
    directory = lab.state / "database"
    database._prepare(lab, directory, "198.18.0.2")
    mounted = directory / "mounted"
    certificate = x509.load_pem_x509_certificate((mounted / "server.crt").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(it) for it in names.get_values_for_type(x509.IPAddress)] == ["198.18.0.2"]
    uses = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert ExtendedKeyUsageOID.SERVER_AUTH in uses
    certificate.verify_directly_issued_by(pki.authority(lab).certificate)
    assert {(mounted / it).stat().st_mode & 0o777 for it in ("server.key", "password")} == {0o600}
    assert set(given) == {mounted, *mounted.iterdir()}, "the server's account owns all of it"
    assert "host " not in (mounted / "pg_hba.conf").read_text(), "encrypted, or not at all"

    before = database.password_file(lab).read_text()
    database._prepare(lab, directory, "198.18.0.2")
    assert database.password_file(lab).read_text() == before, "its data have it"
