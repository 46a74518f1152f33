"""What Safaricom demands of our addresses, and what it says when it is told them.

Facts are from Safaricom's portal ("Customer To Business (C2B)", "Pull Transactions").
"""

from __future__ import annotations

import enum
from urllib.parse import urlsplit

from utils.mpesa import Answer
from utils.mpesa_reports import field_of, parse, text_of

#: Words that no C2B address may have in it, in any case.
REFUSED_WORDS = ("mpesa", "m-pesa", "safaricom", "exe", "exec", "cmd", "sql", "query")
#: Services for trying out that Safaricom refuses.
REFUSED_HOSTS = ("ngrok", "mockbin", "requestbin")


class Registration(enum.Enum):
    DONE = "done"
    #: Addresses are registered already: perhaps these, perhaps others.
    ALREADY = "already"
    REFUSED = "refused"
    NO_ANSWER = "no_answer"


def c2b_addresses(callback_url: str, secret: str) -> tuple[str, str]:
    """Where Safaricom asks about, and tells of, Paybill payments: beside the callbacks."""
    base = f"{callback_url.rsplit('/', 1)[0]}/c2b/{secret}"
    return f"{base}/validation", f"{base}/confirmation"


def refused_words(address: str) -> list[str]:
    """What in the address makes Safaricom refuse it for C2B."""
    host = urlsplit(address).hostname or ""
    words = [word for word in REFUSED_WORDS if word in address.lower()]
    return words + [name for name in REFUSED_HOSTS if name in host]


def read_c2b_registration(answer: Answer | None) -> tuple[Registration, str]:
    """How registering went, with Safaricom's words. The sandbox leaves the code out, or writes it as "00000000"."""
    body = parse(answer.body) if answer is not None else None
    code, words = text_of(field_of(body, "ResponseCode")), _words(body)
    is_done = not code.strip("0") if code is not None else words.lower().startswith("success")
    if is_done and field_of(body, "errorCode") is None:
        return Registration.DONE, words
    return _refusal(answer, words), words


def read_pull_registration(answer: Answer | None) -> tuple[Registration, str]:
    """The same of the list of transactions: 1000 is done, 1001 is registered already."""
    body = parse(answer.body) if answer is not None else None
    status = text_of(field_of(body, "ResponseStatus")) or text_of(field_of(body, "ResponseCode"))
    words = _words(body)
    if status == "1000":
        return Registration.DONE, words
    return (Registration.ALREADY if status == "1001" else _refusal(answer, words)), words


def _words(body: object) -> str:
    told = [field_of(body, name) for name in ("errorMessage", "ResponseDescription", "ResponseMessage")]
    return next((words[:200] for words in told if isinstance(words, str) and words), "no explanation")


def _refusal(answer: Answer | None, words: str) -> Registration:
    if answer is None:
        return Registration.NO_ANSWER
    is_there = "already registered" in words.lower() or "duplicate" in words.lower()
    return Registration.ALREADY if is_there else Registration.REFUSED
