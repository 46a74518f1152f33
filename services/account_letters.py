"""E-mails about somebody's account, most of them with a link that works once."""

from __future__ import annotations

from datetime import datetime

from config import settings
from services import one_time
from services.stationery import Facts, Letter, day_and_time
from utils import clock


def verify_email(facts: Facts, _user_id: int | None) -> Letter:
    return Letter(
        subject="Is this your e-mail address?",
        heading="Is this your e-mail address?",
        paragraphs=[
            "Somebody has opened an account at Ticksy with this address. If it was you, please confirm it.",
            "If it was not, you need not do anything.",
        ],
        action=("Yes, it is mine", one_time.link(facts)),
        remarks=["The link works once, within three days."],
    )


def password_reset(facts: Facts, _user_id: int | None) -> Letter:
    return Letter(
        subject="A new password for Ticksy",
        heading="Choose a new password",
        paragraphs=[
            "Somebody has asked for a new password for your account. If it was you, choose one with the button.",
            "If it was not, you need not do anything: your password stays as it is.",
        ],
        action=("Choose a new password", one_time.link(facts)),
        remarks=["The link works once, within an hour. Give it to nobody: we will never ask you for it."],
    )


def password_changed(facts: Facts, _user_id: int | None) -> Letter:
    moment = datetime.fromisoformat(facts["at"]).astimezone(clock.NAIROBI)
    return Letter(
        subject="Your password has been changed",
        heading="Your password has been changed",
        paragraphs=[
            f"It was changed on {day_and_time(moment)}. All other devices have been logged out.",
            "If it was not you, ask for a new password at once.",
        ],
        action=("Open Ticksy", settings.frontend_url),
    )


def email_change(facts: Facts, _user_id: int | None) -> Letter:
    return Letter(
        subject="Is this your new e-mail address?",
        heading="Is this your new e-mail address?",
        paragraphs=[
            "Somebody wants to use this address for an account at Ticksy. If it is you, please confirm it.",
            "Until then the account keeps its old address. If it was not you, you need not do anything.",
        ],
        action=("Yes, use this address", one_time.link(facts)),
        remarks=["The link works once, within a day."],
    )


def email_changed(facts: Facts, _user_id: int | None) -> Letter:
    return Letter(
        subject="Your e-mail address has been changed",
        heading="Your e-mail address has been changed",
        paragraphs=[
            f"Your account's address is now {facts['new_address']}. From now on we write there.",
            "If it was not you who changed it, take it back with the button.",
            "Then it has this address again, all devices are logged out, and you get a link to choose a new password.",
        ],
        action=("It was not me", one_time.link(facts)),
        remarks=["The link works once, within seven days."],
    )
