"""model.routes.certificates: whether a Secret's certificate is one to serve a host with."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from aegis_deploy.model.routes.certificates import judge
from tests.unit.aegis_deploy.certificates import NOW, pair, secret

HOST = "aegis.example.com"


def made(*hosts: str, days: float = 365, since: float = -1) -> dict[str, Any]:
    both = pair(hosts, begins=NOW + timedelta(days=since), ends=NOW + timedelta(days=days))
    return secret(*both)


@pytest.mark.parametrize("host", [HOST, "*.example.com", "AEGIS.example.com"])
def test_one_for_the_host_does(host: str) -> None:
    judged = judge(made("other.example.com", host), HOST, NOW)
    assert (judged.fault, judged.warning) == ("", "")


@pytest.mark.parametrize("host", ["other.example.com", "*.com", "*.ample.com"])
def test_one_for_another_host_does_not(host: str) -> None:
    fault = judge(made(host), HOST, NOW).fault
    assert fault == f"has a certificate for {host}, not for {HOST}"


def test_one_for_no_host_does_not() -> None:
    assert judge(made(), HOST, NOW).fault == f"has a certificate for no host, not for {HOST}"


def test_one_that_expired_does_not() -> None:
    judged = judge(made(HOST, days=-0.001, since=-9), HOST, NOW)
    assert judged.fault == "has a certificate that expired on 2026-03-01"


def test_one_that_is_not_valid_yet_does_not() -> None:
    assert judge(made(HOST, since=1), HOST, NOW).fault == (
        "has a certificate that is valid from 2026-03-02"
    )


@pytest.mark.parametrize(("days", "warned"), [(14, True), (14.1, False)])
def test_one_that_ends_soon_is_warned_of(days: float, warned: bool) -> None:
    judged = judge(made(HOST, days=days), HOST, NOW)
    assert not judged.fault
    assert judged.warning == ("has a certificate that expires on 2026-03-15" if warned else "")


def test_what_holds_none_does_not() -> None:
    certificate, key = pair([HOST])
    _, another = pair([HOST])
    found = {
        "is of type Opaque, and kubernetes.io/tls is needed": secret(certificate, key, "Opaque"),
        "has no tls.crt": secret(b"", key),
        "has no tls.key": secret(certificate, b""),
        "has a tls.crt that is no certificate in PEM": secret(b"x", key),
        "has a tls.key that is not the key of its tls.crt": secret(certificate, another),
    }
    assert {why: judge(it, HOST, NOW).fault for why, it in found.items()} == {
        why: why for why in found
    }
    assert judge(secret(certificate, b"x"), HOST, NOW).fault.startswith("has a tls.key")
