"""The shop's Paybill: payments made by hand, what is asked and told about them, and the list of transactions."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

from daraja_simulator.bank import Bank
from daraja_simulator.chance import CONFIRMATION, Chance
from daraja_simulator.clock import Clock
from daraja_simulator.post import Post
from daraja_simulator.prompts import CUSTOMER, MERCHANT, mask
from daraja_simulator.scenarios import NO_FUNDS, PAID, RESULTS
from daraja_simulator.settings import Settings
from daraja_simulator.store import Row, Store
from daraja_simulator.wire import Json, Refusal

#: How long a merchant may think about a payment, in real seconds (portal, "C2B").
VALIDATION_SECONDS = 8


class Paybill:
    def __init__(self, settings: Settings, store: Store, clock: Clock, chance: Chance, bank: Bank, post: Post) -> None:
        self._settings, self._store, self._clock = settings, store, clock
        self._chance, self._draws, self._bank, self._post = chance, chance.draws, bank, post

    # ── C2B ──────────────────────────────────────────────────────────────────────────────────────────────

    def register(self, fields: dict[str, str], version: int) -> Json:
        """Note where to ask and tell. Raises Refusal where that is done once and for all."""
        with self._store.transaction():
            is_taken = self._settings.SIM_C2B_REGISTER_ONCE and self._store.fact("c2b")
            if not is_taken:
                self._store.note("c2b", fields | {"version": version})
        if is_taken:
            raise Refusal(500, "500.003.1001", "Urls are already registered.")
        # Their spelling.
        return {
            "OriginatorCoversationID": self._draws.request_id(),
            "ResponseCode": "0",
            "ResponseDescription": "Success",
        }

    def pay(self, phone: str, amount: int, reference: str) -> tuple[str | None, int | str]:
        """Pay by hand. The receipt, if money moved, and the code of the result: the merchant's where it said no."""
        with self._store.transaction():
            now, registered = self._clock.now(), self._store.fact("c2b")
            receipt = self._draws.receipt(now)
            payment = {
                "receipt": receipt,
                "phone": phone,
                "amount": amount,
                "reference": reference,
                "at": now.isoformat(),
            }
            if self._bank.balance(phone) < amount:
                return None, NO_FUNDS
        third_party, code = "", "0"
        if registered and registered["ValidationURL"] and self._settings.SIM_C2B_VALIDATION:
            body = self._confirmation(payment, registered["version"]) | {"OrgAccountBalance": ""}
            answer = self._post.ask("validation", receipt, registered["ValidationURL"], body, VALIDATION_SECONDS)
            code, third_party = _read_validation(answer, registered["ResponseType"])
        if code != "0":
            return None, code
        with self._store.transaction():
            moved = self._bank.transfer("c2b", phone, amount, now, reference=reference, receipt=receipt)
            if moved is not None:
                self._confirm(payment, third_party)
        return (None, NO_FUNDS) if moved is None else (receipt, PAID)

    def confirm_stk(self, receipt: str, *, is_scripted: bool) -> None:
        """Tell of an STK payment here as well, where that is wanted. In the caller's transaction."""
        if is_scripted or self._settings.SIM_C2B_FOR_STK or self._chance.chances.confirms_stk:
            payment = self._bank.transaction(receipt)
            assert payment is not None
            self._confirm(payment)

    def _confirm(self, payment: Row, third_party: str = "") -> None:
        registered = self._store.fact("c2b")
        if registered is None:
            return
        body = self._confirmation(payment, registered["version"]) | {"ThirdPartyTransID": third_party}
        address, subject = registered["ConfirmationURL"], payment["receipt"]
        self._post.plan("confirmation", address, body, subject=subject, path=CONFIRMATION)

    def _confirmation(self, payment: Row, version: int) -> Json:
        """All of it is text. The phone is masked in version 2 and hashed in version 1."""
        phone = payment["phone"]
        return {
            "TransactionType": "Pay Bill",
            "TransID": payment["receipt"],
            "TransTime": f"{datetime.fromisoformat(payment['at']):%Y%m%d%H%M%S}",
            "TransAmount": f"{payment['amount']}.00",
            "BusinessShortCode": self._settings.MPESA_SHORTCODE,
            "BillRefNumber": payment["reference"],
            "InvoiceNumber": "",
            "OrgAccountBalance": f"{self._bank.shop_balance}.00",
            "ThirdPartyTransID": "",
            "MSISDN": mask(phone) if version == 2 else hashlib.sha256(phone.encode()).hexdigest(),
            "FirstName": CUSTOMER.split()[0],
            "MiddleName": "",
            "LastName": "",
        }

    # ── Pull ─────────────────────────────────────────────────────────────────────────────────────────────

    def register_pull(self, fields: dict[str, str]) -> Json:
        with self._store.transaction():
            is_taken = self._store.fact("pull") is not None
            self._store.note("pull", fields)
        return {
            "ResponseRefID": self._draws.request_id(),
            "ResponseStatus": "1001" if is_taken else "1000",
            "ShortCode": fields["ShortCode"],
            "ResponseDescription": f"Shortcode {'already' if is_taken else 'Registered'} "
            f"{'Registered' if is_taken else 'Successfully'}",
        }

    def pull(self, start: datetime, end: datetime, offset: int) -> Json:
        """One page of the list, oldest first. The list is nested once more than one would think."""
        rows = self._bank.pull(start, end, self._clock.now(), offset, self._settings.SIM_PULL_PAGE)
        return {
            "ResponseRefID": self._draws.request_id(),
            "ResponseCode": "1000" if rows else "1001",
            "ResponseMessage": "Success" if rows else "No transactions found",
            "Response": [[self._listed(row) for row in rows]],
        }

    def _listed(self, row: Row) -> Json:
        is_reversal = row["kind"] == "reversal"
        return {
            "transactionId": row["receipt"],
            # Nairobi's time, whatever the Z says.
            "trxDate": f"{datetime.fromisoformat(row['at']):%Y-%m-%dT%H:%M:%SZ}",
            "msisdn": int(row["phone"]),
            "sender": CUSTOMER,
            "transactiontype": "c2b-reversal" if is_reversal else "c2b-pay-bill-debit",
            "billreference": row["original_receipt"] if is_reversal else row["reference"],
            "amount": f"{row['amount']}.00",
            "organizationname": MERCHANT,
        }


def _read_validation(answer: Any, otherwise: str) -> tuple[str, str]:
    """The merchant's code, and the id it wants to hear again; without an answer, what it registered decides."""
    try:
        told = answer.json() if answer is not None and answer.ok else None
    except ValueError:
        told = None
    if not isinstance(told, dict) or "ResultCode" not in told:
        return ("0" if otherwise == "Completed" else "C2B00016"), ""
    return str(told["ResultCode"]), str(told.get("ThirdPartyTransID") or "")


def describe(code: int | str) -> str:
    return RESULTS.get(code, "The merchant refused the payment.")
