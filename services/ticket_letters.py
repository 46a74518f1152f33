"""E-mails about a ticket that changes hands, is issued anew, or ends."""

from __future__ import annotations

from services.stationery import (
    Facts,
    Letter,
    as_name,
    describe,
    full_title,
    link_to_event,
    link_to_offer,
    link_to_page,
    link_to_tickets,
    place,
    short_title,
)

_KEEP_IT = "Whoever has this link can go in with your ticket: please keep it to yourself."


def transfer_offered(facts: Facts, _user_id: int | None) -> Letter:
    event, sender = facts["event"], as_name(facts["sender"]) or "Somebody"
    return Letter(
        subject=f"{sender} gives you a ticket for {short_title(event)}",
        heading=f"A ticket for {full_title(event)}",
        paragraphs=[
            f"{sender} would like to give you this ticket. Open the link and accept it, and it is yours.",
            "You need no account, and accepting costs nothing.",
        ],
        details=[*place(event), ("Ticket", facts["type"])],
        action=("Look at the ticket", link_to_offer(facts)),
        remarks=[
            "Whoever has this link can accept the ticket, once: please keep it to yourself.",
            "Are you asked to pay for it? Pay only somebody you know. The sender's codes end when you accept.",
        ],
        why="You get this because somebody gave us your address to send you a ticket."
        " If you do not want it, you need not do anything.",
    )


def transfer_accepted(facts: Facts, user_id: int | None) -> Letter:
    event, receiver = facts["event"], as_name(facts["receiver"]) or "The person you sent it to"
    return Letter(
        subject=f"Your ticket for {short_title(event)} has been accepted",
        heading=f"{receiver} has your ticket",
        paragraphs=[f"{receiver} has accepted your ticket. Your own QR code and code for it let nobody in any more."],
        details=[*describe(event), ("Ticket", facts["type"])],
        action=("Open Ticksy", link_to_tickets(facts, user_id)),
    )


def ticket_received(facts: Facts, _user_id: int | None) -> Letter:
    event = facts["event"]
    return Letter(
        subject=f"Your ticket for {short_title(event)}",
        heading=full_title(event),
        paragraphs=["The ticket is yours now. Show its QR code at the entrance."],
        details=[*place(event), ("Ticket", facts["type"])],
        action=("Show my ticket", link_to_page(facts)),
        remarks=[_KEEP_IT],
    )


def ticket_reissued(facts: Facts, _user_id: int | None) -> Letter:
    event = facts["event"]
    return Letter(
        subject=f"Your new ticket for {short_title(event)}",
        heading=full_title(event),
        paragraphs=["Your ticket has been issued anew. The QR code and the code it had before let nobody in any more."],
        details=[*place(event), ("Ticket", facts["type"])],
        action=("Show my ticket", link_to_page(facts)),
        remarks=[_KEEP_IT],
    )


def ticket_ended(facts: Facts, _user_id: int | None) -> Letter:
    """`order` is known to who bought them alone."""
    event, types = facts["event"], facts["types"]
    if len(types) == 1:
        tickets, are, these, them = "ticket", "is", "this ticket", "it"
    else:
        tickets, are, these, them = f"{len(types)} tickets", "are", "these tickets", "them"
    if facts["is_reversed"]:
        reason = "M-PESA has taken back what was paid"
    else:
        reason = f"As you agreed, the price goes back to whoever bought {them}"
    paragraphs = [f"{reason}, so nobody gets in with {these} any more."]
    if facts["is_reversed"] and "order" not in facts:
        paragraphs.append(f"We do not know why. Whoever bought {them} can tell you more.")
    details = [*describe(event), ("Ticket" if len(types) == 1 else "Tickets", ", ".join(types))]
    if "order" in facts:
        details.append(("Order", facts["order"]))
    return Letter(
        subject=f"Your {tickets} for {short_title(event)} {are} no longer valid",
        heading=f"Your {tickets} {are} no longer valid",
        paragraphs=paragraphs,
        details=details,
        action=("See the event", link_to_event(event)),
    )
