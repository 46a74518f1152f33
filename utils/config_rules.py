"""What the settings must be like, beyond the type of each: what fits together, and what is safe where money is real."""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urlsplit

from utils import carriers
from utils.callers import LOOPBACK, is_network

if TYPE_CHECKING:
    from config import Settings

DARAJA = {"staging": "https://sandbox.safaricom.co.ke", "production": "https://api.safaricom.co.ke"}
CALLBACK_PATH = "/api/payment/callback"
#: What the simulator accepts. Public, so refused wherever money is real.
SIMULATED = {
    "MPESA_CONSUMER_KEY": "simulator-consumer-key",
    "MPESA_CONSUMER_SECRET": "simulator-consumer-secret",
    "MPESA_SHORTCODE": "174379",
    "MPESA_PASSKEY": "simulator-passkey",
}
#: What else the simulator accepts.
SIMULATED_INITIATOR = ("simulator-initiator", "simulator-initiator-password")
SIMULATED_C2B_SECRET = "0123456789abcdef0123456789abcdef"
SANDBOX_SHORTCODE = SIMULATED["MPESA_SHORTCODE"]
#: A carrier puts thousands of buyers behind one address.
MIN_RATELIMIT_PER_MINUTE = 600
#: What a password out of a stolen copy of the database costs to guess: a quarter of a second for each try.
MIN_BCRYPT_ROUNDS = 12
MIN_SECRET_LENGTH, MIN_MPESA_SECRET_LENGTH = 32, 16


def faults(settings: Settings) -> list[str]:
    """All that is wrong with them, in sentences that start with the setting's name."""
    found = [f"{name} is not an address" for name in _ADDRESSES if _broken(getattr(settings, name))]
    found += [f"CORS_ORIGINS: {origin} is not an origin" for origin in settings.CORS_ORIGINS if not _is_origin(origin)]
    if settings.DATABASE_URL and not settings.DATABASE_URL.startswith("postgresql+psycopg2://"):
        found.append("DATABASE_URL must be a PostgreSQL address")
    if settings.MPESA_SHORTCODE and not re.fullmatch(r"[0-9]{5,7}", settings.MPESA_SHORTCODE):
        found.append("MPESA_SHORTCODE must be five to seven digits")
    found += [
        f"MPESA_CALLBACK_ADDRESSES: {one} is neither an address nor a network"
        for one in settings.MPESA_CALLBACK_ADDRESSES
        if not is_network(one)
    ]
    if settings.MPESA_C2B_SECRET and not re.fullmatch(r"[0-9a-f]{32}", settings.MPESA_C2B_SECRET):
        found.append("MPESA_C2B_SECRET must be 32 hexadecimal digits in lower case")
    if settings.MPESA_TRANSACTION_TYPE == "CustomerBuyGoodsOnline" and not settings.MPESA_PARTY_B:
        found.append("MPESA_PARTY_B must be the till for CustomerBuyGoodsOnline")
    if settings.MPESA_PARTY_B and not re.fullmatch(r"[0-9]{5,7}", settings.MPESA_PARTY_B):
        found.append("MPESA_PARTY_B must be five to seven digits")
    if settings.REDIS_URL and _parts(settings.REDIS_URL).scheme not in ("redis", "rediss"):
        found.append("REDIS_URL must be a redis:// or rediss:// address")
    found += carriers.faults(
        mail_url=settings.MAIL_URL,
        mail_from=settings.MAIL_FROM,
        sms_url=settings.SMS_URL,
        may_be_clear=settings.is_local,
    )
    if settings.REQUIRE_VERIFIED_EMAIL and not settings.MAIL_URL:
        found.append("REQUIRE_VERIFIED_EMAIL needs MAIL_URL: nobody could confirm an address without an e-mail")
    if settings.is_local:
        return found + _faults_where_nothing_is_real(settings)
    return found + _faults_where_money_is_real(settings)


_ADDRESSES = ("PUBLIC_URL", "FRONTEND_URL", "CALLBACK_URL", "MPESA_BASE_URL", "ALERT_URL")


def _faults_where_nothing_is_real(settings: Settings) -> list[str]:
    return [
        f"{name} must be on this machine in {settings.FLASK_ENV} (for Safaricom's sandbox use FLASK_ENV=staging)"
        for name in ("MPESA_BASE_URL", "CALLBACK_URL", "ALERT_URL", "MAIL_URL", "SMS_URL")
        if getattr(settings, name) and _parts(getattr(settings, name)).hostname not in LOOPBACK
    ]


def _faults_where_money_is_real(settings: Settings) -> list[str]:
    faults = []
    if not settings.DATABASE_URL:
        faults.append("DATABASE_URL is missing")
    faults += _secret_faults(settings)
    if not settings.RATELIMIT_ENABLED:
        faults.append("RATELIMIT_ENABLED may be false in development and testing only")
    if settings.RATELIMIT_PER_MINUTE < MIN_RATELIMIT_PER_MINUTE:
        faults.append(f"RATELIMIT_PER_MINUTE must be {MIN_RATELIMIT_PER_MINUTE} or more")
    if settings.BCRYPT_ROUNDS < MIN_BCRYPT_ROUNDS:
        faults.append(f"BCRYPT_ROUNDS must be {MIN_BCRYPT_ROUNDS} or more")
    for name in ("PUBLIC_URL", "CALLBACK_URL"):
        address = getattr(settings, name)
        if _parts(address).scheme != "https":
            faults.append(f"{name} must be an https:// address" if address else f"{name} is missing")
    faults += [f"CORS_ORIGINS: {one} must be https" for one in settings.CORS_ORIGINS if not one.startswith("https:")]
    if settings.CALLBACK_URL and _parts(settings.CALLBACK_URL).path != CALLBACK_PATH:
        faults.append(f"CALLBACK_URL must end in {CALLBACK_PATH}")
    if settings.CALLBACK_URL.lower() != settings.CALLBACK_URL:
        faults.append("CALLBACK_URL must be in lower case")
    for name in ("ALERT_URL", "FRONTEND_URL"):
        if getattr(settings, name) and _parts(getattr(settings, name)).scheme != "https":
            faults.append(f"{name} must be an https:// address")
    if DARAJA[settings.FLASK_ENV] != settings.MPESA_BASE_URL:
        faults.append(f"MPESA_BASE_URL must be {DARAJA[settings.FLASK_ENV]} in {settings.FLASK_ENV}")
    return faults


def _secret_faults(settings: Settings) -> list[str]:
    faults = []
    if not settings.SECRET_KEY:
        faults.append("SECRET_KEY is missing")
    elif len(settings.SECRET_KEY) < MIN_SECRET_LENGTH or _repeats_itself(settings.SECRET_KEY):
        faults.append(f"SECRET_KEY is weak: give at least {MIN_SECRET_LENGTH} random characters")
    if any(len(old) < MIN_SECRET_LENGTH or _repeats_itself(old) for old in settings.SECRET_KEYS_OLD):
        faults.append("SECRET_KEYS_OLD has a weak one")
    for name, simulated in SIMULATED.items():
        value = getattr(settings, name)
        if not value:
            faults.append(f"{name} is missing")
        elif value == simulated and name != "MPESA_SHORTCODE":
            faults.append(f"{name} is the simulator's, which everybody knows")
        elif len(value) < MIN_MPESA_SECRET_LENGTH and name != "MPESA_SHORTCODE":
            faults.append(f"{name} is too short to be Safaricom's")
    faults += _initiator_faults(settings)
    if settings.MPESA_C2B_SECRET and (
        settings.MPESA_C2B_SECRET == SIMULATED_C2B_SECRET or _repeats_itself(settings.MPESA_C2B_SECRET)
    ):
        faults.append("MPESA_C2B_SECRET is weak: give 32 random hexadecimal digits")
    if settings.FLASK_ENV == "production" and settings.MPESA_SHORTCODE == SANDBOX_SHORTCODE:
        faults.append("MPESA_SHORTCODE is the sandbox's")
    return faults


def _initiator_faults(settings: Settings) -> list[str]:
    """All three, or none: with none, refunds wait for a person."""
    given = {
        "MPESA_INITIATOR_NAME": settings.MPESA_INITIATOR_NAME,
        "MPESA_INITIATOR_PASSWORD": settings.MPESA_INITIATOR_PASSWORD,
        "MPESA_CERTIFICATE": settings.MPESA_CERTIFICATE,
    }
    if not any(given.values()):
        return []
    faults = [f"{name} is missing: refunds need all of {', '.join(given)}" for name, one in given.items() if not one]
    if SIMULATED_INITIATOR[1] == settings.MPESA_INITIATOR_PASSWORD:
        faults.append("MPESA_INITIATOR_PASSWORD is the simulator's, which everybody knows")
    if settings.MPESA_CERTIFICATE and not (
        settings.MPESA_CERTIFICATE.is_file() and os.access(settings.MPESA_CERTIFICATE, os.R_OK)
    ):
        faults.append("MPESA_CERTIFICATE is not a file that can be read")
    return faults


def passwords(addresses: Iterable[str]) -> Iterator[str]:
    """Those that stand in addresses, as they stand there and as they are meant."""
    for address in addresses:
        if password := _parts(address).password:
            yield from (password, unquote(password))


def _parts(address: str) -> SplitResult:
    """The address in parts; all of them empty where it cannot be split, which `_broken` tells."""
    try:
        return urlsplit(address)
    except ValueError:
        return urlsplit("")


def _repeats_itself(secret: str) -> bool:
    """Whether it is one letter, or one word, over and over: 32 random hex digits do not get shorter than this."""
    return len(zlib.compress(secret.encode(), 9)) < 28


def _broken(address: str) -> bool:
    try:
        parts = urlsplit(address)
        _ = parts.port
    except ValueError:
        return True
    return bool(address) and (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or any(char.isspace() for char in address)
        or bool(parts.query or parts.fragment or parts.username)
    )


def _is_origin(origin: str) -> bool:
    return not _broken(origin) and urlsplit(origin).path == "" and "*" not in origin
