"""Something that begins to talk to a PostgreSQL client over TLS, with a certificate of a test's."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

REFUSAL = "there is no PostgreSQL here"
"""What whoever trusts the certificate is told."""
_REQUEST = 8
"""The length of what asks for TLS: https://www.postgresql.org/docs/current/protocol-flow.html."""
_SECONDS, _MOST = 30.0, 4096
_SAYS = b"SFATAL\0C57P03\0M%b\0\0" % REFUSAL.encode()
_ANSWER = b"E" + (4 + len(_SAYS)).to_bytes(4, "big") + _SAYS


class Authority:
    """A certificate authority; what it signs is in its directory."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, directory.name)])
        made = self._made(self._name, self._key, x509.BasicConstraints(ca=True, path_length=None))
        self.file = directory / "ca.pem"
        self.file.write_bytes(made)

    def issue(self, host: str) -> Path:
        """Sign a certificate for a host; return the file that has it and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        try:
            of: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
        except ValueError:
            of = x509.DNSName(host)
        path = self._directory / "server.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        certificate = self._made(x509.Name([]), key, x509.SubjectAlternativeName([of]))
        path.write_bytes(private + certificate)
        return path

    def _made(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, what: x509.ExtensionType
    ) -> bytes:
        now = datetime.datetime.now(datetime.UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            # A server's name may stand there alone, where the subject is empty.
            .add_extension(what, critical=True)
            .sign(self._key, hashes.SHA256())
        )
        return made.public_bytes(serialization.Encoding.PEM)


@contextmanager
def encrypting(certificate: Path) -> Iterator[int]:
    """Take connections on loopback until the block ends; yields the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                with connection, suppress(OSError):
                    connection.settimeout(_SECONDS)
                    connection.recv(_REQUEST)
                    connection.sendall(b"S")
                    with context.wrap_socket(connection, server_side=True) as trusted:
                        trusted.recv(_MOST)
                        trusted.sendall(_ANSWER)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        # Whoever waits in `accept` is not woken by a close alone.
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(_SECONDS)
