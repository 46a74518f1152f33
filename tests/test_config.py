"""The settings: what is refused where, all faults at once, and what development makes up."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from dotenv import dotenv_values

import config
from config import ConfigurationError, Settings, load
from utils import config_rules

#: Everything right for where money is real.
LIVE = {
    "FLASK_ENV": "production",
    "DATABASE_URL": "postgresql://ticksy:Zanzibar-91@db.example.co.ke/ticksy",
    "SECRET_KEY": "b7e1c9a04f5d2836e8c7b1f0a9d4e653",
    "PUBLIC_URL": "https://api.ticksy.co.ke",
    "CORS_ORIGINS": "https://ticksy.co.ke,https://www.ticksy.co.ke",
    "MPESA_CONSUMER_KEY": "live-key-5tGbHn8sKq",
    "MPESA_CONSUMER_SECRET": "live-secret-7uJmWv3xRt",
    "MPESA_SHORTCODE": "600123",
    "MPESA_PASSKEY": "live-passkey-9oLpZc4yDf",
    "CALLBACK_URL": "https://api.ticksy.co.ke/api/payment/callback",
}
DEVELOPMENT = {"FLASK_ENV": "development", "SECRET_KEY": "x"}


def faults(environ: dict[str, str]) -> list[str]:
    """What is wrong with these settings; empty when nothing is."""
    try:
        load(environ)
    except ConfigurationError as error:
        return error.faults
    return []


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own for what development keeps."""
    monkeypatch.setattr(config, "INSTANCE", tmp_path / "instance")
    return tmp_path / "instance"


# ── Where money is real ───────────────────────────────────────────────────────────────────────────────────────────


def test_unset_means_production_and_every_fault_is_named_at_once() -> None:
    assert faults({}) == [
        "DATABASE_URL is missing",
        "SECRET_KEY is missing",
        "MPESA_CONSUMER_KEY is missing",
        "MPESA_CONSUMER_SECRET is missing",
        "MPESA_SHORTCODE is missing",
        "MPESA_PASSKEY is missing",
        "PUBLIC_URL is missing",
        "CALLBACK_URL is missing",
    ]


def test_an_app_without_settings_does_not_start() -> None:
    script = "from app import create_app; create_app()"
    command = [sys.executable, "-c", script]
    run = subprocess.run(command, cwd=config.ROOT, env={}, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert run.stderr.startswith("Ticksy cannot start:\n  - ")
    assert "  - SECRET_KEY is missing\n" in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize("name", ["MPESA_CONSUMER_KEY", "MPESA_CONSUMER_SECRET", "MPESA_PASSKEY"])
def test_a_short_mpesa_secret_is_refused(name: str) -> None:
    assert faults(LIVE | {name: "x"}) == [f"{name} is too short to be Safaricom's"]


def test_the_sandboxs_shortcode_is_refused_in_production_only() -> None:
    assert faults(LIVE | {"MPESA_SHORTCODE": "174379"}) == ["MPESA_SHORTCODE is the sandbox's"]
    assert faults(LIVE | {"MPESA_SHORTCODE": "174379", "FLASK_ENV": "staging"}) == []


@pytest.mark.parametrize("pauses", ["-5", "0", "nan", "inf", "15,x", "1e9"])
def test_pauses_between_questions_are_seconds(pauses: str) -> None:
    [fault] = faults(LIVE | {"QUERY_PAUSES_SECONDS": pauses})
    assert fault.startswith("QUERY_PAUSES_SECONDS")


def test_right_settings_are_taken() -> None:
    assert faults(LIVE) == []
    settings = load(LIVE)
    assert settings.MPESA_BASE_URL == "https://api.safaricom.co.ke"
    assert settings.DATABASE_URL.startswith("postgresql+psycopg2://")
    assert settings.CORS_ORIGINS == ["https://ticksy.co.ke", "https://www.ticksy.co.ke"]
    assert not settings.is_local


WRONG_LIVE = [
    ("BCRYPT_ROUNDS", "11", "BCRYPT_ROUNDS must be 12 or more"),
    ("SECRET_KEY", "short", "SECRET_KEY is weak"),
    ("SECRET_KEY", "a" * 64, "SECRET_KEY is weak"),
    ("SECRET_KEY", "abcabcabc" * 8, "SECRET_KEY is weak"),
    ("SECRET_KEY", "   ", "SECRET_KEY is missing"),
    ("PUBLIC_URL", "http://api.ticksy.co.ke", "PUBLIC_URL must be an https:// address"),
    ("PUBLIC_URL", "api.ticksy.co.ke", "PUBLIC_URL is not an address"),
    ("PUBLIC_URL", "https://user:word@ticksy.co.ke", "PUBLIC_URL is not an address"),
    ("PUBLIC_URL", "https://[ticksy", "PUBLIC_URL is not an address"),
    ("PUBLIC_URL", "https://ticksy.co.ke:port", "PUBLIC_URL is not an address"),
    ("PUBLIC_URL", "javascript:alert(1)", "PUBLIC_URL is not an address"),
    ("CALLBACK_URL", "http://api.ticksy.co.ke/api/payment/callback", "CALLBACK_URL must be an https:// address"),
    ("CALLBACK_URL", "https://api.ticksy.co.ke/callback", "CALLBACK_URL must end in /api/payment/callback"),
    ("CALLBACK_URL", "https://api.ticksy.co.ke/api/payment/callback?a=b", "CALLBACK_URL is not an address"),
    ("CALLBACK_URL", "https://API.ticksy.co.ke/api/payment/callback", "CALLBACK_URL must be in lower case"),
    ("CALLBACK_URL", "https://[/api/payment/callback", "CALLBACK_URL is not an address"),
    ("MPESA_CONSUMER_KEY", "simulator-consumer-key", "MPESA_CONSUMER_KEY is the simulator's"),
    ("MPESA_CONSUMER_SECRET", "simulator-consumer-secret", "MPESA_CONSUMER_SECRET is the simulator's"),
    ("MPESA_PASSKEY", "simulator-passkey", "MPESA_PASSKEY is the simulator's"),
    ("MPESA_SHORTCODE", "12ab56", "MPESA_SHORTCODE must be five to seven digits"),
    ("MPESA_BASE_URL", "http://api.safaricom.co.ke", "MPESA_BASE_URL must be https://api.safaricom.co.ke"),
    ("MPESA_BASE_URL", "https://sandbox.safaricom.co.ke", "MPESA_BASE_URL must be https://api.safaricom.co.ke"),
    ("MPESA_BASE_URL", "https://api.safaricom.co.ke.evil.example", "MPESA_BASE_URL must be https://api.safaricom"),
    ("MPESA_BASE_URL", "http://127.0.0.1:5001", "MPESA_BASE_URL must be https://api.safaricom.co.ke"),
    ("DATABASE_URL", "sqlite:///ticksy.db", "DATABASE_URL must be a PostgreSQL address"),
    ("DATABASE_URL", "mysql://localhost/ticksy", "DATABASE_URL must be a PostgreSQL address"),
    ("CORS_ORIGINS", "*", "CORS_ORIGINS: * is not an origin"),
    ("CORS_ORIGINS", "https://*.ticksy.co.ke", "CORS_ORIGINS: https://*.ticksy.co.ke is not an origin"),
    ("CORS_ORIGINS", "http://ticksy.co.ke", "CORS_ORIGINS: http://ticksy.co.ke must be https"),
    ("CORS_ORIGINS", "https://ticksy.co.ke/app", "CORS_ORIGINS: https://ticksy.co.ke/app is not an origin"),
    ("CORS_ORIGINS", "null", "CORS_ORIGINS: null is not an origin"),
    ("FLASK_ENV", "prod", "FLASK_ENV: "),
    ("PORT", "eighty", "PORT: "),
    ("HOLD_MINUTES", "0", "HOLD_MINUTES: "),
    ("HOLD_MINUTES", "nan", "HOLD_MINUTES: "),
    ("QUERY_PAUSES_SECONDS", ",", "QUERY_PAUSES_SECONDS: "),
    ("ACCESS_TOKEN_MINUTES", "99999", "ACCESS_TOKEN_MINUTES: "),
    ("LOG_LEVEL", "LOUD", "LOG_LEVEL: "),
    ("MPESA_TRANSACTION_TYPE", "CustomerPayLater", "MPESA_TRANSACTION_TYPE: "),
    ("MPESA_TRANSACTION_TYPE", "CustomerBuyGoodsOnline", "MPESA_PARTY_B must be the till"),
    ("MPESA_PARTY_B", "till 7", "MPESA_PARTY_B must be five to seven digits"),
    ("MPESA_INITIATOR_PASSWORD_SET_ON", "yesterday", "MPESA_INITIATOR_PASSWORD_SET_ON: "),
    ("MPESA_C2B_SECRET", "b7e1c9a04f5d2836", "MPESA_C2B_SECRET must be 32 hexadecimal digits"),
    ("MPESA_C2B_SECRET", "B7E1C9A04F5D2836E8C7B1F0A9D4E653", "MPESA_C2B_SECRET must be 32 hexadecimal digits"),
    ("MPESA_C2B_SECRET", config_rules.SIMULATED_C2B_SECRET, "MPESA_C2B_SECRET is weak"),
    ("MPESA_C2B_SECRET", "0" * 32, "MPESA_C2B_SECRET is weak"),
    ("MPESA_CALLBACK_ADDRESSES", "196.201.214.200,safaricom", "MPESA_CALLBACK_ADDRESSES: safaricom is neither"),
    ("MPESA_CALLBACK_ADDRESSES", "196.201.214.300", "MPESA_CALLBACK_ADDRESSES: 196.201.214.300 is neither"),
    ("TRUSTED_PROXIES", "-1", "TRUSTED_PROXIES: "),
    ("MPESA_MAX_PUSHES_PER_SECOND", "-1", "MPESA_MAX_PUSHES_PER_SECOND: "),
    ("PUSH_QUEUE_SECONDS", "nan", "PUSH_QUEUE_SECONDS: "),
    ("PULL_MINUTES", "-1", "PULL_MINUTES: "),
    ("ALERT_URL", "http://alerts.example.co.ke", "ALERT_URL must be an https:// address"),
    ("ALERT_URL", "alerts", "ALERT_URL is not an address"),
    ("FRONTEND_URL", "http://ticksy.co.ke", "FRONTEND_URL must be an https:// address"),
    ("FRONTEND_URL", "ticksy", "FRONTEND_URL is not an address"),
    ("MAIL_FROM", "Ticksy", "MAIL_FROM must be an e-mail address"),
    ("MAIL_FROM", "tickets@", "MAIL_FROM must be an e-mail address"),
    ("SMS_URL", "https://api.africastalking.com", "SMS_URL must begin with africastalking://"),
    ("SMS_URL", "africastalking://api.africastalking.com", "SMS_URL must be africastalking://username:api-key@"),
    ("SMS_URL", "africastalking://u:a/b@api.africastalking.com", "SMS_URL must be africastalking://username:api-key@"),
    ("SMS_URL", "africastalking://u:k@api.africastalking.com?to=x", "SMS_URL may have ?from=SENDER"),
    ("RATELIMIT_ENABLED", "false", "RATELIMIT_ENABLED may be false in development and testing only"),
    ("RATELIMIT_PER_MINUTE", "599", "RATELIMIT_PER_MINUTE must be 600 or more"),
    ("REDIS_URL", "http://redis.example.co.ke", "REDIS_URL must be a redis:// or rediss:// address"),
    ("SECRET_KEYS_OLD", "short," + "aB3" * 20, "SECRET_KEYS_OLD has a weak one"),
    ("LOG_FORMAT", "xml", "LOG_FORMAT: "),
    ("IDEMPOTENCY_HOURS", "0", "IDEMPOTENCY_HOURS: "),
    ("CLAIMS_PER_DAY", "0", "CLAIMS_PER_DAY: "),
]


@pytest.mark.parametrize(("name", "value", "fault"), WRONG_LIVE)
def test_each_rule_is_kept_where_money_is_real(name: str, value: str, fault: str) -> None:
    told = faults(LIVE | {name: value})
    assert any(one.startswith(fault) for one in told), told


@pytest.mark.parametrize(("name", "value", "fault"), WRONG_LIVE)
def test_one_fault_hides_no_other(name: str, value: str, fault: str) -> None:
    other = "MPESA_PASSKEY" if name != "MPESA_PASSKEY" else "MPESA_CONSUMER_KEY"
    assert f"{other} is missing" in faults(LIVE | {name: value, other: ""})


def test_no_fault_tells_a_secret() -> None:
    secrets = ("SECRET_KEY", "MPESA_CONSUMER_KEY", "MPESA_CONSUMER_SECRET", "MPESA_PASSKEY", "DATABASE_URL")
    for name in (*secrets, "MPESA_INITIATOR_PASSWORD", "MPESA_C2B_SECRET", "ALERT_URL"):
        assert "hush" not in str(faults(LIVE | {name: "hush://hush", "PORT": "x"}))


def test_programs_read_the_logs_of_where_people_are_real() -> None:
    assert config.load(LIVE).LOG_FORMAT == "json"
    assert config.load(LIVE | {"LOG_FORMAT": "text"}).LOG_FORMAT == "text"


def test_what_no_log_may_tell_are_all_secrets_and_the_passwords_in_addresses() -> None:
    told = {"MAIL_URL": "smtps://user:hush%2Fhush@mail.example.co.ke", "MAIL_FROM": "tickets@ticksy.co.ke"}
    old = "previous-" + LIVE["SECRET_KEY"]
    secrets = config.load(LIVE | told | {"SECRET_KEYS_OLD": old}).secrets
    assert {LIVE["SECRET_KEY"], old, LIVE["MPESA_PASSKEY"], "hush%2Fhush", "hush/hush"} <= secrets
    assert LIVE["MPESA_SHORTCODE"] not in secrets


def test_staging_wants_safaricoms_sandbox() -> None:
    staging = LIVE | {"FLASK_ENV": "staging"}
    assert load(staging).MPESA_BASE_URL == "https://sandbox.safaricom.co.ke"
    assert faults(staging | {"MPESA_BASE_URL": "https://api.safaricom.co.ke"}) == [
        "MPESA_BASE_URL must be https://sandbox.safaricom.co.ke in staging"
    ]
    assert "SECRET_KEY is missing" in faults(staging | {"SECRET_KEY": ""})


def test_a_slash_at_the_end_of_an_address_does_not_matter() -> None:
    settings = load(LIVE | {name: LIVE[name] + "/" for name in ("PUBLIC_URL", "CALLBACK_URL")})
    assert not settings.PUBLIC_URL.endswith("/")
    assert not settings.CALLBACK_URL.endswith("/")


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2"])
def test_a_database_address_may_leave_the_driver_open(scheme: str) -> None:
    address = f"{scheme}://ticksy@db.example.co.ke/ticksy"
    assert load(LIVE | {"DATABASE_URL": address}).DATABASE_URL == "postgresql+psycopg2://ticksy@db.example.co.ke/ticksy"


@pytest.fixture
def initiator(tmp_path: Path) -> dict[str, str]:
    """All that refunds need."""
    path = tmp_path / "ProductionCertificate.cer"
    path.write_bytes(b"It is read when it is first used.")
    return {
        "MPESA_INITIATOR_NAME": "ticksyapi",
        "MPESA_INITIATOR_PASSWORD": "Zanzibar-91",
        "MPESA_CERTIFICATE": str(path),
    }


def test_refunds_need_all_of_the_initiator_or_nothing(initiator: dict[str, str]) -> None:
    assert faults(LIVE | initiator) == []
    for name in initiator:
        rest = {other: value for other, value in initiator.items() if other != name}
        told = f"{name} is missing: refunds need all of {', '.join(initiator)}"
        assert faults(LIVE | rest) == [told]


def test_the_initiators_password_is_not_the_simulators(initiator: dict[str, str]) -> None:
    told = faults(LIVE | initiator | {"MPESA_INITIATOR_PASSWORD": config_rules.SIMULATED_INITIATOR[1]})
    assert told == ["MPESA_INITIATOR_PASSWORD is the simulator's, which everybody knows"]


def test_the_certificate_is_a_file_that_can_be_read(
    initiator: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = "MPESA_CERTIFICATE is not a file that can be read"
    for path in (tmp_path / "none.cer", tmp_path):
        assert faults(LIVE | initiator | {"MPESA_CERTIFICATE": str(path)}) == [fault]
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert faults(LIVE | initiator) == [fault]


MAIL = {"MAIL_FROM": "Ticksy <tickets@ticksy.co.ke>"}


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("https://mail.ticksy.co.ke", "must be smtp://"),
        ("smtp://", "must be smtp://"),
        ("smtp://mail.ticksy.co.ke/inbox", "must be smtp://"),
        ("smtp://ticksy:s3cr3t/pass@mail.ticksy.co.ke", "must be smtp://"),
        ("smtp://mail.ticksy.co.ke:s3cr3t", "must be smtp://"),
        ("smtp://mail.ticksy.co.ke?tls", "may have ?starttls"),
        ("smtps://mail.ticksy.co.ke?starttls", "may have ?starttls"),
        ("smtp://ticksy:s3cr3t@mail.ticksy.co.ke", "would send its password in the clear"),
    ],
)
def test_a_wrong_mail_server_is_named_without_its_password(url: str, fault: str) -> None:
    [told] = faults(LIVE | MAIL | {"MAIL_URL": url})
    assert told.startswith(f"MAIL_URL {fault}")
    assert "s3cr3t" not in told


@pytest.mark.parametrize(
    "url",
    [
        "smtp://10.0.0.5",
        "smtps://u:p@mail.ticksy.co.ke",
        "smtp://u:p@mail.ticksy.co.ke?starttls",
        "smtp://u:p@127.0.0.1",
    ],
)
def test_a_right_mail_server_is_taken_with_a_sender_alone(url: str) -> None:
    assert faults(LIVE | MAIL | {"MAIL_URL": url}) == []
    assert faults(LIVE | {"MAIL_URL": url}) == ["MAIL_FROM is missing: MAIL_URL needs it"]


def test_without_real_money_nobody_real_is_written_to() -> None:
    for environment in ("development", "testing"):
        local = DEVELOPMENT | MAIL | {"FLASK_ENV": environment}
        real = {"MAIL_URL": "smtps://mail.ticksy.co.ke", "SMS_URL": "africastalking://u:k@api.africastalking.com"}
        told = faults(local | real)
        assert [fault.split(" must be on this machine")[0] for fault in told] == ["MAIL_URL", "SMS_URL"]
        assert (
            faults(local | {"MAIL_URL": "smtp://u:p@127.0.0.1:1025", "SMS_URL": "africastalking://u:k@[::1]:9"}) == []
        )


def test_links_in_messages_lead_to_the_frontend() -> None:
    assert load(LIVE).frontend_url == "https://ticksy.co.ke"
    assert load(LIVE | {"FRONTEND_URL": "https://go.ticksy.co.ke/"}).frontend_url == "https://go.ticksy.co.ke"
    assert load(LIVE | {"CORS_ORIGINS": ""}).frontend_url == "https://api.ticksy.co.ke"


def test_safaricoms_own_addresses_are_believed_unless_others_are_named() -> None:
    assert load(LIVE).MPESA_CALLBACK_ADDRESSES == config.SAFARICOM
    assert len(set(config.SAFARICOM)) == 12
    named = load(LIVE | {"MPESA_CALLBACK_ADDRESSES": "196.201.214.0/24, 2001:db8::1"})
    assert named.MPESA_CALLBACK_ADDRESSES == ["196.201.214.0/24", "2001:db8::1"]
    assert load(LIVE | {"MPESA_CALLBACK_ADDRESSES": "any"}).MPESA_CALLBACK_ADDRESSES == []


def test_without_a_secret_there_is_no_paybill() -> None:
    assert load(LIVE).MPESA_C2B_SECRET == ""
    assert faults(LIVE | {"MPESA_C2B_SECRET": "9f86d081884c7d659a2feaa0c55ad015"}) == []


def test_a_till_is_party_b() -> None:
    assert faults(LIVE | {"MPESA_TRANSACTION_TYPE": "CustomerBuyGoodsOnline", "MPESA_PARTY_B": "654321"}) == []


# ── Where nothing is real ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("environment", ["development", "testing"])
@pytest.mark.parametrize("name", ["MPESA_BASE_URL", "CALLBACK_URL", "ALERT_URL"])
@pytest.mark.parametrize(
    "address",
    [
        "https://sandbox.safaricom.co.ke",
        "https://api.safaricom.co.ke",
        "http://192.168.1.7:5001",
        "http://localhost.evil.example",
        "http://127.0.0.1@evil.example",
        "http://[::1",
    ],
)
def test_without_real_money_mpesa_stays_on_this_machine(environment: str, name: str, address: str) -> None:
    told = faults(DEVELOPMENT | {"FLASK_ENV": environment, name: address})
    assert any(one.startswith(name) for one in told), told


@pytest.mark.parametrize("address", ["http://127.0.0.1:6001", "http://localhost:6001", "http://[::1]:6001"])
def test_the_simulator_may_be_anywhere_on_this_machine(address: str) -> None:
    assert faults(DEVELOPMENT | {"MPESA_BASE_URL": address}) == []


def test_development_needs_nothing_said(instance: Path) -> None:
    settings = load({"FLASK_ENV": "development", "PORT": "5050"})
    assert settings.is_local
    assert settings.PUBLIC_URL == "http://127.0.0.1:5050"
    assert settings.CALLBACK_URL == "http://127.0.0.1:5050/api/payment/callback"
    assert settings.MPESA_BASE_URL == "http://127.0.0.1:5001"
    assert settings.MPESA_SHORTCODE == "174379"
    assert settings.MPESA_CERTIFICATE == config.SIMULATED_CERTIFICATE
    assert (settings.MPESA_INITIATOR_NAME, settings.MPESA_INITIATOR_PASSWORD) == config_rules.SIMULATED_INITIATOR
    assert settings.MPESA_C2B_SECRET == config_rules.SIMULATED_C2B_SECRET
    assert (settings.MPESA_CALLBACK_ADDRESSES, settings.TRUSTED_PROXIES) == ([], 0)


def test_an_initiator_of_ones_own_is_not_mixed_with_the_simulators() -> None:
    settings = load(DEVELOPMENT | {"MPESA_INITIATOR_NAME": "me"})
    assert (settings.MPESA_INITIATOR_PASSWORD, settings.MPESA_CERTIFICATE) == ("", None)


def test_development_makes_a_secret_and_keeps_it_to_itself(instance: Path) -> None:
    first, second = (load({"FLASK_ENV": "development"}).SECRET_KEY for _ in range(2))
    assert first == second
    assert len(first) == 64
    kept = instance / "secret_key"
    assert kept.read_text() == first
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert list(instance.iterdir()) == [kept]


def test_another_checkout_has_another_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = set()
    for name in ("one", "two"):
        monkeypatch.setattr(config, "INSTANCE", tmp_path / name)
        secrets.add(load({"FLASK_ENV": "development"}).SECRET_KEY)
    assert len(secrets) == 2


RACER = """
import sys, pathlib, config
config.INSTANCE = pathlib.Path(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
print(config.load({"FLASK_ENV": "development"}).SECRET_KEY)
"""


def test_processes_that_race_get_the_same_secret(tmp_path: Path) -> None:
    command = [sys.executable, "-c", RACER, str(tmp_path / "instance")]
    racers = [
        subprocess.Popen(command, cwd=config.ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    secrets = {racer.communicate(timeout=30)[0] for racer in racers}
    assert len(secrets) == 1
    assert len(secrets.pop().strip()) == 64


# ── What is written down ──────────────────────────────────────────────────────────────────────────────────────────


def test_the_example_names_every_setting_and_no_other() -> None:
    assert list(dotenv_values(config.ROOT / ".env.example")) == list(Settings.model_fields)


def test_the_example_works_as_it_is(instance: Path) -> None:
    example = {name: value or "" for name, value in dotenv_values(config.ROOT / ".env.example").items()}
    assert example["FLASK_ENV"] == "development"
    assert load(example) == load({"FLASK_ENV": "development"})


def test_no_secret_is_printed(initiator: dict[str, str]) -> None:
    more = {
        "MPESA_C2B_SECRET": "9f86d081884c7d659a2feaa0c55ad015",
        "ALERT_URL": "https://alerts.example.co.ke/9f86d0",
        "MAIL_URL": "smtps://ticksy:9f86d0@mail.example.co.ke",
        "MAIL_FROM": "tickets@example.co.ke",
        "SMS_URL": "africastalking://ticksy:9f86d0@api.africastalking.com",
    }
    settings = load(LIVE | more | initiator)
    printed = f"{settings!r} {settings}"
    assert "9f86d0" not in printed
    for secret in (*(LIVE[name] for name in config_rules.SIMULATED if name != "MPESA_SHORTCODE"), LIVE["SECRET_KEY"]):
        assert secret not in printed
    assert "Zanzibar" not in printed


def test_settings_do_not_change_while_running() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load(LIVE).PORT = 1  # type: ignore[misc]


def test_nothing_but_config_reads_the_environment() -> None:
    """Development's launcher and the simulator are programs of their own."""
    readers = [
        path.name
        for folder in (".", "resources", "schemas", "services", "utils")
        for path in sorted((config.ROOT / folder).glob("*.py"))
        if re.search(r"os\.(environ|getenv)", path.read_text())
    ]
    assert "config.py" in readers
    assert set(readers) <= {"config.py", "launch.py", "postgres.py", "postgres_programs.py"}, readers
