"""One payment prompt on one phone, with the numbers Safaricom gives it."""

from __future__ import annotations

import re
import secrets
import string
import threading
import uuid
from dataclasses import dataclass, field
from datetime import datetime

from daraja_simulator.scenarios import PAID, RESULTS, UNPUBLISHED_RESULT, Scenario

MERCHANT = "TICKSY"


def request_id() -> str:
    """As in the portal's samples: `2654-4b64-97ff-b827b542881d3130`."""
    return f"{str(uuid.uuid4())[9:]}{secrets.randbelow(9000) + 1000}"


@dataclass(eq=False)
class Prompt:
    phone: str
    amount: int
    reference: str
    description: str
    callback_url: str
    pushed_at: datetime
    scenario: Scenario
    merchant_request_id: str = field(default_factory=request_id)
    #: A person has answered it, so its script no longer applies. It may still take time to end.
    is_answered: bool = False
    result: int | None = None
    ended_at: datetime | None = None
    receipt: str | None = None
    #: How often a query found it still open.
    queries: int = 0
    #: Its first callback has been posted.
    told: threading.Event = field(default_factory=threading.Event)

    @property
    def checkout_request_id(self) -> str:
        """The moment in Nairobi, its milliseconds without padding, the last nine digits of the phone."""
        return f"ws_CO_{self.pushed_at:%d%m%Y%H%M%S}{self.pushed_at.microsecond // 1000}{self.phone[-9:]}"

    @property
    def status(self) -> str:
        """`waiting`, `paid` or `failed`."""
        if self.result is None:
            return "waiting"
        return "paid" if self.result == PAID else "failed"

    def end(self, result: int, moment: datetime) -> None:
        self.result, self.ended_at = result, moment
        if result == PAID:
            self.receipt = self.receipt or receipt_number(moment)

    @property
    def question(self) -> str:
        """What the phone shows."""
        payee = f"{MERCHANT} account no. {self.reference}"
        return f"Do you want to pay KES {self.amount} to {payee}? Enter M-PESA PIN"

    @property
    def sms(self) -> str | None:
        """What the payer gets to read once it has ended."""
        if self.result is None or self.ended_at is None:
            return None
        at = self.ended_at
        when = f"on {at.day}/{at.month}/{at:%y} at {at.hour % 12 or 12}:{at:%M %p}"
        payment = f"Ksh{self.amount:,}.00 sent to {MERCHANT} for account {self.reference} {when}"
        if self.result == PAID:
            return f"{self.receipt} Confirmed. {payment}"
        return f"Failed. {payment}: {RESULTS.get(self.result, UNPUBLISHED_RESULT)}"


def parse_phone(text: str) -> str:
    """`2547XXXXXXXX` or `2541XXXXXXXX` out of any usual way to write it. Raises ValueError."""
    match = re.fullmatch(r"(?:\+?254|0)?([17][0-9]{8})", re.sub(r"[\s()-]", "", text))
    if match is None:
        raise ValueError(f"{text[:30]!r} is not a Kenyan mobile number.")
    return f"254{match[1]}"


def receipt_number(moment: datetime) -> str:
    """Year (L is 2017), month and day as one character each, then seven at random: enough never to repeat."""
    year = string.ascii_uppercase[(string.ascii_uppercase.index("L") + moment.year - 2017) % 26]
    month = string.ascii_uppercase[moment.month - 1]
    day = ("123456789" + string.ascii_uppercase)[moment.day - 1]
    return year + month + day + random_text(string.ascii_uppercase + string.digits, 7)


def random_text(alphabet: str, length: int) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(length))
