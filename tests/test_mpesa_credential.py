"""The initiator's credential: only who has the certificate's key can read the password in it."""

from __future__ import annotations

import base64
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from utils.mpesa_credential import Certificate, credential_from_file, describe_certificate, security_credential

ENDS = datetime(2027, 5, 4, 12, 0, tzinfo=timezone.utc)
KEY = rsa.generate_private_key(65537, 2048)


def certificate(key: Any = KEY) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "apicrypt.safaricom.co.ke")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(ENDS - timedelta(days=700)).not_valid_after(ENDS)
    return builder.sign(key, hashes.SHA256())


PEM, DER = (certificate().public_bytes(encoding) for encoding in (Encoding.PEM, Encoding.DER))
AS_FILES = {
    "pem": PEM,
    "der": DER,
    "windows": PEM.replace(b"\n", b"\r\n"),
    "with words before it": b"subject=CN = apicrypt\n\n" + PEM,
    "with a mark before it": b"\xef\xbb\xbf" + PEM,
}


def read(credential: str) -> str:
    return KEY.decrypt(base64.b64decode(credential, validate=True), padding.PKCS1v15()).decode()


@pytest.mark.parametrize("file", AS_FILES.values(), ids=list(AS_FILES))
@pytest.mark.parametrize("password", ["Safaricom999!*!", "pässwörd", "x" * 245])  # as much as 2,048 bits hold
def test_the_key_of_the_certificate_reads_the_password(file: bytes, password: str) -> None:
    assert read(security_credential(password, file)) == password


def test_two_credentials_of_one_password_differ() -> None:
    one, other = (security_credential("Safaricom999!*!", PEM) for _ in range(2))
    assert one != other
    assert len(base64.b64decode(one)) == 256


@pytest.mark.parametrize("file", [PEM, DER], ids=["pem", "der"])
def test_a_certificate_is_described(file: bytes) -> None:
    assert describe_certificate(file) == Certificate("CN=apicrypt.safaricom.co.ke", ENDS, 2048)


WRONG = {
    "nothing": b"",
    "something else": b"\x00no certificate",
    "half of one": PEM[: len(PEM) // 2],
    "spoiled": PEM.replace(b"MII", b"!!!", 1),
    "another kind of key": certificate(ec.generate_private_key(ec.SECP256R1())).public_bytes(Encoding.PEM),
}


@pytest.mark.parametrize("file", WRONG.values(), ids=list(WRONG))
def test_what_is_no_certificate_with_an_rsa_key_is_a_value_error(file: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        security_credential("Safaricom999!*!", file)
    with pytest.raises(ValueError, match=r"."):
        describe_certificate(file)


def test_a_password_that_is_too_long_is_a_value_error() -> None:
    with pytest.raises(ValueError, match=r"."):
        security_credential("x" * 300, PEM)


def test_a_file_is_read_when_it_is_first_used_and_not_again(tmp_path: Path) -> None:
    path = tmp_path / "ProductionCertificate.cer"
    with pytest.raises(FileNotFoundError):
        credential_from_file("word", path)
    path.write_bytes(DER)
    assert read(credential_from_file("word", path)) == "word"
    path.unlink()
    assert read(credential_from_file("word", path)) == "word"
