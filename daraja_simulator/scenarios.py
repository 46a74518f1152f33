"""What becomes of a prompt, or of a refund, by phone number: one row of data each.

The numbers 254700000NNN are scripted. Every other number is an ordinary phone: it is answered on its virtual
phone page, or pays by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

PAID, NO_FUNDS, UNDER_LIMIT, OVER_LIMIT, DAILY_LIMIT = 0, 1, 2, 3, 4
RULE_17, BUSY, LOCKED, EXPIRED, PUSH_ERROR, FAILED = 17, 26, 1001, 1019, 1025, 9999
CANCELLED, NO_ANSWER, WRONG_PIN, NOT_PERMITTED, UNREGISTERED, PIN_LOCKED = 1032, 1037, 2001, 2028, 2040, 8006
REVERSED_ALREADY, UNKNOWN_RECEIPT = "R000001", "R000002"

#: ResultDesc of a callback or a result, in Safaricom's words.
RESULTS: dict[int | str, str] = {
    PAID: "The service request is processed successfully.",
    NO_FUNDS: "The balance is insufficient for the transaction.",
    UNDER_LIMIT: "Declined due to limit rule: less than the minimum transaction amount.",
    OVER_LIMIT: "Declined due to limit rule: greater than the maximum transaction amount.",
    DAILY_LIMIT: "Declined due to limit rule: would exceed daily transfer limit.",
    RULE_17: "Rule limited.",
    BUSY: "System busy. The service request is not processed.",
    LOCKED: "Unable to lock subscriber, a transaction is already in process for the current subscriber",
    EXPIRED: "Transaction has expired",
    PUSH_ERROR: "An error occurred while sending a push request",
    FAILED: "An error occurred while sending a push request",
    CANCELLED: "Request cancelled by user",
    NO_ANSWER: "No response from user.",
    WRONG_PIN: "The initiator information is invalid.",
    NOT_PERMITTED: "The request is not permitted according to product assignment.",
    UNREGISTERED: "Credit Party customer type (Unregistered or Registered Customer) can't be supported by the service.",
    PIN_LOCKED: "The security credential is locked.",
    REVERSED_ALREADY: "The transaction has already been reversed.",
    UNKNOWN_RECEIPT: "The OriginalTransactionID is invalid.",
}
#: Where a query puts it differently.
QUERY_RESULTS = RESULTS | {NO_ANSWER: "DS timeout user cannot be reached."}
UNPUBLISHED_RESULT = "The transaction could not be processed."


@dataclass(frozen=True)
class Outcome:
    """What becomes of an accepted prompt, and how the merchant hears of it."""

    result: int = PAID
    #: Counted from the push, like all delays.
    after_seconds: float = 5
    #: How often the callback is posted; 0 is a callback that gets lost.
    posts: int = 1
    #: All posts together, or each after the answer to the one before.
    is_concurrent: bool = False
    #: What is wrong with the callback, one of messages.TWISTS.
    twist: str | None = None
    #: Only a callback that names another prompt: this one stays open.
    is_foreign: bool = False


@dataclass(frozen=True)
class Answer:
    """What the push itself is answered: acceptance, unless there is an error."""

    #: One of wire.REFUSALS. No prompt exists then.
    error: str | None = None
    #: How often before the push is accepted; 0 is always.
    errors: int = 0
    delay_seconds: float = 0
    #: Not before the first callback has been posted.
    is_after_callback: bool = False
    #: What becomes of the acceptance on its way, one of wire.LOSSES.
    loss: str | None = None


@dataclass(frozen=True)
class Refund:
    """What becomes of money sent to a phone, or of the reversal of money it paid."""

    result: int = PAID
    #: `result`, `timeout` (at the QueueTimeOutURL) or `never`.
    told: str = "result"


@dataclass(frozen=True)
class Scenario:
    title: str
    outcomes: tuple[Outcome, ...] = (Outcome(),)
    answer: Answer = Answer()
    #: What a query says once there is a result, where that is not the result.
    query_result: int | None = None
    #: How many queries are answered without any information first.
    silent_queries: int = 0
    #: A payment is told to the C2B ConfirmationURL as well.
    is_confirmed: bool = False
    refund: Refund = Refund()


def _fails(title: str, result: int, after_seconds: float = 5) -> Scenario:
    return Scenario(title, (Outcome(result, after_seconds),))


def _refuses(title: str, error: str, errors: int = 0) -> Scenario:
    return Scenario(title, (Outcome(),) if errors else (), Answer(error=error, errors=errors))


SCRIPTED_NUMBERS = "254700000"
ORDINARY, OVER_LIMIT_ROW, RULE_17_ROW = "ordinary", "over limit", "rule 17"

#: Keyed by the last three digits, but for what can happen to any number.
SCENARIOS = {
    ORDINARY: Scenario("answered on the phone", outcomes=()),
    OVER_LIMIT_ROW: _fails("over the limit of one payment", OVER_LIMIT, 1),
    RULE_17_ROW: _fails("the same amount within two minutes", RULE_17, 1),
    "000": Scenario("pays"),
    "001": _fails("cancels", CANCELLED, 8),
    "002": _fails("enters a wrong PIN", WRONG_PIN),
    "003": _fails("has too little money", NO_FUNDS),
    "004": _fails("does not answer", NO_ANSWER, 26),
    "005": _fails("lets the prompt expire", EXPIRED),
    "006": _refuses("is in another transaction, the push is refused", "locked"),
    "007": _fails("is in another transaction", LOCKED),
    "008": _fails("cannot be sent the prompt", PUSH_ERROR),
    "009": _fails("fails inside M-PESA", FAILED),
    "010": _fails("paid the same a moment ago", RULE_17),
    "011": _fails("is over its daily limit", DAILY_LIMIT),
    "012": _fails("finds M-PESA busy", BUSY),
    "013": _fails("has a locked PIN", PIN_LOCKED),
    "014": _fails("may not use the product", NOT_PERMITTED),
    "015": _fails("ends with a code nobody has published", 7777),
    "020": Scenario("pays after fifteen minutes", (Outcome(after_seconds=15 * 60),)),
    "021": Scenario("pays, the callback comes twice", (Outcome(posts=2),)),
    "022": Scenario("pays, five callbacks come together", (Outcome(posts=5, is_concurrent=True),)),
    "023": Scenario("pays, the callback is lost", (Outcome(posts=0),)),
    "024": Scenario("pays, the callback is lost and queries say nothing", (Outcome(posts=0),), silent_queries=20),
    "025": Scenario(
        "pays, the callback overtakes the answer to the push",
        (Outcome(after_seconds=1),),
        Answer(delay_seconds=3, is_after_callback=True),
    ),
    "026": Scenario("pays, queries say it did not", query_result=NO_ANSWER),
    "027": Scenario("does not answer, then pays", (Outcome(NO_ANSWER), Outcome(after_seconds=30))),
    "028": Scenario("pays, the callback names another amount", (Outcome(twist="amount"),)),
    "029": Scenario(
        "does not answer, a callback for another prompt comes",
        (Outcome(is_foreign=True), Outcome(NO_ANSWER, after_seconds=26, posts=0)),
    ),
    "030": Scenario("pays, the callback masks the phone", (Outcome(twist="masked"),)),
    "031": Scenario("pays, the callback is out of order", (Outcome(twist="reordered"),)),
    "032": Scenario("pays, the callback is broken JSON", (Outcome(twist="malformed"),)),
    "033": Scenario("pays, a C2B confirmation comes as well", is_confirmed=True),
    "040": _refuses("Daraja is down", "500"),
    "041": _refuses("pays after two spike arrests", "spike", 2),
    "042": _refuses("too many requests", "429"),
    "043": _refuses("Safaricom's firewall is in the way", "html"),
    "044": Scenario("pays, the answer to the push never comes", answer=Answer(loss="hang")),
    "045": Scenario("pays, the connection breaks before the answer", answer=Answer(loss="reset")),
    "046": _refuses("is refused with a ResponseCode", "soft"),
    "047": Scenario("pays, the answer to the push is a web page", answer=Answer(loss="html_accepted")),
    "048": _refuses("pays, the first access token is refused", "token", 1),
    "049": _refuses("the product is not enabled", "no_product"),
    "070": Scenario("pays; refunds arrive", refund=Refund()),
    "071": Scenario("pays; refunds lack money", refund=Refund(NO_FUNDS)),
    "072": Scenario("pays; refunds lack a good initiator", refund=Refund(WRONG_PIN)),
    "073": Scenario("pays; refunds find nobody registered", refund=Refund(UNREGISTERED)),
    "074": Scenario("pays; refunds arrive, only a timeout is told", refund=Refund(told="timeout")),
    "075": Scenario("pays; refunds arrive, nothing is told", refund=Refund(told="never")),
}
#: Those that a push can be told to follow.
ROWS = [row for row in SCENARIOS if row.isdecimal()]


def row_of(phone: str) -> str:
    """The key in SCENARIOS of what a phone's number stands for."""
    row = phone.removeprefix(SCRIPTED_NUMBERS)
    return row if row in ROWS else ORDINARY


def is_scripted(phone: str) -> bool:
    return phone.startswith(SCRIPTED_NUMBERS)
