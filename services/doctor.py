"""Looks over everything between us and Safaricom before money depends on it. Says what is wrong, and no secret."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from config import settings
from models import AccountStatus, MpesaLine, Role, User
from services import readiness, two_factor
from utils import clock
from utils.config_rules import SANDBOX_SHORTCODE, SIMULATED_C2B_SECRET
from utils.database import db, transaction
from utils.errors import Unavailable
from utils.mpesa import daraja
from utils.mpesa_credential import Certificate, describe_certificate
from utils.mpesa_setup import c2b_addresses, refused_words

#: Safaricom's limits (portal, "Transaction Status", FAQ): the initiator's password ends after so many days.
_PASSWORD_DAYS, _PASSWORD_WARN_DAYS = 90, 80
_KEY_BITS = 2048
_CLOCK_SECONDS = 60
_SOON = timedelta(days=30)
_DISTINCT_DIGITS = 8
_ADMINS = ("{} admin is", "{} admins are")

log = logging.getLogger(__name__)


class Grade(Enum):
    FINE = "ok"
    #: Works, but not as well as it could.
    WARNING = "warning"
    FAULT = "FAULT"


@dataclass(frozen=True)
class Finding:
    grade: Grade
    text: str


def examine() -> list[Finding]:
    """All there is to say, in the order of the questions. Never inside a transaction: it asks Daraja."""
    return [finding for question in QUESTIONS for finding in question()]


def _fine(text: str) -> Finding:
    return Finding(Grade.FINE, text)


def _warning(text: str) -> Finding:
    return Finding(Grade.WARNING, text)


def _fault(text: str) -> Finding:
    return Finding(Grade.FAULT, text)


# ── Our own house ─────────────────────────────────────────────────────────────────────────────────────────────────


def _database() -> Iterator[Finding]:
    try:
        with transaction():
            readiness.check()
        yield _fine("The database answers, and its schema is the code's.")
    except Unavailable as error:
        yield _fault(error.message)


def _admins() -> Iterator[Finding]:
    is_admin = (User.role == Role.ADMIN, User.status == AccountStatus.ACTIVE)
    try:
        with transaction() as session:
            found = session.scalar(select(User.id).where(*is_admin).limit(1))
    except SQLAlchemyError:
        return  # told above
    if found is None:
        yield _fault("There is no admin: nobody could look after money in quarantine (flask create-admin).")
    else:
        yield _fine("There is an admin.")


def _two_factor() -> Iterator[Finding]:
    try:
        with transaction():
            without = len(two_factor.admins_without())
    except SQLAlchemyError:
        return  # told above
    if without and settings.FLASK_ENV == "production":
        yield _warning(f"{_ADMINS[without > 1].format(without)} without two-factor log-in: a password alone opens all.")
    elif not without:
        yield _fine("Every admin logs in with two factors.")


def warn_of_admins() -> None:
    """Say in the log, as the server of production starts, what `_two_factor` warns of. No reason not to start."""
    for finding in _two_factor() if settings.FLASK_ENV == "production" else ():
        if finding.grade is Grade.WARNING:
            log.warning(finding.text)


def _alerts() -> Iterator[Finding]:
    if not settings.ALERT_URL:
        yield _warning("ALERT_URL is empty: alerts stand in the log and in their list, and call nobody.")
    else:
        yield _fine("Alerts are posted to ALERT_URL.")


# ── Daraja ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _access() -> Iterator[Finding]:
    try:
        is_open = daraja.check_access()
    except SQLAlchemyError:  # told above; processes share their token through the database
        return
    if is_open:
        yield _fine("Daraja gives an access token for the consumer key and secret.")
    else:
        yield _fault(
            f"No access token from {settings.MPESA_BASE_URL}: are MPESA_CONSUMER_KEY and MPESA_CONSUMER_SECRET of this"
            " environment, and its products approved?"
        )


def _clock() -> Iterator[Finding]:
    theirs = daraja.read_clock()
    if theirs is None:
        yield _warning("Daraja did not tell the time: see that this machine's clock is set by NTP.")
        return
    seconds = abs((clock.now() - theirs).total_seconds())
    if seconds > _CLOCK_SECONDS:
        yield _fault(
            f"The clock is {seconds:.0f} seconds off Daraja's, and the password of each push has the time in it."
        )
    else:
        yield _fine("The clock agrees with Daraja's.")


def _shop() -> Iterator[Finding]:
    faults = list(_shop_faults())
    yield from faults or [_fine("Shortcode, passkey, transaction type and party B are plausible.")]
    if not re.fullmatch(r"[0-9a-fA-F]{64}", settings.MPESA_PASSKEY):
        yield _warning("MPESA_PASSKEY is not 64 hexadecimal digits, as Safaricom's passkeys are.")


def _shop_faults() -> Iterator[Finding]:
    is_sandbox = settings.MPESA_SHORTCODE == SANDBOX_SHORTCODE
    is_till = settings.MPESA_TRANSACTION_TYPE == "CustomerBuyGoodsOnline"
    if not re.fullmatch(r"[0-9]{5,7}", settings.MPESA_SHORTCODE):
        yield _fault("MPESA_SHORTCODE must be five to seven digits.")
    if is_sandbox and settings.FLASK_ENV == "production":
        yield _fault("MPESA_SHORTCODE is the sandbox's.")
    if not settings.MPESA_PASSKEY:
        yield _fault("MPESA_PASSKEY is missing.")
    if is_till and is_sandbox:
        yield _fault("The sandbox's shortcode takes CustomerPayBillOnline only.")
    if is_till and settings.MPESA_PARTY_B in ("", settings.MPESA_SHORTCODE):
        yield _fault("For Buy Goods, MPESA_PARTY_B is the till, and MPESA_SHORTCODE the head office's number.")
    if not is_till and settings.MPESA_PARTY_B not in ("", settings.MPESA_SHORTCODE):
        yield _fault("For a Paybill, MPESA_PARTY_B is the shortcode: leave it empty.")


def _refunds() -> Iterator[Finding]:
    if not settings.MPESA_INITIATOR_NAME:
        yield _warning("MPESA_INITIATOR_NAME is empty: every refund waits for a person to send it.")
        return
    if not settings.MPESA_INITIATOR_PASSWORD:
        yield _fault("MPESA_INITIATOR_PASSWORD is missing: refunds would be refused.")
    yield from _password_age()
    yield from _certificate()


def _password_age() -> Iterator[Finding]:
    set_on = settings.MPESA_INITIATOR_PASSWORD_SET_ON
    if set_on is None:
        yield _fault("MPESA_INITIATOR_PASSWORD_SET_ON is missing: nobody will be told before the password ends.")
        return
    days = (clock.now().astimezone(clock.NAIROBI).date() - set_on).days
    if days < 0:
        yield _fault("MPESA_INITIATOR_PASSWORD_SET_ON is in the future.")
    elif days >= _PASSWORD_DAYS:
        yield _fault(f"The initiator's password is {days} days old: M-PESA ended it after {_PASSWORD_DAYS}.")
    elif days >= _PASSWORD_WARN_DAYS:
        yield _warning(f"The initiator's password is {days} days old, and ends after {_PASSWORD_DAYS}: set a new one.")
    else:
        yield _fine(f"The initiator's password is {days} days old.")


def _certificate() -> Iterator[Finding]:
    path = settings.MPESA_CERTIFICATE
    if path is None:
        yield _fault("MPESA_CERTIFICATE is missing: refunds need Safaricom's certificate.")
        return
    try:
        certificate = describe_certificate(path.read_bytes())
    except OSError:
        yield _fault("MPESA_CERTIFICATE cannot be read.")
        return
    except ValueError:
        yield _fault("MPESA_CERTIFICATE is no certificate with an RSA key.")
        return
    faults = list(_certificate_faults(certificate, path.name))
    yield from faults or [_fine(f"The certificate is {certificate.subject}, until {certificate.not_after:%Y-%m-%d}.")]


def _certificate_faults(certificate: Certificate, name: str) -> Iterator[Finding]:
    if certificate.key_bits < _KEY_BITS:
        yield _fault(f"The certificate's key has {certificate.key_bits} bits: Safaricom's have {_KEY_BITS} or more.")
    if certificate.not_after <= clock.now():
        yield _fault(f"The certificate ended on {certificate.not_after:%Y-%m-%d}: get the new one from the portal.")
    elif certificate.not_after <= clock.now() + _SOON:
        yield _warning(f"The certificate ends on {certificate.not_after:%Y-%m-%d}.")
    # Only their names tell them apart: on the portal they are SandboxCertificate.cer and ProductionCertificate.cer.
    is_sandbox = "sandbox" in f"{certificate.subject} {name}".lower()
    is_production = "production" in f"{certificate.subject} {name}".lower()
    if is_sandbox and settings.FLASK_ENV == "production":
        yield _fault("The certificate seems to be the sandbox's.")
    if is_production and not is_sandbox and settings.FLASK_ENV == "staging":
        yield _fault("The certificate seems to be that of production.")


# ── Safaricom's posts to us ───────────────────────────────────────────────────────────────────────────────────────


def _callback() -> Iterator[Finding]:
    address = settings.CALLBACK_URL
    faults = []
    if not address.startswith("https://"):
        faults.append(_fault("CALLBACK_URL must be an https:// address."))
    if address != address.lower():
        faults.append(_fault("CALLBACK_URL must be in lower case: Safaricom has refused others."))
    yield from faults or [_fine("CALLBACK_URL is https and in lower case.")]


def _paybill() -> Iterator[Finding]:
    secret = settings.MPESA_C2B_SECRET
    if not secret:
        yield _warning("MPESA_C2B_SECRET is empty: nobody can pay by Paybill, and a lost callback is found later.")
        return
    faults = []
    if (
        secret == SIMULATED_C2B_SECRET
        or len(set(secret)) < _DISTINCT_DIGITS
        or not re.fullmatch("[0-9a-f]{32}", secret)
    ):
        faults.append(_fault("MPESA_C2B_SECRET is weak: give 32 random hexadecimal digits (openssl rand -hex 16)."))
    _, confirmation = c2b_addresses(settings.CALLBACK_URL, secret)
    words = refused_words(confirmation.replace(secret, ""))
    if words:
        faults.append(_fault(f"Safaricom refuses Paybill addresses with these words in them: {', '.join(words)}."))
    yield from faults or [_fine("The Paybill addresses are as Safaricom wants them, with a good secret.")]


def _callers() -> Iterator[Finding]:
    is_public = settings.FLASK_ENV in ("staging", "production")
    if not settings.MPESA_CALLBACK_ADDRESSES:
        tell = _warning if is_public else _fine
        yield tell("Posts from any address are believed (MPESA_CALLBACK_ADDRESSES): their secret alone protects them.")
    elif not settings.TRUSTED_PROXIES:
        yield _fault(
            "MPESA_CALLBACK_ADDRESSES lists who is believed, but TRUSTED_PROXIES is 0: behind a proxy every post seems"
            " to come from the proxy, and none of Safaricom's is believed."
        )
    else:
        yield _fine(f"Posts are believed from {len(settings.MPESA_CALLBACK_ADDRESSES)} addresses or networks.")


def _pull() -> Iterator[Finding]:
    if settings.PULL_MINUTES <= 0:
        yield _warning("PULL_MINUTES is 0: money that nobody told us of is found by a statement alone.")
        return
    try:
        with transaction():
            pulled_until = db.session.scalar(select(MpesaLine.pulled_until).where(MpesaLine.id == 1))
    except SQLAlchemyError:
        return  # told above
    if pulled_until is None:
        yield _warning("M-PESA's list of transactions was never read: run flask mpesa register, and the worker.")
    elif pulled_until < clock.ago(hours=1, minutes=settings.PULL_MINUTES):
        yield _warning(f"M-PESA's list of transactions was read last at {clock.to_nairobi(pulled_until)}.")
    else:
        yield _fine("M-PESA's list of transactions is being read.")


QUESTIONS: tuple[Callable[[], Iterator[Finding]], ...] = (
    _database,
    _admins,
    _two_factor,
    _access,
    _clock,
    _shop,
    _refunds,
    _callback,
    _paybill,
    _callers,
    _pull,
    _alerts,
)
