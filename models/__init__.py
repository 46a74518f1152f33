"""What a row is. Tables, constraints and relationships; no queries, no HTTP.

users             a person with a login
sessions          where somebody is logged in: one log-in on one device
one_time_tokens   secrets in e-mails, each to be used once
reset_requests    who says to have forgotten the password
two_factors       what the six digits of somebody's app are made of
events            something to go to, published by an organizer once an admin agreed
ticket_types      what is on sale for an event: a price and a number of places
orders            one buyer's claim on places of one event, held until paid, ended or cancelled
order_items       how many places of which ticket type an order claims, at which price
payments          money of an order: one M-PESA prompt, or one payment by Paybill, and what became of it
refunds           money that goes back
mpesa_requests    what we asked Daraja that is answered later, at an address of its own
mpesa_messages    everything Safaricom said, as it came, append-only
claims            what buyers say they paid
tickets           what one person holds
superseded_codes  codes of tickets that were issued anew since
transfers         tickets passed on, or offered: who held one before
ticket_keys       what an event's tickets are signed with
gate_passes       who may work at the gates of an event without an account
scans             what was held up at a gate, and what became of it, append-only
reviews           what an attendee says of an event
saved_events      what somebody wants to find again
mpesa_access      Daraja's access token, shared by all processes
mpesa_line        how fast we may push, whether it works, how far money has been reconciled
idempotency_keys  answers given to requests that carried a key
consents          what people agreed to, and took back
counters          how often what may not be tried without end has been tried
notifications     what people are told by e-mail and SMS, sent and still to be sent
alerts            what admins have to be told
audit_log         who changed what, when

Every relationship refuses to load by itself: a query names what it needs.
"""

from __future__ import annotations

from models.admission import GatePass, Scan, SupersededCode, Ticket, TicketKey, Transfer
from models.back_office import Alert, AuditLog, Counter, IdempotencyKey, MpesaAccess, MpesaLine
from models.catalogue import BETWEEN_WORDS, Event, TicketType
from models.community import Review, SavedEvent
from models.credentials import OneTimeToken, ResetRequest, Session, TwoFactor
from models.notifications import Notification
from models.orders import Order, OrderItem
from models.payments import Claim, MpesaMessage, MpesaRequest, Payment, Refund
from models.people import Consent, User
from models.states import (
    EVENT_MOVES,
    LINK_NOTIFICATIONS,
    OPEN_PAYMENTS,
    OPTIONAL_NOTIFICATIONS,
    ORDER_MOVES,
    PAYMENT_MOVES,
    REFUND_MOVES,
    AccountStatus,
    ClaimStatus,
    Direction,
    EventStatus,
    ForbiddenMove,
    MessageChannel,
    NotificationChannel,
    NotificationKind,
    NotificationState,
    OrderStatus,
    PaymentMethod,
    PaymentStatus,
    RefundMethod,
    RefundStatus,
    RequestKind,
    RequestStatus,
    Role,
    ScanResult,
    SessionEnd,
    TicketStatus,
    TokenPurpose,
    TransferStatus,
)

__all__ = [
    "BETWEEN_WORDS",
    "EVENT_MOVES",
    "LINK_NOTIFICATIONS",
    "OPEN_PAYMENTS",
    "OPTIONAL_NOTIFICATIONS",
    "ORDER_MOVES",
    "PAYMENT_MOVES",
    "REFUND_MOVES",
    "AccountStatus",
    "Alert",
    "AuditLog",
    "Claim",
    "ClaimStatus",
    "Consent",
    "Counter",
    "Direction",
    "Event",
    "EventStatus",
    "ForbiddenMove",
    "GatePass",
    "IdempotencyKey",
    "MessageChannel",
    "MpesaAccess",
    "MpesaLine",
    "MpesaMessage",
    "MpesaRequest",
    "Notification",
    "NotificationChannel",
    "NotificationKind",
    "NotificationState",
    "OneTimeToken",
    "Order",
    "OrderItem",
    "OrderStatus",
    "Payment",
    "PaymentMethod",
    "PaymentStatus",
    "Refund",
    "RefundMethod",
    "RefundStatus",
    "RequestKind",
    "RequestStatus",
    "ResetRequest",
    "Review",
    "Role",
    "SavedEvent",
    "Scan",
    "ScanResult",
    "Session",
    "SessionEnd",
    "SupersededCode",
    "Ticket",
    "TicketKey",
    "TicketStatus",
    "TicketType",
    "TokenPurpose",
    "Transfer",
    "TransferStatus",
    "TwoFactor",
    "User",
]
