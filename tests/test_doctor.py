"""`flask mpesa doctor` and `flask mpesa register`: what they find, and that they tell no secret."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from flask import Flask
from sqlalchemy import text

from models import MpesaLine, TwoFactor
from services import doctor
from services.doctor import Grade
from tests.scripted_daraja import REGISTER_C2B, REGISTER_PULL, TOKEN, Reply, ScriptedDaraja, scripted_daraja
from tests.support import Maker, changed_settings
from utils import clock
from utils.database import transaction
from utils.mpesa import Answer
from utils.mpesa_setup import (
    Registration,
    c2b_addresses,
    read_c2b_registration,
    read_pull_registration,
    refused_words,
)

SECRET = "9f86d081884c7d659a2feaa0c55ad015"
PASSKEY = "bfb279f9aa9bdbcf158e97dd71a467cd2e0c893059b10f78e6b72ada1ed2c919"
PASSWORD = "a-password-of-the-initiator"


def certificate(
    path: Path, *, name: str = "apicrypt.safaricom.co.ke", days: int = 365, bits: int = 2048, is_rsa: bool = True
) -> Path:
    """Writes one that signs itself."""
    key: Any = rsa.generate_private_key(65537, bits) if is_rsa else ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    ends = clock.ahead(days=days)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(ends - timedelta(days=1000))
        .not_valid_after(ends)
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Settings of a production with which nothing is wrong."""
    return {
        "FLASK_ENV": "production",
        "MPESA_SHORTCODE": "600123",
        "MPESA_PASSKEY": PASSKEY,
        "MPESA_INITIATOR_NAME": "ticksyapi",
        "MPESA_INITIATOR_PASSWORD": PASSWORD,
        "MPESA_INITIATOR_PASSWORD_SET_ON": (clock.now() - timedelta(days=10)).date(),
        "MPESA_CERTIFICATE": certificate(tmp_path_factory.mktemp("doctor") / "ProductionCertificate.cer"),
        "MPESA_C2B_SECRET": SECRET,
        "MPESA_CALLBACK_ADDRESSES": ["196.201.214.200"],
        "TRUSTED_PROXIES": 1,
        "CALLBACK_URL": "https://api.ticksy.co.ke/api/payment/callback",
        "ALERT_URL": "https://alerts.example.co.ke/hook",
    }


@pytest.fixture
def daraja(app: Flask, make: Maker) -> Iterator[ScriptedDaraja]:
    """One that answers; beside it an admin with two-factor log-in, and a list that was pulled just now."""
    admin = make.admin()
    with app.app_context(), transaction() as session:
        session.add(TwoFactor(user_id=admin.id, sealed_secret=b"", confirmed_at=clock.now()))
        session.add(MpesaLine(id=1, pulled_until=clock.now()))
    with scripted_daraja(app) as daraja:
        yield daraja


def run(app: Flask, *command: str, **settings: Any) -> Result:
    with changed_settings(app, **settings):
        answer = app.test_cli_runner().invoke(args=["mpesa", *command])
    assert answer.exception is None or isinstance(answer.exception, SystemExit), answer.exception
    for secret in (SECRET, PASSKEY, PASSWORD, "simulator-consumer-secret"):
        assert secret not in answer.output
    return answer


def faults(app: Flask, grade: Grade = Grade.FAULT, **settings: Any) -> list[str]:
    with app.app_context(), changed_settings(app, **settings):
        return [finding.text for finding in doctor.examine() if finding.grade is grade]


# ── The doctor ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_good_configuration_has_no_fault(app: Flask, daraja: ScriptedDaraja, good: dict[str, Any]) -> None:
    answer = run(app, "doctor", **good)
    assert (answer.exit_code, answer.output.splitlines()[-1]) == (0, "No faults.")
    assert {line.split()[0] for line in answer.output.splitlines()[:-1]} == {"ok"}


def test_faults_are_told_in_words_and_end_with_1(app: Flask, daraja: ScriptedDaraja, good: dict[str, Any]) -> None:
    answer = run(app, "doctor", **good | {"TRUSTED_PROXIES": 0, "CALLBACK_URL": "http://Api.ticksy.co.ke/x"})
    assert answer.exit_code == 1
    assert "FAULT   CALLBACK_URL must be an https:// address." in answer.output.splitlines()
    assert "3 faults. Do not go live" in answer.output


def test_admins_with_a_password_alone_are_warned_of_where_people_are_real(
    app: Flask, daraja: ScriptedDaraja, good: dict[str, Any], make: Maker, caplog: pytest.LogCaptureFixture
) -> None:
    for count, told in ((1, "1 admin is"), (2, "2 admins are")):
        make.admin()
        assert any(told in text for text in faults(app, Grade.WARNING, **good)), count
    assert not any("two-factor" in text for text in faults(app, Grade.WARNING, **good | {"FLASK_ENV": "staging"}))
    with app.app_context():
        doctor.warn_of_admins()
        assert caplog.text == ""
        with changed_settings(app, **good):
            doctor.warn_of_admins()
    assert "2 admins are without two-factor log-in" in caplog.text


TODAY = clock.now().astimezone(clock.NAIROBI).date()


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"MPESA_SHORTCODE": "174379"}, "MPESA_SHORTCODE is the sandbox's"),
        ({"MPESA_SHORTCODE": "12"}, "five to seven digits"),
        ({"MPESA_PASSKEY": ""}, "MPESA_PASSKEY is missing"),
        ({"MPESA_TRANSACTION_TYPE": "CustomerBuyGoodsOnline"}, "MPESA_PARTY_B is the till"),
        ({"MPESA_PARTY_B": "999999"}, "For a Paybill"),
        ({"MPESA_INITIATOR_PASSWORD": ""}, "MPESA_INITIATOR_PASSWORD is missing"),
        ({"MPESA_INITIATOR_PASSWORD_SET_ON": None}, "MPESA_INITIATOR_PASSWORD_SET_ON is missing"),
        ({"MPESA_INITIATOR_PASSWORD_SET_ON": TODAY - timedelta(days=90)}, "M-PESA ended it"),
        ({"MPESA_INITIATOR_PASSWORD_SET_ON": TODAY + timedelta(days=2)}, "in the future"),
        ({"MPESA_CERTIFICATE": None}, "MPESA_CERTIFICATE is missing"),
        ({"MPESA_CERTIFICATE": Path("/nowhere.cer")}, "cannot be read"),
        ({"CALLBACK_URL": "http://api.ticksy.co.ke/api/payment/callback"}, "https"),
        ({"CALLBACK_URL": "https://API.ticksy.co.ke/api/payment/callback"}, "lower case"),
        ({"CALLBACK_URL": "https://mpesa.ticksy.co.ke/api/payment/callback"}, "in them: mpesa"),
        ({"CALLBACK_URL": "https://api.ticksy.co.ke/EXEC/callback"}, "in them: exe, exec"),
        ({"CALLBACK_URL": "https://abc.ngrok.io/api/payment/callback"}, "in them: ngrok"),
        ({"MPESA_C2B_SECRET": "0123456789abcdef0123456789abcdef"}, "MPESA_C2B_SECRET is weak"),
        ({"MPESA_C2B_SECRET": "0a" * 16}, "MPESA_C2B_SECRET is weak"),
        ({"TRUSTED_PROXIES": 0}, "TRUSTED_PROXIES is 0"),
    ],
    ids=str,
)
def test_it_finds_what_is_wrong(
    app: Flask, daraja: ScriptedDaraja, good: dict[str, Any], change: dict[str, Any], word: str
) -> None:
    told = faults(app, **good | change)
    assert any(word in sentence for sentence in told), told


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"MPESA_INITIATOR_NAME": ""}, "every refund waits for a person"),
        ({"MPESA_INITIATOR_PASSWORD_SET_ON": TODAY - timedelta(days=85)}, "set a new one"),
        ({"MPESA_C2B_SECRET": ""}, "nobody can pay by Paybill"),
        ({"MPESA_CALLBACK_ADDRESSES": []}, "from any address"),
        ({"PULL_MINUTES": 0}, "PULL_MINUTES is 0"),
        ({"ALERT_URL": ""}, "ALERT_URL is empty"),
        ({"MPESA_PASSKEY": "short-but-there-x"}, "64 hexadecimal digits"),
    ],
    ids=str,
)
def test_what_works_less_well_is_a_warning_and_no_fault(
    app: Flask, daraja: ScriptedDaraja, good: dict[str, Any], change: dict[str, Any], word: str
) -> None:
    assert faults(app, **good | change) == []
    told = faults(app, Grade.WARNING, **good | change)
    assert any(word in sentence for sentence in told), told


@pytest.mark.parametrize(
    ("facts", "word"),
    [
        ({"bits": 1024}, "1024 bits"),
        ({"days": -1}, "ended on"),
        ({"is_rsa": False}, "no certificate with an RSA key"),
        ({"name": "sandbox.safaricom.co.ke"}, "sandbox's"),
    ],
    ids=str,
)
def test_it_looks_into_the_certificate(
    app: Flask, daraja: ScriptedDaraja, good: dict[str, Any], tmp_path: Path, facts: dict[str, Any], word: str
) -> None:
    told = faults(app, **good | {"MPESA_CERTIFICATE": certificate(tmp_path / "some.cer", **facts)})
    assert any(word in sentence for sentence in told), told


def test_a_file_that_is_no_certificate_is_a_fault(
    app: Flask, daraja: ScriptedDaraja, good: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "some.cer").write_bytes(b"\x00no")
    told = faults(app, **good | {"MPESA_CERTIFICATE": tmp_path / "some.cer"})
    assert any("no certificate" in sentence for sentence in told), told


def test_the_certificate_of_production_is_not_for_the_sandbox(
    app: Flask, daraja: ScriptedDaraja, good: dict[str, Any]
) -> None:
    told = faults(app, **good | {"FLASK_ENV": "staging"})
    assert any("that of production" in sentence for sentence in told), told


def test_keys_that_open_nothing_are_a_fault(app: Flask, daraja: ScriptedDaraja, good: dict[str, Any]) -> None:
    daraja.tokens = [Reply(400)]
    told = faults(app, **good)
    assert any("No access token" in sentence for sentence in told), told


@pytest.mark.parametrize("seconds", [-90, 90])
def test_a_clock_that_is_wrong_is_a_fault(
    app: Flask, daraja: ScriptedDaraja, good: dict[str, Any], monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    def read_clock(_self: object) -> datetime:
        return clock.ahead(seconds=seconds)

    monkeypatch.setattr("utils.mpesa.Daraja.read_clock", read_clock)
    assert any("seconds off Daraja's" in sentence for sentence in faults(app, **good))


def test_an_unreachable_daraja_is_told_and_not_stumbled_over(
    app: Flask, daraja: ScriptedDaraja, good: dict[str, Any]
) -> None:
    daraja._server.shutdown()
    daraja._server.server_close()
    assert any("No access token" in sentence for sentence in faults(app, **good))
    assert any("did not tell the time" in sentence for sentence in faults(app, Grade.WARNING, **good))


def test_a_database_without_admin_or_pulled_list_is_told(app: Flask, good: dict[str, Any], database_url: str) -> None:
    with scripted_daraja(app):
        assert any("There is no admin" in sentence for sentence in faults(app, **good))
        assert any("never read" in sentence for sentence in faults(app, Grade.WARNING, **good))


def test_an_old_schema_is_told(app: Flask, daraja: ScriptedDaraja, good: dict[str, Any]) -> None:
    def set_version(version: str) -> str:
        with app.app_context(), transaction() as session:
            before = session.scalar(text("SELECT version_num FROM alembic_version"))
            session.execute(text("UPDATE alembic_version SET version_num = :version"), {"version": version})
        return str(before)

    newest = set_version("0000")
    try:
        assert any("flask db upgrade" in sentence for sentence in faults(app, **good))
    finally:
        set_version(newest)


# ── Registering ───────────────────────────────────────────────────────────────────────────────────────────────────

DONE = Reply.json(OriginatorCoversationID="1", ResponseCode="0", ResponseDescription="Success")
PULL_DONE = Reply.json(
    ResponseRefID="1", ResponseStatus="1000", ResponseDescription="Shortcode Registered Successfully"
)


def test_both_addresses_are_registered(app: Flask, daraja: ScriptedDaraja, good: dict[str, Any]) -> None:
    daraja.others = {REGISTER_C2B: [DONE], REGISTER_PULL: [PULL_DONE]}
    answer = run(app, "register", "--phone", "0712 345 678", **good)
    assert answer.exit_code == 0, answer.output
    [c2b], [pull] = daraja.requests(REGISTER_C2B), daraja.requests(REGISTER_PULL)
    base = f"https://api.ticksy.co.ke/api/payment/c2b/{SECRET}"
    assert c2b.body["ValidationURL"] == f"{base}/validation"
    assert c2b.body["ConfirmationURL"] == f"{base}/confirmation"
    assert (pull.body["NominatedNumber"], pull.body["RequestType"]) == ("254712345678", "Pull")
    assert pull.body["CallBackURL"] == good["CALLBACK_URL"]


def test_the_addresses_registered_are_served(app: Flask, client: Any, make: Maker) -> None:
    for address in c2b_addresses("http://127.0.0.1/api/payment/callback", "0123456789abcdef0123456789abcdef"):
        assert client.post(address.removeprefix("http://127.0.0.1"), json={}).status_code == 200


def test_already_registered_is_explained(app: Flask, daraja: ScriptedDaraja, good: dict[str, Any]) -> None:
    refusal = {"errorCode": "500.003.1001", "errorMessage": "Urls are already registered."}
    daraja.others = {REGISTER_C2B: [Reply.json(500, **refusal)], REGISTER_PULL: [Reply.json(ResponseStatus="1001")]}
    answer = run(app, "register", "--phone", "0712345678", **good)
    assert answer.exit_code == 0
    assert answer.output.count("already registered.") == 3
    assert "URL management" in answer.output


def test_a_refusal_is_told_in_safaricoms_words(app: Flask, daraja: ScriptedDaraja, good: dict[str, Any]) -> None:
    refusal = {"errorCode": "400.002.02", "errorMessage": f"Bad Request - Invalid ValidationURL …/{SECRET}/validation"}
    daraja.others = {REGISTER_C2B: [Reply.json(400, **refusal)]}
    answer = run(app, "register", **good)
    assert answer.exit_code == 1
    assert "refused. Safaricom said: Bad Request - Invalid ValidationURL" in answer.output


def test_without_a_token_nothing_is_registered(app: Flask, daraja: ScriptedDaraja, good: dict[str, Any]) -> None:
    daraja.tokens = [Reply(400)]
    answer = run(app, "register", **good)
    assert (answer.exit_code, "no answer from Daraja" in answer.output) == (1, True)
    assert daraja.count(TOKEN) == 1


def test_a_bad_number_registers_nothing(app: Flask, daraja: ScriptedDaraja, good: dict[str, Any]) -> None:
    answer = run(app, "register", "--phone", "12345", **good)
    assert (answer.exit_code, daraja.count(REGISTER_C2B)) == (1, 0)


def test_without_anything_to_register_it_says_so(app: Flask, daraja: ScriptedDaraja, good: dict[str, Any]) -> None:
    answer = run(app, "register", **good | {"MPESA_C2B_SECRET": ""})
    assert (answer.exit_code, "MPESA_C2B_SECRET is empty" in answer.output) == (1, True)


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, b'{"ResponseCode": "0", "ResponseDescription": "Success"}', Registration.DONE),
        (200, b'{"ResponseCode": "00000000", "ResponseDescription": "Success"}', Registration.DONE),
        (200, b'{"ResponseDescription": "success"}', Registration.DONE),
        (200, b'{"errorCode": "500.003.1001", "errorMessage": "Duplicate notification info"}', Registration.ALREADY),
        (200, b"<html>", Registration.REFUSED),
        (200, b"{}", Registration.REFUSED),
        (200, b'{"ResponseCode": "1", "ResponseDescription": "Success?"}', Registration.REFUSED),
        (403, b"", Registration.REFUSED),
    ],
)
def test_how_registering_went(status: int, body: bytes, expected: Registration) -> None:
    assert read_c2b_registration(Answer(status, body))[0] is expected
    assert read_c2b_registration(None)[0] is Registration.NO_ANSWER


def test_how_registering_the_list_went() -> None:
    for body, expected in ((b'{"ResponseStatus": "1000"}', Registration.DONE), (b"[]", Registration.REFUSED)):
        assert read_pull_registration(Answer(200, body))[0] is expected
    assert read_pull_registration(None)[0] is Registration.NO_ANSWER


def test_words_are_refused_in_any_case() -> None:
    assert refused_words("https://x.co.ke/M-Pesa/SQL") == ["m-pesa", "sql"]
    assert refused_words("https://x.co.ke/api/payment/c2b/confirmation") == []
