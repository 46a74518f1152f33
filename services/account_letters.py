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
            "Somebody has opened an account at Ticksy with it. If that was you, please say so with the button.",
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
            "Somebody has asked for a new password for your account. If that was you, choose one with the button.",
            "If it was not, you need not do anything: your password stays as it is.",
        ],
        action=("Choose a new password", one_time.link(facts)),
        remarks=["The link works once, within an hour. Give it to nobody: we never ask for it."],
    )


def password_changed(facts: Facts, _user_id: int | None) -> Letter:
    moment = datetime.fromisoformat(facts["at"]).astimezone(clock.NAIROBI)
    return Letter(
        subject="Your password has been changed",
        heading="Your password has been changed",
        paragraphs=[
            f"This was on {day_and_time(moment)}. You have been logged out everywhere else.",
            "If it was not you, ask for a new password at once, and tell us.",
        ],
        action=("Open Ticksy", settings.frontend_url),
    )


def email_change(facts: Facts, _user_id: int | None) -> Letter:
    return Letter(
        subject="Is this your new e-mail address?",
        heading="Is this your new e-mail address?",
        paragraphs=[
            "Somebody wants to use it for an account at Ticksy from now on. If that was you, please say so here.",
            "Until then the account keeps the address it has. If it was not you, you need not do anything.",
        ],
        action=("Yes, use this address", one_time.link(facts)),
        remarks=["The link works once, within a day."],
    )


def email_changed(facts: Facts, _user_id: int | None) -> Letter:
    return Letter(
        subject="Your e-mail address has been changed",
        heading="Your account has another e-mail address now",
        paragraphs=[
            f"It is {facts['new_address']}. We write to that one from now on, and no more to this.",
            "If it was not you who changed it, take it back with the button.",
            "Your account gets this address again, all are logged out, and you are sent a link to a new password.",
        ],
        action=("It was not me", one_time.link(facts)),
        remarks=["The link works once, within seven days."],
    )
