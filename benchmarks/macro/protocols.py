"""What is spoken on both sides of a proxy, and the certificate that all of them show."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from benchmarks.macro.client import HEADERS

#: The host of every request, and the name in the certificate.
HOST = HEADERS["Host"]
#: For TLS 1.2, everywhere; TLS 1.3 gets its counterpart through :data:`_OPENSSL`.
CIPHER = "ECDHE-ECDSA-AES128-GCM-SHA256"

#: Clients offer one cipher, and X25519 before the P-256 that the certificate needs, so that all servers agree to the
#: same, whatever they prefer.
_OPENSSL = f"""\
openssl_conf = init
[init]
ssl_conf = modules
[modules]
system_default = everywhere
[everywhere]
CipherString = {CIPHER}
Ciphersuites = TLS_AES_128_GCM_SHA256
Groups = X25519:P-256
"""


@dataclass(frozen=True)
class Pair:
    """Certificate and key, as files in PEM."""

    cert: Path
    key: Path

    @property
    def together(self) -> Path:
        """Both in one file."""
        return self.cert.with_name("both.pem")

    @property
    def client_environ(self) -> dict[str, str]:
        """For programs with OpenSSL that make connections: what they offer."""
        return {"OPENSSL_CONF": str(self.cert.with_name("openssl.cnf"))}


@dataclass(frozen=True)
class Protocols:
    """What clients speak to a proxy, and what it speaks to the origin. The default: HTTP/1.1 without TLS on both sides.

    A proxy with TLS serves TLS 1.2 and 1.3, session tickets, and whichever HTTP the client asks for by ALPN.
    """

    http2: bool = False
    tls: Pair | None = None
    grpc: bool = False  # HTTP/2 without TLS to the origin, which answers as gRPC servers do

    @property
    def scheme(self) -> str:
        """Of its addresses."""
        return "https" if self.tls else "http"

    @property
    def plain(self) -> bool:
        """Whether clients speak HTTP/1.1 without TLS."""
        return not self.http2 and self.tls is None


#: HTTP/1.1 without TLS on both sides.
PLAIN = Protocols()


def make_pair(folder: Path) -> Pair:
    """A new certificate for :data:`HOST` with a P-256 key, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pair = Pair(folder / "server.pem", folder / "server.key")
    cert_pem = certificate.public_bytes(serialization.Encoding.PEM)
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pair.cert.write_bytes(cert_pem)
    pair.key.touch(0o600)
    pair.key.write_bytes(key_pem)
    pair.together.touch(0o600)
    pair.together.write_bytes(cert_pem + key_pem)
    Path(pair.client_environ["OPENSSL_CONF"]).write_text(_OPENSSL)
    return pair
