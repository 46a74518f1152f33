"""Notifications in words: what an e-mail says of the facts of each kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from config import ROOT, settings
from models import OPTIONAL_NOTIFICATIONS, Notification, NotificationKind
from services import account_letters, preferences, ticket_letters
from services.stationery import (
    Facts,
    Letter,
    as_name,
    day_and_time,
    describe,
    full_title,
    link_to_event,
    link_to_profile,
    link_to_tickets,
    place,
    short_time,
    short_title,
)
from utils import money
from utils.mail import File

_REASONS = {
    "sold_out": "Your payment came after your places had been given up, and the tickets were sold out by then.",
    "paid_twice": "You paid for this order more than once.",
    "event_cancelled": "The event has been cancelled.",
    "event_over": "Your payment came after the event was over.",
    "order_cancelled": "Your payment came after you had cancelled the order.",
    "bought_again": "Your payment came late, and you had bought the same tickets again by then.",
    "requested": "The tickets it was paid for are no longer valid.",
    "quarantined": "Your payment did not fit the order.",
}
_ANOTHER_REASON = "Your payment came when no tickets were sold for this event."


# ── E-mail ────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Rendered:
    subject: str
    text: str
    html: str
    unsubscribe_url: str | None


def render(message: Notification, *, files: Sequence[File] = ()) -> Rendered:
    """The e-mail that tells of it, and of the files that go with it (`services.enclosures`)."""
    facts = message.facts
    letter = _WORDS[message.kind](facts, message.user_id)
    if files:
        letter = replace(letter, paragraphs=[*letter.paragraphs, _name_files(files)])
    url = None
    if message.kind in OPTIONAL_NOTIFICATIONS and message.user_id is not None:
        url = preferences.unsubscribe_url(user_id=message.user_id, kind=message.kind)
    name = as_name(facts["first_name"])
    values = {"letter": letter, "name": name, "unsubscribe_url": url, "home": settings.frontend_url}
    templates = _templates()
    text = templates.get_template("letter.txt").render(values)
    return Rendered(letter.subject, text, templates.get_template("letter.html").render(values), url)


@cache
def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(ROOT / "templates" / "mail"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _name_files(files: Sequence[File]) -> str:
    printed = "a PDF to print, and " if any(file.kind == "application/pdf" for file in files) else ""
    return f"Attached: {printed}the date for your calendar."


def _order_paid(facts: Facts, user_id: int | None) -> Letter:
    event, count = facts["event"], len(facts["tickets"])
    tickets = "ticket" if count == 1 else f"{count} tickets"
    paid = money.in_words(facts["paid_kes"]) if facts["paid_kes"] else "Free"
    details = [*place(event), ("Order", facts["order"]), ("Paid", paid)]
    if facts["receipt"]:
        details.append(("M-PESA receipt", facts["receipt"]))
    return Letter(
        subject=f"Your {tickets} for {short_title(event)}",
        heading=full_title(event),
        paragraphs=[
            "Thank you, your order is paid." if facts["paid_kes"] else "Thank you for your order.",
            "Show this code at the entrance."
            if count == 1
            else "Show these codes at the entrance, one for each person.",
        ],
        codes=[(ticket["code"], ticket["type"]) for ticket in facts["tickets"]],
        details=details,
        action=("See my tickets", link_to_tickets(facts, user_id)),
        remarks=["Whoever has a code can use it: please give it only to the person it is for."],
    )


def _payment_failed(facts: Facts, _user_id: int | None) -> Letter:
    event = facts["event"]
    return Letter(
        subject=f"No payment, no tickets: {short_title(event)}",
        heading="Your order has ended",
        paragraphs=[
            "M-PESA told us that your payment did not go through, so your order has ended without tickets.",
            "You can order again as long as there are tickets.",
        ],
        details=[*describe(event), ("Order", facts["order"]), ("Amount", money.in_words(facts["amount_kes"]))],
        action=("Order again", link_to_event(event)),
        remarks=[
            "Was money taken all the same? Then the tickets, or the money, will come by themselves.",
            "If neither arrives, open your order and enter the code in M-PESA's message.",
        ],
    )


def _refund_started(facts: Facts, user_id: int | None) -> Letter:
    event, amount = facts["event"], money.in_words(facts["amount_kes"])
    return Letter(
        subject=f"{amount} is on its way back to you",
        heading=f"{amount} goes back to you",
        paragraphs=[
            _REASONS.get(facts["reason"], _ANOTHER_REASON),
            "We are sending the money back by M-PESA, and tell you once it is there. You need not do anything.",
        ],
        details=[("Event", full_title(event)), ("Order", facts["order"]), ("Amount", amount)],
        action=("See my orders", link_to_profile(user_id)),
    )


def _refund_done(facts: Facts, user_id: int | None) -> Letter:
    event, amount = facts["event"], money.in_words(facts["amount_kes"])
    details = [("Event", full_title(event)), ("Order", facts["order"]), ("Amount", amount)]
    if facts["receipt"]:
        details.append(("M-PESA receipt", facts["receipt"]))
    return Letter(
        subject=f"{amount} has been paid back to you",
        heading=f"{amount} is back with you",
        paragraphs=[
            "Your money has been sent back by M-PESA.",
            _REASONS.get(facts["reason"], _ANOTHER_REASON),
        ],
        details=details,
        action=("See my orders", link_to_profile(user_id)),
    )


def _event_approved(facts: Facts, _user_id: int | None) -> Letter:
    event = facts["event"]
    return Letter(
        subject=f"{short_title(event)} is published",
        heading="Your event is published",
        paragraphs=["It has been approved: everybody can find it now, and its tickets are on sale."],
        details=describe(event),
        action=("See the event", link_to_event(event)),
    )


def _event_rejected(facts: Facts, _user_id: int | None) -> Letter:
    event = facts["event"]
    return Letter(
        subject=f"{short_title(event)} was not approved",
        heading="Your event was not approved",
        paragraphs=[
            "We looked at it, and cannot publish it as it is.",
            "Please change what the reason below names, and we will look at it again.",
        ],
        details=[("Reason", facts["reason"] or "None was given."), *describe(event)],
        action=("Open Ticksy", settings.frontend_url),
    )


def _event_changed(facts: Facts, user_id: int | None) -> Letter:
    event = facts["event"]
    details = describe(event)
    if facts["was_at"] != event["starts_at"]:
        details.append(("Start before the change", day_and_time(datetime.fromisoformat(facts["was_at"]))))
    if facts["was_in"] != event["location"]:
        details.append(("Place before the change", " ".join(facts["was_in"].split())))
    return Letter(
        subject=f"Changed: {short_title(event)}, {short_time(event)}",
        heading="Your event has changed",
        paragraphs=["The organizer has changed its time or place. Your tickets stay valid. This is how it is now:"],
        details=details,
        action=("See my tickets", link_to_tickets(facts, user_id)),
    )


def _event_cancelled(facts: Facts, user_id: int | None) -> Letter:
    event, paid_kes = facts["event"], int(facts["paid_kes"])
    paragraphs = ["It has been cancelled, and will not take place. We are sorry."]
    if paid_kes:
        paragraphs.append(
            "We send what you paid back by M-PESA, and tell you once it is there. You need not do anything."
        )
    return Letter(
        subject=f"Cancelled: {short_title(event)}, {short_time(event)}",
        heading="Your event is cancelled",
        paragraphs=paragraphs,
        details=describe(event),
        action=("See my tickets", link_to_tickets(facts, user_id)),
    )


def _event_reminder(facts: Facts, user_id: int | None) -> Letter:
    event = facts["event"]
    return Letter(
        subject=f"Soon: {short_title(event)}, {short_time(event)}",
        heading=full_title(event),
        paragraphs=["It is nearly time. Please have your codes ready at the entrance: they are with your tickets."],
        details=place(event),
        action=("See my tickets", link_to_tickets(facts, user_id)),
    )


def _review_invitation(facts: Facts, user_id: int | None) -> Letter:
    event = facts["event"]
    return Letter(
        subject=f"How was {short_title(event)}?",
        heading=f"How was {full_title(event)}?",
        paragraphs=["Give it one to five stars, and say what others should know. It takes a minute."],
        details=place(event),
        action=("Write a review", link_to_profile(user_id)),
    )


_WORDS: dict[NotificationKind, Callable[[Facts, int | None], Letter]] = {
    NotificationKind.ORDER_PAID: _order_paid,
    NotificationKind.PAYMENT_FAILED: _payment_failed,
    NotificationKind.REFUND_STARTED: _refund_started,
    NotificationKind.REFUND_DONE: _refund_done,
    NotificationKind.EVENT_APPROVED: _event_approved,
    NotificationKind.EVENT_REJECTED: _event_rejected,
    NotificationKind.EVENT_CHANGED: _event_changed,
    NotificationKind.EVENT_CANCELLED: _event_cancelled,
    NotificationKind.EVENT_REMINDER: _event_reminder,
    NotificationKind.REVIEW_INVITATION: _review_invitation,
    NotificationKind.TRANSFER_OFFERED: ticket_letters.transfer_offered,
    NotificationKind.TRANSFER_ACCEPTED: ticket_letters.transfer_accepted,
    NotificationKind.TICKET_RECEIVED: ticket_letters.ticket_received,
    NotificationKind.TICKET_REISSUED: ticket_letters.ticket_reissued,
    NotificationKind.TICKET_ENDED: ticket_letters.ticket_ended,
    NotificationKind.VERIFY_EMAIL: account_letters.verify_email,
    NotificationKind.PASSWORD_RESET: account_letters.password_reset,
    NotificationKind.PASSWORD_CHANGED: account_letters.password_changed,
    NotificationKind.EMAIL_CHANGE: account_letters.email_change,
    NotificationKind.EMAIL_CHANGED: account_letters.email_changed,
}
