"""tests.e2e.traffic: where requests go that come in from outside, and that none goes elsewhere."""

from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path

import pytest

from lab import pki
from lab.settings import BENCHMARK_RANGE, Addresses, LabSettings
from tests.e2e.traffic import Entrance, _streams, require_inside, traffic

PLAIN = Entrance(host="api.aegis.test", address="198.19.0.20")


@pytest.fixture
def encrypted(tmp_path: Path) -> Entrance:
    """A way in with a certificate of the lab's authority."""
    addresses = Addresses(network=IPv4Network(BENCHMARK_RANGE))
    state = tmp_path / "state"
    lab = LabSettings(checkout=tmp_path, cache=tmp_path, state=state, addresses=addresses)
    lab.state.mkdir()
    pki.create(lab)
    return Entrance("api.aegis.test", "198.19.0.20", pki.authority_file(lab))


def test_vegeta_is_told_where_a_host_is(encrypted: Entrance) -> None:
    assert PLAIN.url == "http://api.aegis.test"
    assert PLAIN.flags() == ["-connect-to", "api.aegis.test:80:198.19.0.20:80"]
    assert encrypted.url == "https://api.aegis.test"
    assert "api.aegis.test:443:198.19.0.20:443" in encrypted.flags()
    assert encrypted.flags()[-2:] == ["-root-certs", str(encrypted.authority)]


def test_the_strict_client_asks_there_for_the_host_by_name(encrypted: Entrance) -> None:
    with encrypted.client() as client:
        request = client.build_request("GET", f"{encrypted.url}/version")
        for hook in client.event_hooks["request"]:
            hook(request)
    assert str(request.url) == "https://198.19.0.20/version"
    assert request.headers["Host"] == "api.aegis.test"
    assert request.extensions["sni_hostname"] == "api.aegis.test"


def test_http2_is_asked_for_where_it_is_encrypted_alone(encrypted: Entrance) -> None:
    def named(entrance: Entrance | None) -> dict[str, tuple[str, ...]]:
        root = "http://198.19.0.1" if entrance is None else entrance.url
        return {it.name: it.flags for it in _streams(root, entrance, 60, slow=True)}

    assert set(named(None)) == set(named(PLAIN)) == {"new", "kept", "slow"}
    flags = named(encrypted)
    assert set(flags) == {"new", "kept", "http2", "slow"}
    assert [name for name, told in flags.items() if "-http2=true" in told] == ["http2"]
    assert all("-connect-to" in told for told in flags.values())


@pytest.mark.parametrize("url", ["http://192.0.2.1", "http://127.0.0.1:80", "https://10.0.0.1"])
def test_no_load_goes_outside_the_lab(url: str) -> None:
    with pytest.raises(AssertionError, match="is not the lab's"):
        require_inside(url)
    outside = Entrance(host="api.aegis.test", address=url.split("/")[2].partition(":")[0])
    with pytest.raises(AssertionError, match="is not the lab's"), traffic(outside):
        pytest.fail("it was sent")
