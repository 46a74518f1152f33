"""Those who carry messages, e-mail and text messages, as the settings name them."""

from __future__ import annotations

from collections.abc import Callable

from utils import mail, sms
from utils.callers import LOOPBACK


def faults(*, mail_url: str, mail_from: str, sms_url: str, may_be_clear: bool) -> list[str]:
    """What is wrong with MAIL_URL, MAIL_FROM and SMS_URL, each empty where it is not set."""
    told = _fault("MAIL_URL", mail_url, mail.parse_url) + _fault("MAIL_FROM", mail_from, mail.parse_address)
    if mail_url and not mail_from:
        told.append("MAIL_FROM is missing: MAIL_URL needs it")
    if mail_url and not told and not may_be_clear:
        server = mail.parse_url(mail_url)
        if server.user and server.security == "plain" and server.host not in LOOPBACK:
            told.append("MAIL_URL would send its password in the clear: use smtps:// or ?starttls")
    return told + _fault("SMS_URL", sms_url, sms.connect)


def _fault(name: str, value: str, check: Callable[[str], object]) -> list[str]:
    try:
        if value:
            check(value)
    except ValueError as error:
        return [f"{name} {error}"]
    return []
