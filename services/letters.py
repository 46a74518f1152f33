"""Notifications in words: what an e-mail and a text message say of the facts of each kind."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from config import ROOT, settings
from models import OPTIONAL_NOTIFICATIONS, Notification, NotificationKind
from services import preferences
from utils import clock, money, sms

Facts = dict[str, Any]

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


@dataclass(frozen=True)
class Letter:
    """What an e-mail says, for the one layout that all of them have."""

    subject: str
    heading: str
    paragraphs: Sequence[str]
    #: Things to look up: (what, value).
    details: Sequence[tuple[str, str]] = ()
    #: Tickets: (code, type).
    codes: Sequence[tuple[str, str]] = ()
    #: A button: (what it says, where it goes).
    action: tuple[str, str] | None = None
    #: Said below all else.
    remarks: Sequence[str] = field(default=())


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
    if message.kind in OPTIONAL_NOTIFICATIONS:
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
    name = " ".join(str(facts["first_name"]).split())
    return name if len(name) <= _LONGEST_NAME and _NAME.fullmatch(name) else None


def _order_paid(facts: Facts, user_id: int) -> Letter:
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
        action=("See my tickets", _profile(user_id)),
        remarks=["Who has a code can use it: please share it only with whom it is for."],
    )


def _payment_failed(facts: Facts, _user_id: int) -> Letter:
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


def _refund_started(facts: Facts, user_id: int) -> Letter:
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


def _refund_done(facts: Facts, _user_id: int) -> Letter:
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


def _event_approved(facts: Facts, _user_id: int) -> Letter:
    event = facts["event"]
    return Letter(
        subject=f"{_title(event)} is published",
        heading="Your event is published",
        paragraphs=[f"{_title(event)} has been approved. Everybody can find it now, and its tickets are on sale."],
        details=_place(event),
        action=("See the event", _event_page(event)),
    )


def _event_rejected(facts: Facts, _user_id: int) -> Letter:
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


def _event_changed(facts: Facts, user_id: int) -> Letter:
    event = facts["event"]
    details = [("Event", _title(event)), *_place(event)]
    if facts["was_at"] != event["starts_at"]:
        details.append(("Began before", _day_and_time(datetime.fromisoformat(facts["was_at"]))))
    if facts["was_in"] != event["location"]:
        details.append(("Was before at", facts["was_in"]))
    return Letter(
        subject=f"Changed: {_title(event)}, {_short_time(event)}",
        heading="Your event has changed",
        paragraphs=[f"The organizer has changed {_title(event)}. Your tickets stay valid. This is how it is now."],
        details=details,
        action=("See my tickets", _profile(user_id)),
    )


def _event_cancelled(facts: Facts, user_id: int) -> Letter:
    event, paid_kes = facts["event"], int(facts["paid_kes"])
    paragraphs = [f"{_title(event)} has been cancelled, and will not take place. We are sorry."]
    if paid_kes:
        paragraphs.append(
            "What you paid goes back to you by M-PESA. You need not do anything, and we tell you once it is there."
        )
    return Letter(
        subject=f"Cancelled: {_title(event)}, {_short_time(event)}",
        heading="Your event is cancelled",
        paragraphs=paragraphs,
        details=[("Event", _title(event)), *_place(event)],
        action=("See my tickets", _profile(user_id)),
    )


def _event_reminder(facts: Facts, user_id: int) -> Letter:
    event = facts["event"]
    return Letter(
        subject=f"Soon: {_title(event)}, {_short_time(event)}",
        heading=_title(event),
        paragraphs=["It is nearly time. Have your codes at hand at the entrance: they are with your tickets."],
        details=_place(event),
        action=("See my tickets", _profile(user_id)),
    )


def _review_invitation(facts: Facts, user_id: int) -> Letter:
    event = facts["event"]
    return Letter(
        subject=f"How was {_title(event)}?",
        heading=f"How was {_title(event)}?",
        paragraphs=["Give it one to five stars, and say what others should know. It takes a minute."],
        details=_place(event),
        action=("Write a review", _profile(user_id)),
    )


_WORDS: dict[NotificationKind, Callable[[Facts, int], Letter]] = {
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
}


# ── Text messages ─────────────────────────────────────────────────────────────────────────────────────────────────

#: A piece of a title that tells an event from others, and a link that leaves room for it and for a code.
_SHORTEST_TITLE, _LONGEST_LINK = 10, 70


def write_text(message: Notification) -> str:
    """What a text message says, in one message of it. Only for kinds that are texted."""
    facts, event = message.facts, message.facts["event"]
    link = _profile(message.user_id)
    end = f" {link}" if sms.length(link) <= _LONGEST_LINK else ""
    if message.kind is NotificationKind.ORDER_PAID:
        codes = [ticket["code"] for ticket in facts["tickets"]]
        return _fitted(event, f"Ticksy: {{}}, {_short_time(event)}. {{}}{end}", codes)
    if message.kind is NotificationKind.REFUND_DONE:
        return _fitted(event, f"Ticksy: {money.in_words(facts['amount_kes'])} for {{}} is back in your M-PESA.{end}")
    back = " Your money comes back by itself." if int(facts["paid_kes"]) else ""
    return _fitted(event, f"Ticksy: {{}}, {_short_time(event)}, is CANCELLED.{back}{end}")


def _fitted(event: Facts, words: str, codes: Sequence[str] = ()) -> str:
    """`words` with the title for their first `{}`, and for a second one as many codes as leave room for it."""
    room = sms.LIMIT - sms.length(words.replace("{}", ""))
    listed = ""
    for shown in range(len(codes), 0, -1):
        listed = " ".join(codes[:shown]) + (f" +{len(codes) - shown} more" if shown < len(codes) else "")
        if len(listed) <= room - _SHORTEST_TITLE:
            break
    return words.format(sms.fit(event["title"], room - len(listed)), listed)


# ── Words that several need ───────────────────────────────────────────────────────────────────────────────────────


def _title(event: Facts) -> str:
    title = " ".join(event["title"].split())
    return title if len(title) <= _LONGEST_TITLE else title[: _LONGEST_TITLE - 1].rstrip() + "…"


def _place(event: Facts) -> list[tuple[str, str]]:
    return [("When", _time_span(event)), ("Where", " ".join(event["location"].split()))]


def _time_span(event: Facts) -> str:
    start, end = _start(event), datetime.fromisoformat(event["ends_at"]).astimezone(clock.NAIROBI)
    if start.date() == end.date():
        return f"{_day_and_time(start)} to {end:%H:%M}"
    return f"{_day_and_time(start)} to {_day_and_time(end)}"


def _start(event: Facts) -> datetime:
    return datetime.fromisoformat(event["starts_at"]).astimezone(clock.NAIROBI)


def _day_and_time(moment: datetime) -> str:
    return f"{moment:%A}, {moment.day} {moment:%B %Y}, {moment:%H:%M}"


def _short_time(event: Facts) -> str:
    start = _start(event)
    return f"{start:%a} {start.day} {start:%b}, {start:%H:%M}"


def _profile(user_id: int) -> str:
    """The page of the frontend with one's tickets."""
    return f"{settings.frontend_url}/attendee/{user_id}/profile"


def _event_page(event: Facts) -> str:
    return f"{settings.frontend_url}/events/{event['id']}"
