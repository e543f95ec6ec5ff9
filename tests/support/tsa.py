"""A time-stamp authority on loopback: `openssl ts` behind HTTP (RFC 3161, 3.4)."""

from __future__ import annotations

import subprocess
import tempfile
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType
    from typing import Self

_CONFIG = """
[tsa]
default_tsa = here
[here]
serial = serial
signer_cert = tsa.pem
signer_key = key.pem
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
ess_cert_id_alg = sha256
"""


class Authority:
    """Answers on `url` with time-stamps that lead to `root`; a context manager.

    `spoil` may change an answer on its way out.
    """

    def __init__(self, folder: Path) -> None:
        """Keep certificates and the serial number in `folder`."""
        self._folder = folder
        self.root: bytes = _certificates(folder)
        (folder / "tsa.cnf").write_text(_CONFIG)
        (folder / "serial").write_text("01\n")
        self.spoil: Callable[[bytes], bytes] = lambda answer: answer
        self.asked = 0
        self.redirect: str | None = None
        self._turn = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                question = self.rfile.read(int(self.headers["Content-Length"]))
                answer = outer.spoil(outer.answer(question))
                self.send_response(200 if outer.redirect is None else 302)
                if outer.redirect is not None:
                    self.send_header("Location", outer.redirect)
                self.send_header("Content-Type", "application/timestamp-reply")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            @override
            def log_message(self, *args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def answer(self, question: bytes) -> bytes:
        """Return what openssl makes of the question."""
        with self._turn, tempfile.NamedTemporaryFile(dir=self._folder) as file:
            self.asked += 1
            file.write(question)
            file.flush()
            return subprocess.run(
                ["openssl", "ts", "-reply", "-config", "tsa.cnf", "-queryfile", file.name],
                cwd=self._folder,
                check=True,
                capture_output=True,
            ).stdout

    def __enter__(self) -> Self:
        """Answer from now on."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _certificates(folder: Path) -> bytes:
    """A root, and a certificate for time-stamping under it; returns the root in PEM."""
    root_key, key = (
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP256R1()),
    )
    root_name, name = (
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, each)]) for each in ("root", "tsa")
    )
    root = _certificate(
        root_name,
        root_name,
        root_key,
        root_key,
        ((x509.BasicConstraints(ca=True, path_length=None), True),),
    )
    made = _certificate(
        name,
        root_name,
        key,
        root_key,
        (
            (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), True),
            (x509.BasicConstraints(ca=False, path_length=None), True),
        ),
    )
    pem = serialization.Encoding.PEM
    (folder / "tsa.pem").write_bytes(made.public_bytes(pem))
    (folder / "root.pem").write_bytes(root.public_bytes(pem))
    (folder / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return root.public_bytes(pem)


def _certificate(
    name: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer_key: ec.EllipticCurvePrivateKey,
    extensions: tuple[tuple[x509.ExtensionType, bool], ...],
) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(issuer_key, hashes.SHA256())
