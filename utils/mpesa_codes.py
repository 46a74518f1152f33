"""Every result code that Safaricom has published, and some that only merchants report, in one table.

Sources: Safaricom's portal ("M-PESA Express", "B2C", "Reversal", "Transaction Status", "Account Balance"); codes
known from merchants' reports only are marked `is_reported`. A code that is not here decides nothing.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Meaning(enum.Enum):
    """What a code says of the money."""

    DONE = "done"
    #: Nothing was paid, for a reason on the payer's side.
    PAYER = "payer"
    #: Nothing was paid, for a reason that passes.
    BUSY = "busy"
    #: Nothing was paid, for a reason on our side: an operator has to look.
    OURS = "ours"
    #: Still on its way.
    WAITING = "waiting"


class Said(enum.Flag):
    """What the code is published as the end of."""

    PROMPT = enum.auto()
    #: A reversal, a payout, a question about a transaction.
    REQUEST = enum.auto()
    BOTH = PROMPT | REQUEST


_TRY_AGAIN = "M-PESA could not show the payment request. Please try again."
_OUR_SIDE = "M-PESA could not accept the payment on our side. Please try again later."


@dataclass(frozen=True)
class Code:
    """`text` is what the code means in M-PESA's words or ours, `sentence` what its buyer is told."""

    meaning: Meaning
    text: str
    sentence: str = _OUR_SIDE
    said_of: Said = Said.PROMPT
    is_reported: bool = False
    #: It speaks of the transaction that was asked about: there is none such. All other failures of a question are
    #: about the asking, such as an initiator who may not ask, and say nothing of the transaction.
    is_of_unknown: bool = False


CODES: dict[str, Code] = {
    "0": Code(Meaning.DONE, "Processed successfully", "Paid.", said_of=Said.BOTH),
    "1": Code(
        Meaning.PAYER,
        "The balance is insufficient",
        "There was not enough money on the M-PESA account. Please top up and try again.",
        said_of=Said.BOTH,
    ),
    "2": Code(Meaning.OURS, "Less than the least amount", "M-PESA declined the amount.", said_of=Said.BOTH),
    "3": Code(
        Meaning.OURS,
        "More than the most amount",
        "The amount is more than M-PESA allows in one payment.",
        said_of=Said.BOTH,
    ),
    "4": Code(
        Meaning.PAYER,
        "Over the day's limit",
        "This payment would exceed the day's M-PESA limit. Please try tomorrow or with another number.",
        said_of=Said.BOTH,
    ),
    "8": Code(Meaning.OURS, "The receiving account would hold too much", said_of=Said.BOTH),
    "11": Code(Meaning.OURS, "The debit party is in an invalid state", said_of=Said.BOTH),
    "17": Code(
        Meaning.BUSY,
        "Rule limited: the same amount from the same phone within two minutes",
        "M-PESA refuses the same amount from the same phone within two minutes. Please wait and try again.",
    ),
    "21": Code(Meaning.OURS, "The initiator may not do this", said_of=Said.BOTH),
    "26": Code(Meaning.BUSY, "System busy", "M-PESA is busy. Please try again in a minute."),
    "1001": Code(
        Meaning.BUSY,
        "The subscriber is locked by another transaction",
        "Another M-PESA transaction is open on this phone. Please finish it and try again.",
    ),
    "1019": Code(
        Meaning.PAYER,
        "The transaction expired",
        "The payment request expired before it was answered. Please try again.",
    ),
    "1025": Code(Meaning.BUSY, "The prompt could not be sent", _TRY_AGAIN),
    "1031": Code(Meaning.PAYER, "Cancelled by the user", "The payment request was cancelled."),
    "1032": Code(Meaning.PAYER, "Cancelled by the user", "The payment request was cancelled."),
    "1036": Code(
        Meaning.BUSY, "The network timed out", "The phone could not be reached. Please try again.", is_reported=True
    ),
    "1037": Code(
        Meaning.PAYER,
        "The user cannot be reached, or did not answer",
        "The phone could not be reached, or nobody answered. Please try again.",
    ),
    "1101": Code(Meaning.OURS, "The prompt's text is too long", _TRY_AGAIN, is_reported=True),
    "1102": Code(Meaning.OURS, "The prompt's text is too long", _TRY_AGAIN, is_reported=True),
    "2001": Code(
        Meaning.PAYER,
        "The initiator information is invalid: a wrong PIN, or our initiator's password",
        "The M-PESA PIN was wrong. Please try again.",
        said_of=Said.BOTH,
    ),
    "2002": Code(Meaning.OURS, "Agent and store number do not match", is_reported=True),
    "2006": Code(
        Meaning.PAYER,
        "The account's status forbids it",
        "M-PESA refused the account. Please try with another number.",
        said_of=Said.BOTH,
    ),
    "2008": Code(
        Meaning.PAYER,
        "Authentication failed",
        "M-PESA could not confirm the PIN. Please try again.",
        is_reported=True,
    ),
    "2026": Code(Meaning.PAYER, "The session expired", "The M-PESA session ended. Please try again.", is_reported=True),
    "2028": Code(Meaning.OURS, "Not permitted for this product", said_of=Said.BOTH),
    "2040": Code(Meaning.PAYER, "The receiver is not a registered customer", said_of=Said.REQUEST),
    "4999": Code(Meaning.WAITING, "Still being processed", "The payment is still being processed."),
    "8006": Code(
        Meaning.PAYER,
        "The security credential is locked",
        "The M-PESA PIN is locked. Please call Safaricom on 100.",
        said_of=Said.BOTH,
    ),
    "9999": Code(Meaning.BUSY, "The request failed", _TRY_AGAIN, is_reported=True),
    "R000001": Code(Meaning.DONE, "The transaction has been reversed already", "Paid back.", said_of=Said.REQUEST),
    "R000002": Code(Meaning.OURS, "The transaction is unknown", said_of=Said.REQUEST, is_of_unknown=True),
    "SFC_IC0003": Code(Meaning.OURS, "The operator does not exist", said_of=Said.BOTH),
}


def _failing(said_of: Said) -> dict[str, str]:
    bad = (Meaning.PAYER, Meaning.BUSY, Meaning.OURS)
    return {code: row.sentence for code, row in CODES.items() if row.meaning in bad and said_of & row.said_of}


#: Codes of a prompt that brought no money, with a sentence for its buyer.
FAILURES: dict[str, str] = _failing(Said.PROMPT)
#: Codes of a reversal, a payout or a question that was not carried out. Only those published for one: what a code of
#: prompts would mean there nobody has said, and a payout wrongly taken for failed is paid twice.
NOT_CARRIED_OUT = frozenset(_failing(Said.REQUEST))
#: Codes of one that was.
CARRIED_OUT = frozenset(
    code for code, row in CODES.items() if row.meaning is Meaning.DONE and Said.REQUEST in row.said_of
)
#: Answers to a question about a transaction that M-PESA knows nothing of.
NOT_KNOWN = frozenset(code for code, row in CODES.items() if row.is_of_unknown)
#: Seen in query answers only.
IN_PROGRESS = "4999"
SUCCESS = "0"
