"""Notifications in words: what an e-mail says of the facts of each kind."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from config import ROOT, settings
from models import OPTIONAL_NOTIFICATIONS, Notification, NotificationKind
from services import account_letters, preferences
from services.stationery import Facts, Letter, day_and_time
from utils import clock, money, ticket_address

#: A name people have. An account can be opened with somebody else's address, to send them "names" that advertise.
_NAME = re.compile(r"[^\W\d_]+(?:[ '\u2019-][^\W\d_]+){0,3}")
_LONGEST_NAME, _LONGEST_TITLE = 40, 90

_REASONS = {
    "sold_out": "Your payment came after your places had been given free, and the tickets were sold out by then.",
    "paid_twice": "You paid for this order more than once.",
    "event_cancelled": "The event has been cancelled.",
    "event_over": "Your payment came after the event was over.",
    "order_cancelled": "Your payment came after you had cancelled the order.",
    "bought_again": "Your payment came late, and you had bought the same tickets again by then.",
    "requested": "Your tickets for this order are no longer valid.",
    "quarantined": "Your payment did not fit the order.",
}
_ENCLOSED = "With this message come files: what to print, and the date for your calendar."
_ANOTHER_REASON = "Your payment came when no tickets were sold for this event."


# ── E-mail ────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Rendered:
    subject: str
    text: str
    html: str
    unsubscribe_url: str | None


def render(message: Notification, *, encloses: bool = False) -> Rendered:
    """The e-mail that tells of it; it says so when tickets and date go with it (`services.enclosures`)."""
    facts = message.facts
    letter = _WORDS[message.kind](facts, message.user_id)
    if encloses:
        letter = replace(letter, paragraphs=[*letter.paragraphs, _ENCLOSED])
    url = None
    if message.kind in OPTIONAL_NOTIFICATIONS and message.user_id is not None:
        url = preferences.unsubscribe_url(user_id=message.user_id, kind=message.kind)
    values = {"letter": letter, "name": _name(facts), "unsubscribe_url": url, "home": settings.frontend_url}
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


def _name(facts: Facts) -> str | None:
    return as_name(facts["first_name"])


def as_name(told: str) -> str | None:
    name = " ".join(str(told).split())
    return name if len(name) <= _LONGEST_NAME and _NAME.fullmatch(name) else None


def _order_paid(facts: Facts, user_id: int | None) -> Letter:
    event, count = facts["event"], len(facts["tickets"])
    tickets = "ticket" if count == 1 else f"{count} tickets"
    paid = money.in_words(facts["paid_kes"]) if facts["paid_kes"] else "Free"
    details = [*_place(event), ("Order", facts["order"]), ("Paid", paid)]
    if facts["receipt"]:
        details.append(("M-PESA receipt", facts["receipt"]))
    return Letter(
        subject=f"Your {tickets} for {_title(event)}",
        heading=_title(event),
        paragraphs=[
            "Thank you, your order is paid." if facts["paid_kes"] else "Thank you for your order.",
            f"Show {'this code' if count == 1 else 'these codes'} at the entrance, one for each person.",
        ],
        codes=[(ticket["code"], ticket["type"]) for ticket in facts["tickets"]],
        details=details,
        action=("See my tickets", link_to_tickets(facts, user_id)),
        remarks=["Who has a code can use it: please share it only with whom it is for."],
    )


def _payment_failed(facts: Facts, _user_id: int | None) -> Letter:
    event = facts["event"]
    return Letter(
        subject=f"No payment, no tickets: {_title(event)}",
        heading="Your order has ended",
        paragraphs=[
            f"M-PESA told us that your payment for {_title(event)} did not go through.",
            "Your order has ended without tickets. You can order again as long as there are some.",
        ],
        details=[*_place(event), ("Order", facts["order"])],
        action=("Order again", _event_page(event)),
        remarks=[
            "Was money taken all the same? You get your tickets or your money back by itself.",
            "If neither comes, enter the code of M-PESA's message with your order.",
        ],
    )


def _refund_started(facts: Facts, user_id: int | None) -> Letter:
    event, amount = facts["event"], money.in_words(facts["amount_kes"])
    return Letter(
        subject=f"{amount} is on its way back to you",
        heading=f"{amount} goes back to you",
        paragraphs=[
            _REASONS.get(facts["reason"], _ANOTHER_REASON),
            "We send the money back by M-PESA, and tell you once it is there. You need not do anything.",
        ],
        details=[("Event", _title(event)), ("Order", facts["order"]), ("Amount", amount)],
        action=("See my orders", _profile(user_id)),
    )


def _refund_done(facts: Facts, _user_id: int | None) -> Letter:
    event, amount = facts["event"], money.in_words(facts["amount_kes"])
    details = [("Event", _title(event)), ("Order", facts["order"]), ("Amount", amount)]
    if facts["receipt"]:
        details.append(("M-PESA receipt", facts["receipt"]))
    return Letter(
        subject=f"{amount} has been paid back to you",
        heading=f"{amount} is back with you",
        paragraphs=[
            f"Your money for {_title(event)} has been sent back to the M-PESA account it came from.",
            _REASONS.get(facts["reason"], _ANOTHER_REASON),
        ],
        details=details,
    )


def _event_approved(facts: Facts, _user_id: int | None) -> Letter:
    event = facts["event"]
    return Letter(
        subject=f"{_title(event)} is published",
        heading="Your event is published",
        paragraphs=[f"{_title(event)} has been approved. Everybody can find it now, and its tickets are on sale."],
        details=_place(event),
        action=("See the event", _event_page(event)),
    )


def _event_rejected(facts: Facts, _user_id: int | None) -> Letter:
    event = facts["event"]
    return Letter(
        subject=f"{_title(event)} was not approved",
        heading="Your event was not approved",
        paragraphs=[
            f"We looked at {_title(event)} and cannot publish it as it is.",
            "Change what is said below, and we look at it again.",
        ],
        details=[("Reason", facts["reason"] or "None was given."), *_place(event)],
        action=("Open Ticksy", settings.frontend_url),
    )


def _event_changed(facts: Facts, user_id: int | None) -> Letter:
    event = facts["event"]
    details = [("Event", _title(event)), *_place(event)]
    if facts["was_at"] != event["starts_at"]:
        details.append(("Began before", day_and_time(datetime.fromisoformat(facts["was_at"]))))
    if facts["was_in"] != event["location"]:
        details.append(("Was before at", facts["was_in"]))
    return Letter(
        subject=f"Changed: {_title(event)}, {short_time(event)}",
        heading="Your event has changed",
        paragraphs=[f"The organizer has changed {_title(event)}. Your tickets stay valid. This is how it is now."],
        details=details,
        action=("See my tickets", link_to_tickets(facts, user_id)),
    )


def _event_cancelled(facts: Facts, user_id: int | None) -> Letter:
    event, paid_kes = facts["event"], int(facts["paid_kes"])
    paragraphs = [f"{_title(event)} has been cancelled, and will not take place. We are sorry."]
    if paid_kes:
        paragraphs.append(
            "What you paid goes back to you by M-PESA. You need not do anything, and we tell you once it is there."
        )
    return Letter(
        subject=f"Cancelled: {_title(event)}, {short_time(event)}",
        heading="Your event is cancelled",
        paragraphs=paragraphs,
        details=[("Event", _title(event)), *_place(event)],
        action=("See my tickets", link_to_tickets(facts, user_id)),
    )


def _event_reminder(facts: Facts, user_id: int | None) -> Letter:
    event = facts["event"]
    return Letter(
        subject=f"Soon: {_title(event)}, {short_time(event)}",
        heading=_title(event),
        paragraphs=["It is nearly time. Have your codes at hand at the entrance: they are with your tickets."],
        details=_place(event),
        action=("See my tickets", link_to_tickets(facts, user_id)),
    )


def _review_invitation(facts: Facts, user_id: int | None) -> Letter:
    event = facts["event"]
    return Letter(
        subject=f"How was {_title(event)}?",
        heading=f"How was {_title(event)}?",
        paragraphs=["Give it one to five stars, and say what others should know. It takes a minute."],
        details=_place(event),
        action=("Write a review", _profile(user_id)),
    )


def _transfer_offered(facts: Facts, _user_id: int | None) -> Letter:
    event, sender = facts["event"], as_name(facts["sender"]) or "Somebody"
    return Letter(
        subject=f"{sender} gives you a ticket for {_title(event)}",
        heading=f"A ticket for {_title(event)}",
        paragraphs=[
            f"{sender} would like to give you this ticket. It is yours once you have opened the link and accepted it.",
            "You need no account, and accepting costs nothing.",
        ],
        details=[*_place(event), ("Ticket", facts["type"])],
        action=("Look at the ticket", link_to_offer(facts)),
        remarks=[
            "Who has this link can accept the ticket, once: please keep it to yourself.",
            "Are you asked to pay for it? Do so only to somebody you know. The old codes end when you accept.",
        ],
        why="You get this since somebody gave us your address to send you a ticket. If you do not want it, do nothing.",
    )


def _transfer_accepted(facts: Facts, user_id: int | None) -> Letter:
    event, receiver = facts["event"], as_name(facts["receiver"]) or "Who you sent it to"
    return Letter(
        subject=f"Your ticket for {_title(event)} has been accepted",
        heading=f"{receiver} has your ticket",
        paragraphs=[f"{receiver} has accepted your ticket for {_title(event)}. Your QR code and your code have ended."],
        details=[*_place(event), ("Ticket", facts["type"])],
        action=("Open Ticksy", link_to_tickets(facts, user_id)),
    )


def _ticket_received(facts: Facts, _user_id: int | None) -> Letter:
    event = facts["event"]
    return Letter(
        subject=f"Your ticket for {_title(event)}",
        heading=_title(event),
        paragraphs=["The ticket is yours now. Show its QR code at the entrance."],
        details=[*_place(event), ("Ticket", facts["type"])],
        action=("Show my ticket", link_to_page(facts)),
        remarks=["Who has this link can go in with your ticket: please keep it to yourself."],
    )


def _ticket_reissued(facts: Facts, _user_id: int | None) -> Letter:
    event = facts["event"]
    return Letter(
        subject=f"Your new ticket for {_title(event)}",
        heading=_title(event),
        paragraphs=["Your ticket has been issued anew. What you had of it before lets nobody in any more."],
        details=[*_place(event), ("Ticket", facts["type"])],
        action=("Show my ticket", link_to_page(facts)),
        remarks=["Who has this link can go in with your ticket: please keep it to yourself."],
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
    NotificationKind.TRANSFER_OFFERED: _transfer_offered,
    NotificationKind.TRANSFER_ACCEPTED: _transfer_accepted,
    NotificationKind.TICKET_RECEIVED: _ticket_received,
    NotificationKind.TICKET_REISSUED: _ticket_reissued,
    NotificationKind.VERIFY_EMAIL: account_letters.verify_email,
    NotificationKind.PASSWORD_RESET: account_letters.password_reset,
    NotificationKind.PASSWORD_CHANGED: account_letters.password_changed,
    NotificationKind.EMAIL_CHANGE: account_letters.email_change,
    NotificationKind.EMAIL_CHANGED: account_letters.email_changed,
}


# ── Words that several need ───────────────────────────────────────────────────────────────────────────────────────


def _title(event: Facts) -> str:
    title = " ".join(event["title"].split())
    return title if len(title) <= _LONGEST_TITLE else title[: _LONGEST_TITLE - 1].rstrip() + "…"


def _place(event: Facts) -> list[tuple[str, str]]:
    return [("When", _time_span(event)), ("Where", " ".join(event["location"].split()))]


def _time_span(event: Facts) -> str:
    start, end = _start(event), datetime.fromisoformat(event["ends_at"]).astimezone(clock.NAIROBI)
    if start.date() == end.date():
        return f"{day_and_time(start)} to {end:%H:%M}"
    return f"{day_and_time(start)} to {day_and_time(end)}"


def _start(event: Facts) -> datetime:
    return datetime.fromisoformat(event["starts_at"]).astimezone(clock.NAIROBI)


def short_time(event: Facts) -> str:
    start = _start(event)
    return f"{start:%a} {start.day} {start:%b}, {start:%H:%M}"


def link_to_tickets(facts: Facts, user_id: int | None) -> str:
    """The page of the frontend with one's tickets; of who has no account, that of their ticket."""
    if user_id is None:
        return link_to_page(facts) if "ticket" in facts else settings.frontend_url
    return _profile(user_id)


def _profile(user_id: int | None) -> str:
    return f"{settings.frontend_url}/attendee/{user_id}/profile"


def link_to_page(facts: Facts) -> str:
    """The page of a ticket, which needs no login."""
    ticket_id, rotation = facts["ticket"]
    return f"{settings.PUBLIC_URL}/t/{ticket_address.make(ticket_id, rotation)}"


def link_to_offer(facts: Facts) -> str:
    """The page that accepts a ticket."""
    return f"{settings.PUBLIC_URL}/transfers/{ticket_address.make_offer(facts['transfer'])}"


def _event_page(event: Facts) -> str:
    return f"{settings.frontend_url}/events/{event['id']}"
