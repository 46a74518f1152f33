"""What becomes of a prompt, by phone number: one row of data each.

The numbers 254700000NNN are scripted. Every other number is an ordinary phone: it is answered on its virtual
phone page, or pays by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

PAID, NO_FUNDS, OVER_LIMIT, EXPIRED = 0, 1, 3, 1019
CANCELLED, NO_ANSWER, WRONG_PIN = 1032, 1037, 2001

#: ResultDesc of a callback, in Safaricom's words.
RESULTS = {
    PAID: "The service request is processed successfully.",
    NO_FUNDS: "The balance is insufficient for the transaction.",
    OVER_LIMIT: "Declined due to limit rule: greater than the maximum transaction amount.",
    EXPIRED: "Transaction has expired",
    CANCELLED: "Request cancelled by user",
    NO_ANSWER: "No response from user.",
    WRONG_PIN: "The initiator information is invalid.",
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


@dataclass(frozen=True)
class Answer:
    """What the push itself is answered: acceptance, unless there is an error."""

    #: HTTP status, errorCode, errorMessage. No prompt exists then.
    error: tuple[int, str, str] | None = None
    delay_seconds: float = 0
    #: Not before the first callback has been posted.
    is_after_callback: bool = False
    #: Real seconds whatever the speed, since a client's patience is real too. Ends when the client hangs up.
    hang_seconds: float = 0


@dataclass(frozen=True)
class Scenario:
    title: str
    outcomes: tuple[Outcome, ...] = (Outcome(),)
    answer: Answer = Answer()
    #: What a query says once there is a result, where that is not the result.
    query_result: int | None = None


SCRIPTED_NUMBERS = "254700000"
ORDINARY = Scenario("answered on the phone", outcomes=())
OVER_LIMIT_PUSH = Scenario("over the limit of one payment", (Outcome(OVER_LIMIT, after_seconds=1),))

#: Keyed by the last three digits.
SCENARIOS = {
    "000": Scenario("pays"),
    "001": Scenario("cancels", (Outcome(CANCELLED, after_seconds=8),)),
    "002": Scenario("enters a wrong PIN", (Outcome(WRONG_PIN),)),
    "003": Scenario("has too little money", (Outcome(NO_FUNDS),)),
    "004": Scenario("does not answer", (Outcome(NO_ANSWER, after_seconds=26),)),
    "005": Scenario("lets the prompt expire", (Outcome(EXPIRED),)),
    "015": Scenario("ends with a code nobody has published", (Outcome(7777),)),
    "020": Scenario("pays after fifteen minutes", (Outcome(after_seconds=15 * 60),)),
    "021": Scenario("pays, the callback comes twice", (Outcome(posts=2),)),
    "022": Scenario("pays, five callbacks come together", (Outcome(posts=5, is_concurrent=True),)),
    "023": Scenario("pays, the callback is lost", (Outcome(posts=0),)),
    "025": Scenario(
        "pays, the callback overtakes the answer to the push",
        (Outcome(after_seconds=1),),
        Answer(delay_seconds=3, is_after_callback=True),
    ),
    "026": Scenario("pays, queries say it did not", query_result=NO_ANSWER),
    "040": Scenario("Daraja is down", (), Answer(error=(500, "500.003.1001", "Internal Server Error"))),
    "044": Scenario("pays, the answer to the push never comes", answer=Answer(hang_seconds=60)),
}


def scenario_of(phone: str) -> Scenario:
    if phone.startswith(SCRIPTED_NUMBERS):
        return SCENARIOS.get(phone[len(SCRIPTED_NUMBERS) :], ORDINARY)
    return ORDINARY
