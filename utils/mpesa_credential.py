"""The SecurityCredential of Daraja's initiator: its password, encrypted for Safaricom.

From Safaricom's portal ("Security credentials"): RSA with PKCS#1 v1.5 padding and the key of Safaricom's X.509
certificate, then base64. Sandbox and production have different certificates.
"""

from __future__ import annotations

import base64
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding, rsa


class Certificate(NamedTuple):
    """What a person wants to know of a certificate."""

    subject: str
    not_after: datetime
    key_bits: int


def security_credential(password: str, certificate: bytes) -> str:
    """The credential for an initiator's password; `certificate` is PEM or DER. Raises ValueError."""
    encrypted = _key(_load(certificate)).encrypt(password.encode(), padding.PKCS1v15())
    return base64.b64encode(encrypted).decode()


def credential_from_file(password: str, path: Path) -> str:
    """The same with the certificate of a file, read once. Raises OSError, ValueError."""
    return security_credential(password, _read(path))


def describe_certificate(certificate: bytes) -> Certificate:
    """Raises ValueError for what is no certificate with an RSA key."""
    loaded = _load(certificate)
    return Certificate(loaded.subject.rfc4514_string(), loaded.not_valid_after_utc, _key(loaded).key_size)


@lru_cache(maxsize=4)
def _read(path: Path) -> bytes:
    return path.read_bytes()


def _load(certificate: bytes) -> x509.Certificate:
    if b"-----BEGIN CERTIFICATE-----" in certificate:
        return x509.load_pem_x509_certificate(certificate)
    return x509.load_der_x509_certificate(certificate)


def _key(certificate: x509.Certificate) -> rsa.RSAPublicKey:
    key = certificate.public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        raise ValueError("The certificate's key is not RSA.")
    return key
