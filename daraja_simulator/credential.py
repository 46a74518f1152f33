"""The key pair behind SecurityCredential: merchants encrypt their password for the certificate Safaricom publishes."""

from __future__ import annotations

import base64
import os
import secrets
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

KEY_BITS = 2048
VALID_DAYS = 3650


def key_in(folder: Path) -> rsa.RSAPrivateKey:
    """The key in `certificate.key`. It and `certificate.cer` are made if missing, whoever else does so just now."""
    folder.mkdir(parents=True, exist_ok=True)
    key_path, certificate_path = folder / "certificate.key", folder / "certificate.cer"
    if not key_path.exists():
        key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
        _write(key_path, _pem(key), mode=0o600, is_first=True)
    found = serialization.load_pem_private_key(key_path.read_bytes(), password=None)
    assert isinstance(found, rsa.RSAPrivateKey)
    if not certificate_path.exists() or not _is_for(certificate_path, found):
        _write(certificate_path, _certificate(found), mode=0o644, is_first=False)
    return found


def opens(credential: str, key: rsa.RSAPrivateKey, password: str) -> bool:
    """Whether a SecurityCredential is the password, encrypted for the certificate (portal: RSA, PKCS#1 v1.5)."""
    try:
        decrypted = key.decrypt(base64.b64decode(credential, validate=True), padding.PKCS1v15())
    except ValueError:
        return False
    return secrets.compare_digest(decrypted, password.encode())


def _write(path: Path, content: bytes, *, mode: int, is_first: bool) -> None:
    """Whole or not at all; `is_first` leaves alone what somebody else has written meanwhile."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if is_first:
            try:
                os.link(draft, path)
            except FileExistsError:
                return
        else:
            draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _is_for(path: Path, key: rsa.RSAPrivateKey) -> bool:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes()).public_key() == key.public_key()
    except ValueError:
        return False


def _pem(key: rsa.RSAPrivateKey) -> bytes:
    kind, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(kind, form, serialization.NoEncryption())


def _certificate(key: rsa.RSAPrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Daraja simulator")])
    now = datetime.now(timezone.utc)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    valid = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=VALID_DAYS))
    return valid.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
