"""The private certificate authority of the Local EC2's TLS endpoints.

The authority lives in a directory that outlasts a run, because its certificate is part of the
helper image. The endpoint certificate is issued anew for each run and never leaves its directory.
"""

from __future__ import annotations

import datetime
import fcntl
import ipaddress
import os
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_CA_DAYS = 3650
_RENEW_BEFORE_DAYS = 30
_LEAF_DAYS = 7
_KEY_FORMAT = (
    serialization.Encoding.PEM,
    serialization.PrivateFormat.PKCS8,
    serialization.NoEncryption(),
)


@dataclass(frozen=True)
class Authority:
    """A certificate authority on disk. `certificate_path` is what clients have to trust."""

    certificate_path: Path
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def ensure_authority(directory: Path) -> Authority:
    """Load the authority from `directory`, or make one there.

    An authority that ends within a month is replaced. Two processes that start at once agree on
    one authority. The key file is readable by its owner only.
    """
    directory.mkdir(parents=True, exist_ok=True)
    certificate_path = directory / "ca.crt"
    key_path = directory / "ca.key"
    with open(directory / ".lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        authority = _load(certificate_path, key_path)
        return authority or _create(certificate_path, key_path)


def _load(certificate_path: Path, key_path: Path) -> Authority | None:
    try:
        certificate = x509.load_pem_x509_certificate(certificate_path.read_bytes())
        key = serialization.load_pem_private_key(key_path.read_bytes(), password=None)
    except (FileNotFoundError, ValueError):
        return None
    ends = certificate.not_valid_after_utc
    if ends < _now() + datetime.timedelta(days=_RENEW_BEFORE_DAYS):
        return None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        return None
    if key.public_key().public_numbers() != _public_numbers(certificate):
        return None
    return Authority(certificate_path, certificate, key)


def _public_numbers(certificate: x509.Certificate) -> object:
    public_key = certificate.public_key()
    return (
        public_key.public_numbers() if isinstance(public_key, ec.EllipticCurvePublicKey) else None
    )


def _create(certificate_path: Path, key_path: Path) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Local EC2 test authority")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_now() - datetime.timedelta(days=1))
        .not_valid_after(_now() + datetime.timedelta(days=_CA_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write(key_path, key.private_bytes(*_KEY_FORMAT), 0o600)
    _write(certificate_path, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    return Authority(certificate_path, certificate, key)


def server_context(authority: Authority, names: list[str], directory: Path) -> ssl.SSLContext:
    """A TLS server context whose fresh certificate is valid for `names` and for this host.

    `names` are DNS names (wildcards allowed). The certificate and key are written below
    `directory`, because the ssl module loads them from files only.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
    alternatives += [
        x509.DNSName("localhost"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    ]
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Local EC2 endpoints")])
    issuer_key_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_now() - datetime.timedelta(days=1))
        .not_valid_after(_now() + datetime.timedelta(days=_LEAF_DAYS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(issuer_key_id, critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    directory.mkdir(parents=True, exist_ok=True)
    certificate_path, key_path = directory / "endpoint.crt", directory / "endpoint.key"
    _write(certificate_path, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    _write(key_path, key.private_bytes(*_KEY_FORMAT), 0o600)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate_path, key_path)
    return context


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _write(path: Path, content: bytes, mode: int) -> None:
    temporary = path.with_name(path.name + ".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    os.replace(temporary, path)
