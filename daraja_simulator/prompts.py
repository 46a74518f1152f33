"""One payment prompt on one phone; numbers, phones and names as Safaricom writes them."""

from __future__ import annotations

import re
import string
import uuid
from dataclasses import asdict, dataclass
from datetime import datetime
from random import Random

from daraja_simulator.scenarios import PAID, RESULTS, SCENARIOS, UNPUBLISHED_RESULT, Scenario
from daraja_simulator.store import Row

MERCHANT, CUSTOMER = "TICKSY", "JANE DOE"


@dataclass
class Prompt:
    """As it is in the ledger."""

    phone: str
    amount: int
    reference: str
    description: str
    callback_url: str
    #: Its key in SCENARIOS.
    row: str
    pushed_at: datetime
    merchant_request_id: str
    checkout_request_id: str
    #: A person has answered it, so its script no longer applies. It may still take time to end.
    is_answered: bool = False
    result: int | None = None
    ended_at: datetime | None = None
    receipt: str | None = None
    #: How often it was asked about.
    queries: int = 0

    @classmethod
    def load(cls, row: Row) -> Prompt:
        times = {name: datetime.fromisoformat(row[name]) for name in ("pushed_at", "ended_at") if row[name]}
        return cls(**{**row, **times, "is_answered": bool(row["is_answered"])})

    def dump(self) -> Row:
        times = {"pushed_at": self.pushed_at.isoformat(), "ended_at": self.ended_at and self.ended_at.isoformat()}
        return {**asdict(self), **times}

    @property
    def scenario(self) -> Scenario:
        return SCENARIOS[self.row]

    @property
    def status(self) -> str:
        """`waiting`, `paid` or `failed`."""
        if self.result is None:
            return "waiting"
        return "paid" if self.result == PAID else "failed"

    @property
    def question(self) -> str:
        """What the phone shows."""
        payee = f"{MERCHANT} account no. {self.reference}"
        return f"Do you want to pay KES {self.amount} to {payee}? Enter M-PESA PIN"

    @property
    def sms(self) -> str:
        """What the payer gets to read when it has failed."""
        assert self.result is not None
        assert self.ended_at is not None
        payment = f"Ksh{self.amount:,}.00 sent to {MERCHANT} for account {self.reference} {sms_time(self.ended_at)}"
        return f"Failed. {payment}: {RESULTS.get(self.result, UNPUBLISHED_RESULT)}"


def transaction_sms(transaction: Row) -> str:
    """What a customer gets to read of money that moved."""
    amount, when = f"Ksh{transaction['amount']:,}.00", sms_time(datetime.fromisoformat(transaction["at"]))
    texts = {
        "b2c": f"You have received {amount} from {MERCHANT} {when}",
        "reversal": f"Transaction {transaction['original_receipt']} has been reversed: {amount} from {MERCHANT} {when}",
    }
    paid = f"{amount} sent to {MERCHANT} for account {transaction['reference']} {when}"
    return f"{transaction['receipt']} Confirmed. {texts.get(transaction['kind'], paid)}"


def sms_time(at: datetime) -> str:
    return f"on {at.day}/{at.month}/{at:%y} at {at.hour % 12 or 12}:{at:%M %p}"


def parse_phone(text: str) -> str:
    """`2547XXXXXXXX` or `2541XXXXXXXX` out of any usual way to write it. Raises ValueError."""
    match = re.fullmatch(r"(?:\+?254|0)?([17][0-9]{8})", re.sub(r"[\s()-]", "", text))
    if match is None:
        raise ValueError(f"{text[:30]!r} is not a Kenyan mobile number.")
    return f"254{match[1]}"


def mask(phone: str) -> str:
    """As in C2B confirmations of version 2: `2547 ***** 126`."""
    return f"{phone[:4]} ***** {phone[-3:]}"


def request_id(dice: Random) -> str:
    """As in the portal's samples: `2654-4b64-97ff-b827b542881d3130`."""
    return f"{str(uuid.UUID(int=dice.getrandbits(128), version=4))[9:]}{dice.randrange(1000, 10_000)}"


def checkout_id(moment: datetime, phone: str) -> str:
    """The moment in Nairobi, its milliseconds without padding, the last nine digits of the phone."""
    return f"ws_CO_{moment:%d%m%Y%H%M%S}{moment.microsecond // 1000}{phone[-9:]}"


def conversation_id(moment: datetime, dice: Random) -> str:
    return f"AG_{moment:%Y%m%d}_{dice.getrandbits(80):020x}"


def receipt_number(moment: datetime, rest: str) -> str:
    """Year (L is 2017), month and day as one character each, then seven more."""
    year = string.ascii_uppercase[(string.ascii_uppercase.index("L") + moment.year - 2017) % 26]
    month = string.ascii_uppercase[moment.month - 1]
    day = ("123456789" + string.ascii_uppercase)[moment.day - 1]
    return year + month + day + rest
