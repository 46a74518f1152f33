"""Notifications in words: what a text message says of the facts of each kind that is texted."""

from __future__ import annotations

from collections.abc import Sequence

from models import Notification, NotificationKind
from services.stationery import Facts, as_name, link_to_offer, link_to_page, link_to_tickets, short_time
from utils import money, sms

#: A piece of a title that tells an event from others, and a link that leaves room for it and for a code.
_SHORTEST_TITLE, _LONGEST_LINK = 10, 70
_LONGEST_NAME, _LONGEST_PLACE = 20, 40


def write_text(message: Notification) -> str:
    """What a text message says, in one message of it; in more only where its link alone is as long as that."""
    facts, event, kind = message.facts, message.facts["event"], message.kind
    match kind:
        case NotificationKind.TRANSFER_OFFERED:
            sender = sms.fit(as_name(facts["sender"]) or "Somebody", _LONGEST_NAME)
            return _fitted(event, f"Ticksy: {sender} gives you a ticket, {{}}. Accept it: {link_to_offer(facts)}")
        case NotificationKind.TRANSFER_ACCEPTED:
            return _fitted(
                event, "Ticksy: your ticket for {} has been accepted. Your own codes let nobody in any more."
            )
        case NotificationKind.TICKET_RECEIVED:
            return _fitted(event, f"Ticksy: {{}}, your ticket: {link_to_page(facts)}")
        case NotificationKind.TICKET_REISSUED:
            return _fitted(event, f"Ticksy: {{}}, your new ticket: {link_to_page(facts)}")
        case NotificationKind.TICKET_ENDED:
            why = "M-PESA took the payment back" if facts["is_reversed"] else "refunded, as you agreed"
            are = "ticket for {} is" if len(facts["types"]) == 1 else f"{len(facts['types'])} tickets for {{}} are"
            return _fitted(event, f"Ticksy: your {are} NO LONGER VALID: {why}.")
    link = link_to_tickets(facts, message.user_id)
    end = f" {link}" if sms.length(link) <= _LONGEST_LINK else ""
    match kind:
        case NotificationKind.ORDER_PAID:
            codes = [ticket["code"] for ticket in facts["tickets"]]
            return _fitted(event, f"Ticksy: {{}}, {short_time(event)}. {{}}{end}", codes)
        case NotificationKind.REFUND_DONE:
            return _fitted(
                event, f"Ticksy: {money.in_words(facts['amount_kes'])} for {{}} is back in your M-PESA.{end}"
            )
        case NotificationKind.EVENT_CHANGED:
            place = sms.fit(event["location"], _LONGEST_PLACE).replace("{", "(").replace("}", ")")
            return _fitted(event, f"Ticksy: {{}} has changed. It is now on {short_time(event)}, {place}.{end}")
    back = " Your money comes back by itself." if int(facts["paid_kes"]) else ""
    return _fitted(event, f"Ticksy: {{}}, {short_time(event)}, is CANCELLED.{back}{end}")


def _fitted(event: Facts, words: str, codes: Sequence[str] = ()) -> str:
    """`words` with the title for their first `{}`, and for a second one as many codes as leave room for it."""
    room = sms.LIMIT - sms.length(words.replace("{}", ""))
    listed = ""
    for shown in range(len(codes), 0, -1):
        listed = " ".join(codes[:shown]) + (f" +{len(codes) - shown} more" if shown < len(codes) else "")
        if len(listed) <= room - _SHORTEST_TITLE:
            break
    return words.format(sms.fit(event["title"], max(room - len(listed), _SHORTEST_TITLE)), listed)
