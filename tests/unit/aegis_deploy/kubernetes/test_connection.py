"""How a cluster is connected to: without the official client where it has nothing to add."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.x509.oid import NameOID

from aegis_deploy.common import temp_dir
from aegis_deploy.common.errors import AegisError
from aegis_deploy.kubernetes import connection
from aegis_deploy.kubernetes.client import ApiError, connect
from lab import pki
from lab.settings import BENCHMARK_RANGE, Addresses, LabSettings

NAME = pki.CLIENTS["admin"][0]
TOKEN = "a-token"


class _Says(BaseHTTPRequestHandler):
    """Says who asks."""

    def do_GET(self) -> None:
        assert isinstance(self.connection, ssl.SSLSocket)
        certificate = self.connection.getpeercert(binary_form=True)
        name = certificate and x509.load_der_x509_certificate(certificate).subject
        names = name.get_attributes_for_oid(NameOID.COMMON_NAME) if name else []
        said = {
            "name": names[0].value if names else None,
            "token": self.headers.get("authorization"),
        }
        body = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@dataclass
class Server:
    """An API server with keys of its own.

    Attributes:
        address: Where it is.
        directory: Where its keys are.
        document: The kubeconfig of an administrator, with everything in it.
    """

    address: str
    directory: Path
    document: dict[str, Any]

    @property
    def place(self) -> dict[str, Any]:
        found: dict[str, Any] = self.document["clusters"][0]["cluster"]
        return found

    @property
    def user(self) -> dict[str, Any]:
        found: dict[str, Any] = self.document["users"][0]["user"]
        return found

    def asked(self) -> dict[str, Any]:
        """Ask it as the kubeconfig says."""
        return connect(kubeconfig=json.dumps(self.document)).get("/who")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> LabSettings:
    root = tmp_path_factory.mktemp("keys")
    lab = LabSettings(
        checkout=root,
        cache=root,
        state=root / "state",
        addresses=Addresses(network=IPv4Network(BENCHMARK_RANGE)),
    )
    lab.state.mkdir()
    pki.create(lab)
    return lab


@pytest.fixture
def server(keys: LabSettings, tmp_path: Path) -> Iterator[Server]:
    issued = pki.issue_server(keys, "api", ["127.0.0.1"])
    (tmp_path / "server.pem").write_bytes(issued.key_pem() + issued.certificate_pem())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    context.load_verify_locations(pki.directory(keys) / "ca.crt")
    context.verify_mode = ssl.CERT_OPTIONAL
    serving = HTTPServer(("127.0.0.1", 0), _Says)
    serving.socket = context.wrap_socket(serving.socket, server_side=True)
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    document = yaml.safe_load(keys.kubeconfig.read_text())
    made = Server(f"https://127.0.0.1:{serving.server_port}", tmp_path, document)
    made.place["server"] = made.address
    yield made
    serving.shutdown()
    serving.server_close()


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The official client, not to be had."""

    def missing(*_: object) -> None:
        raise ImportError("it is not installed")

    monkeypatch.setattr(connection, "_official", missing)


@pytest.fixture
def official(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """How often the official client was asked; it goes on as it does."""
    asked: list[str] = []
    really = connection._official

    def noting(*words: str | None) -> connection.Connection:
        asked.append("asked")
        return really(*words)

    monkeypatch.setattr(connection, "_official", noting)
    return asked


@pytest.mark.usefixtures("alone")
class TestPlain:
    """Certificates and tokens need no client."""

    def test_a_certificate_says_who_asks(self, server: Server) -> None:
        assert server.asked() == {"name": NAME, "token": None}

    def test_so_it_does_where_the_kubeconfig_names_files_beside_it(
        self, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for entry in (server.place, server.user):
            for key in [it for it in entry if it.endswith("-data")]:
                name = key.removesuffix("-data")
                (server.directory / name).write_bytes(base64.b64decode(entry.pop(key)))
                entry[name] = name
        (server.directory / "config").write_text(yaml.safe_dump(server.document))
        monkeypatch.setenv("KUBECONFIG", f"none:{server.directory / 'config'}")
        assert connect().get("/who")["name"] == NAME

    def test_a_token_goes_with_each_request(self, server: Server) -> None:
        server.user.clear()
        server.user["token"] = TOKEN
        assert server.asked() == {"name": None, "token": f"Bearer {TOKEN}"}

    def test_a_server_of_another_authority_is_not_believed(self, server: Server) -> None:
        del server.place["certificate-authority-data"]
        with pytest.raises(ApiError, match="CERTIFICATE_VERIFY_FAILED"):
            server.asked()

    def test_nor_is_one_of_another_name_unless_it_is_said(self, server: Server) -> None:
        server.place["tls-server-name"] = "api"
        with pytest.raises(ApiError, match="CERTIFICATE_VERIFY_FAILED"):
            server.asked()
        server.place["tls-server-name"] = "127.0.0.1"
        assert server.asked()["name"] == NAME

    @pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
    def test_one_that_need_not_be_believed_is_asked_all_the_same(self, server: Server) -> None:
        del server.place["certificate-authority-data"]
        server.place["insecure-skip-tls-verify"] = True
        assert server.asked()["name"] == NAME

    def test_no_key_is_left_behind(self, server: Server) -> None:
        server.asked()
        assert list(temp_dir.directory().iterdir()) == []


def _script(server: Server) -> None:
    """Have a program say the token, as clusters of clouds do."""
    answer = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": TOKEN},
    }
    server.user.clear()
    server.user["exec"] = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "echo",
        "args": [json.dumps(answer)],
        "interactiveMode": "Never",
    }


def _token_file(server: Server) -> None:
    (server.directory / "token").write_text(TOKEN)
    server.user.clear()
    server.user["tokenFile"] = str(server.directory / "token")


def _provider(server: Server) -> None:
    server.user.clear()
    server.user["token"] = TOKEN
    server.user["auth-provider"] = {"name": "another"}


class TestOfficial:
    """All else is the official client's."""

    @pytest.mark.parametrize("change", [_script, _token_file, _provider])
    def test_what_it_can_do_alone_it_does(
        self, server: Server, official: list[str], change: Callable[[Server], None]
    ) -> None:
        change(server)
        assert server.asked()["token"] == f"Bearer {TOKEN}"
        assert official

    def test_a_proxy_is_gone_through(
        self, server: Server, official: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
        with pytest.raises(ApiError, match="proxy"):
            server.asked()
        assert official

    @pytest.mark.parametrize("key", ["client-certificate", "certificate-authority"])
    def test_what_is_wrong_it_says(self, server: Server, official: list[str], key: str) -> None:
        for entry in (server.place, server.user):
            if entry.pop(f"{key}-data", None):
                entry[key] = str(server.directory / "none")
        with pytest.raises(AegisError, match="the cluster cannot be reached") as refused:
            server.asked()
        assert f"{server.directory / 'none'}" in refused.value.why
        assert official

    def test_a_context_that_is_not_there_is_named(self, server: Server) -> None:
        with pytest.raises(AegisError) as refused:
            connect(context="none", kubeconfig=json.dumps(server.document))
        assert "none" in refused.value.why
