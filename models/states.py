"""What a thing may be, and where it may go from there: enums and tables of moves."""

from __future__ import annotations

import enum


class Role(enum.Enum):
    ATTENDEE = "attendee"
    ORGANIZER = "organizer"
    ADMIN = "admin"


class AccountStatus(enum.Enum):
    ACTIVE = "active"
    BANNED = "banned"
    #: By its owner; nobody is behind it any more, and nobody can be again.
    DELETED = "deleted"


class SessionEnd(enum.Enum):
    """What ended it."""

    LOGOUT = "logout"
    LOGOUT_ALL = "logout_all"
    #: An old refresh token was used again: somebody else has, or had, one of this session.
    REUSE = "reuse"
    BAN = "ban"
    ROLE = "role"
    PASSWORD = "password"  # a word, not a secret
    #: The owner took back a change of address that somebody else had made.
    UNDO = "undo"


class TokenPurpose(enum.Enum):
    VERIFY_EMAIL = "verify_email"
    RESET_PASSWORD = "reset_password"
    #: Mailed to the new address.
    CHANGE_EMAIL = "change_email"
    #: Mailed to the old one.
    UNDO_EMAIL_CHANGE = "undo_email_change"


class EventStatus(enum.Enum):
    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    CANCELLED = "cancelled"


class OrderStatus(enum.Enum):
    #: Open: its places are held until `expires_at`.
    PENDING = "pending"
    PAID = "paid"
    #: Every prompt it may have has failed.
    FAILED = "failed"
    #: The hold ran out before money came.
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    #: Money came that cannot become tickets, or no longer is worth any: it has to go back.
    REFUND_DUE = "refund_due"
    REFUNDED = "refunded"
    PARTLY_REFUNDED = "partly_refunded"


class PaymentMethod(enum.Enum):
    #: A prompt that we put on a phone.
    PROMPT = "prompt"
    #: Paid by hand to our Paybill number.
    PAYBILL = "paybill"


class PaymentStatus(enum.Enum):
    #: Its push waits for its turn: nothing has been sent.
    QUEUED = "queued"
    #: Committed; the push is on its way to Daraja.
    SUBMITTING = "submitting"
    #: Daraja accepted the push: the phone shows, or will show, the prompt.
    PROMPTED = "prompted"
    #: Nobody knows: the push's answer was lost, or its result has a code we do not know.
    UNKNOWN = "unknown"
    #: Daraja said no before any prompt appeared.
    REFUSED = "refused"
    #: The prompt ended without money.
    FAILED = "failed"
    PAID = "paid"
    #: Something about the money is odd; a person has to look (`note` says why).
    QUARANTINED = "quarantined"
    #: M-PESA took the money back without us.
    REVERSED = "reversed"


class RefundMethod(enum.Enum):
    #: M-PESA undoes the whole payment.
    REVERSAL = "reversal"
    #: We pay a part of it to the phone it came from.
    B2C = "b2c"
    #: A person has to send it.
    BY_HAND = "by_hand"


class RefundStatus(enum.Enum):
    #: Decided, not yet sent.
    REQUESTED = "requested"
    #: M-PESA was asked, and has not said how it went.
    SENT = "sent"
    DONE = "done"
    #: M-PESA said no, or cannot be asked; a person has to retry it or send it by hand.
    FAILED = "refund_failed"
    #: Waits for a person to send it.
    BY_HAND = "by_hand"


class RequestKind(enum.Enum):
    REVERSAL = "reversal"
    B2C = "b2c"
    #: What became of a transaction.
    STATUS = "status"


class RequestStatus(enum.Enum):
    #: Committed; on its way to Daraja.
    SENDING = "sending"
    #: Daraja took it; its result is to come.
    SENT = "sent"
    #: Daraja said no: nothing was done.
    REFUSED = "refused"
    #: Nobody knows whether Daraja took it.
    UNKNOWN = "unknown"
    ANSWERED = "answered"


class MessageChannel(enum.Enum):
    #: Posted to the secret address of one payment.
    STK_CALLBACK = "stk_callback"
    #: Posted where anybody can, or from an address that is not Safaricom's: only a reason to ask.
    STK_HINT = "stk_hint"
    #: The answer to our own question.
    STK_QUERY = "stk_query"
    #: Posted to our Paybill's confirmation address: only a reason to ask.
    C2B = "c2b"
    #: The result of one of our requests, posted to its secret address.
    RESULT = "result"
    #: Daraja gave up on one of our requests: says nothing of what became of it.
    TIMEOUT = "timeout"
    #: The answer to our asking for all transactions of a time.
    PULL = "pull"
    #: A line of a statement that a person exported from M-PESA's portal.
    STATEMENT = "statement"
    #: A person decided.
    ADMIN = "admin"


class ClaimStatus(enum.Enum):
    #: The money has not been seen, or is not plainly this order's.
    OPEN = "open"
    #: The order got the money.
    ATTACHED = "attached"
    #: A person decided otherwise.
    CLOSED = "closed"


class NotificationKind(enum.Enum):
    ORDER_PAID = "order_paid"
    #: An order ended without tickets; a single prompt that failed is none.
    PAYMENT_FAILED = "payment_failed"
    REFUND_STARTED = "refund_started"
    REFUND_DONE = "refund_done"
    EVENT_APPROVED = "event_approved"
    EVENT_REJECTED = "event_rejected"
    EVENT_CHANGED = "event_changed"
    EVENT_CANCELLED = "event_cancelled"
    EVENT_REMINDER = "event_reminder"
    REVIEW_INVITATION = "review_invitation"
    #: To who is to get a ticket, with the address that accepts it.
    TRANSFER_OFFERED = "transfer_offered"
    #: To who passed it on.
    TRANSFER_ACCEPTED = "transfer_accepted"
    TICKET_RECEIVED = "ticket_received"
    TICKET_REISSUED = "ticket_reissued"
    VERIFY_EMAIL = "verify_email"
    PASSWORD_RESET = "password_reset"
    PASSWORD_CHANGED = "password_changed"
    #: To the new address.
    EMAIL_CHANGE = "email_change"
    #: To the old one.
    EMAIL_CHANGED = "email_changed"
    #: To whoever held one that is not good any more, though its event goes on.
    TICKET_ENDED = "ticket_ended"


class NotificationChannel(enum.Enum):
    EMAIL = "email"
    SMS = "sms"


class NotificationState(enum.Enum):
    #: Waits for its turn, or for its next try.
    QUEUED = "queued"
    #: Whoever carries it has taken it.
    SENT = "sent"
    #: It was refused, or tried for a day.
    FAILED = "failed"
    #: There was no more reason to send it.
    DROPPED = "dropped"


class TicketStatus(enum.Enum):
    VALID = "valid"
    USED = "used"
    VOID = "void"


class TransferStatus(enum.Enum):
    #: Waits for its receiver, as long as its ticket may be passed on.
    OFFERED = "offered"
    ACCEPTED = "accepted"
    #: Its sender took it back.
    WITHDRAWN = "withdrawn"


class Direction(enum.Enum):
    IN = "in"
    OUT = "out"


class ScanResult(enum.Enum):
    OK = "ok"
    ALREADY_IN = "already_in"
    ALREADY_OUT = "already_out"
    #: Out, of somebody who has not come in.
    NOT_IN = "not_in"
    #: Ended without a refund: it was free, or M-PESA took its money back.
    VOID = "void"
    REFUNDED = "refunded"
    WRONG_EVENT = "wrong_event"
    #: The pass is for other gates.
    WRONG_GATE = "wrong_gate"
    NOT_YET = "not_yet"
    TOO_LATE = "too_late"
    BAD_SIGNATURE = "bad_signature"
    #: Issued anew since.
    SUPERSEDED = "superseded"
    UNKNOWN = "unknown"
    EVENT_CANCELLED = "event_cancelled"
    #: No scan of a ticket: takes an earlier one back.
    UNDONE = "undone"


#: Where an event may go from where it is.
EVENT_MOVES: dict[EventStatus, frozenset[EventStatus]] = {
    EventStatus.PENDING: frozenset({EventStatus.APPROVED, EventStatus.REJECTED, EventStatus.CANCELLED}),
    EventStatus.APPROVED: frozenset({EventStatus.PENDING, EventStatus.REJECTED, EventStatus.CANCELLED}),
    EventStatus.REJECTED: frozenset({EventStatus.PENDING, EventStatus.APPROVED, EventStatus.CANCELLED}),
    EventStatus.CANCELLED: frozenset(),
}

#: Where an order may go from where it is. `paid` is left only towards a refund.
ORDER_MOVES: dict[OrderStatus, frozenset[OrderStatus]] = {
    OrderStatus.PENDING: frozenset(
        {
            OrderStatus.PAID,
            OrderStatus.FAILED,
            OrderStatus.EXPIRED,
            OrderStatus.CANCELLED,
            OrderStatus.REFUND_DUE,
        }
    ),
    OrderStatus.FAILED: frozenset({OrderStatus.PAID, OrderStatus.REFUND_DUE}),
    OrderStatus.EXPIRED: frozenset({OrderStatus.PAID, OrderStatus.REFUND_DUE}),
    OrderStatus.CANCELLED: frozenset({OrderStatus.REFUND_DUE}),
    OrderStatus.PAID: frozenset({OrderStatus.REFUND_DUE, OrderStatus.REFUNDED, OrderStatus.PARTLY_REFUNDED}),
    OrderStatus.REFUND_DUE: frozenset({OrderStatus.REFUNDED, OrderStatus.PARTLY_REFUNDED}),
    OrderStatus.PARTLY_REFUNDED: frozenset({OrderStatus.REFUND_DUE, OrderStatus.REFUNDED}),
    OrderStatus.REFUNDED: frozenset(),
}

#: Where a payment may go from where it is. Money that came is never un-come.
PAYMENT_MOVES: dict[PaymentStatus, frozenset[PaymentStatus]] = {
    PaymentStatus.QUEUED: frozenset({PaymentStatus.SUBMITTING, PaymentStatus.REFUSED}),
    PaymentStatus.SUBMITTING: frozenset(
        set(PaymentStatus) - {PaymentStatus.QUEUED, PaymentStatus.SUBMITTING, PaymentStatus.REVERSED}
    ),
    PaymentStatus.PROMPTED: frozenset(
        {PaymentStatus.UNKNOWN, PaymentStatus.FAILED, PaymentStatus.PAID, PaymentStatus.QUARANTINED}
    ),
    PaymentStatus.UNKNOWN: frozenset(
        {PaymentStatus.REFUSED, PaymentStatus.FAILED, PaymentStatus.PAID, PaymentStatus.QUARANTINED}
    ),
    PaymentStatus.REFUSED: frozenset({PaymentStatus.FAILED, PaymentStatus.PAID, PaymentStatus.QUARANTINED}),
    PaymentStatus.FAILED: frozenset({PaymentStatus.PAID, PaymentStatus.QUARANTINED}),
    #: A person found it in order; it proved to be a second payment, which goes back by itself; or to be none, its
    #: success having been counted under the receipt of its order's other payment.
    PaymentStatus.QUARANTINED: frozenset({PaymentStatus.PAID, PaymentStatus.REVERSED, PaymentStatus.FAILED}),
    PaymentStatus.PAID: frozenset({PaymentStatus.REVERSED}),
    PaymentStatus.REVERSED: frozenset(),
}

#: Where a refund may go from where it is. What is done stays done.
REFUND_MOVES: dict[RefundStatus, frozenset[RefundStatus]] = {
    #: Done without being sent: M-PESA took the money back itself.
    RefundStatus.REQUESTED: frozenset({RefundStatus.SENT, RefundStatus.BY_HAND, RefundStatus.DONE}),
    RefundStatus.SENT: frozenset({RefundStatus.REQUESTED, RefundStatus.DONE, RefundStatus.FAILED}),
    #: Retried; sent by hand; or found done after all.
    RefundStatus.FAILED: frozenset({RefundStatus.REQUESTED, RefundStatus.DONE}),
    RefundStatus.BY_HAND: frozenset({RefundStatus.DONE}),
    RefundStatus.DONE: frozenset(),
}

#: Payments that may still bring money while nobody has heard of it.
OPEN_PAYMENTS = frozenset(
    {PaymentStatus.QUEUED, PaymentStatus.SUBMITTING, PaymentStatus.PROMPTED, PaymentStatus.UNKNOWN}
)


class ForbiddenMove(RuntimeError):
    """A bug: some code tried a state move that its table does not list."""


#: What carries a link for whoever reads what comes to one address: told to no other, whatever the account's is now.
LINK_NOTIFICATIONS = frozenset(
    {
        NotificationKind.VERIFY_EMAIL,
        NotificationKind.PASSWORD_RESET,
        NotificationKind.EMAIL_CHANGE,
        NotificationKind.EMAIL_CHANGED,
    }
)
#: What is told only to who wants to hear it: all else is about somebody's own account, order or event.
OPTIONAL_NOTIFICATIONS = frozenset({NotificationKind.EVENT_REMINDER, NotificationKind.REVIEW_INVITATION})
