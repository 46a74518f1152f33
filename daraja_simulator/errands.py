"""What is carried out later and answered by a posted Result: B2C, reversal, transaction status, account balance."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from daraja_simulator import scenarios as sc
from daraja_simulator.bank import INCOMING, Bank
from daraja_simulator.clock import Agenda
from daraja_simulator.draws import Draws
from daraja_simulator.network import MOST_KES
from daraja_simulator.post import Post
from daraja_simulator.prompts import CUSTOMER, MERCHANT, receipt_number
from daraja_simulator.settings import Settings
from daraja_simulator.store import Row, Store
from daraja_simulator.wire import Json, Refusal

LEAST_B2C_KES = 10
#: Between the acceptance and the deed.
WORK_SECONDS = 2
REASONS = {
    "stk": "Pay Bill Online",
    "c2b": "Pay Bill",
    "b2c": "Business Payment to Customer via API",
    "reversal": "Organization Reversal via API",
}
QUEUES = {"b2c": "b2cresults", "reversal": "reversalresults", "balance": "abresults"}
#: Key and Value; None is an item without a Value.
Parameters = Sequence[tuple[str, Any]]


@dataclass(frozen=True)
class Result:
    code: int | str = sc.PAID
    #: Of the transaction it made.
    receipt: str | None = None
    parameters: Parameters = ()


class Errands:
    def __init__(self, settings: Settings, store: Store, agenda: Agenda, draws: Draws, bank: Bank, post: Post) -> None:
        self._shop, self._draws = settings.MPESA_SHORTCODE, draws
        self._store, self._agenda, self._clock, self._bank, self._post = store, agenda, agenda.clock, bank, post
        self._ways = {
            "b2c": self._pay_out,
            "reversal": self._reverse,
            "status": self._look_up,
            "balance": self._balance,
        }
        agenda.actions["carry out"] = self._carry_out

    def take(self, kind: str, path: str, fields: dict[str, str], *, is_authorised: bool) -> Json:
        """Note it down and say so. Raises Refusal for a B2C whose id was used before."""
        now = self._clock.now()
        with self._store.transaction():
            originator = (fields.get("OriginatorConversationID") if kind == "b2c" else "") or self._draws.request_id()
            conversation = self._draws.conversation_id(now)
            query = "SELECT 1 FROM requests WHERE originator_conversation_id = ?"
            if self._store.row(query, originator):
                raise Refusal(500, "500.002.1001", "Duplicate OriginatorConversationID.")
            note = {"kind": kind, "path": path, "fields": json.dumps(fields), "is_authorised": is_authorised}
            own = {"originator_conversation_id": originator, "conversation_id": conversation, "at": now.isoformat()}
            self._store.insert("requests", **note, **own)
            self._agenda.at(self._clock.after(WORK_SECONDS), "carry out", conversation_id=conversation)
        return {
            "OriginatorConversationID": originator,
            "ConversationID": conversation,
            "ResponseCode": "0",
            "ResponseDescription": "Accept the service request successfully.",
        }

    def reverse_by_itself(self, receipt: str) -> str | None:
        """As Safaricom does when a customer complains: nobody is told. The reversal's receipt, if it was possible."""
        with self._store.transaction():
            return self._undo(receipt, None).receipt

    def pay_out_by_hand(self, phone: str, amount: int) -> str | None:
        """As the shop does in M-PESA's portal: nobody is told. The receipt, if there was enough money."""
        with self._store.transaction():
            return self._bank.transfer("b2c", phone, amount, self._clock.now())

    def _carry_out(self, conversation_id: str) -> None:
        request = self._store.row("SELECT * FROM requests WHERE conversation_id = ?", conversation_id)
        assert request is not None
        fields: dict[str, str] = json.loads(request["fields"])
        refund = self._refund(request["kind"], fields)
        result = Result(sc.WRONG_PIN)
        if request["is_authorised"]:
            result = self._ways[request["kind"]](request, fields)
        self._store.run(
            "UPDATE requests SET result = ?, receipt = ? WHERE conversation_id = ?",
            *(str(result.code), result.receipt, conversation_id),
        )
        if refund.told == "never":
            return
        body, timeout = self._body(request, result), (fields["QueueTimeOutURL"], self._timeout(request))
        kind, address = "result", fields["ResultURL"]
        if refund.told == "timeout":
            kind, (address, body) = "timeout", timeout
        self._post.plan(kind, address, body, subject=conversation_id, path=request["path"], timeout=timeout)

    def _refund(self, kind: str, fields: dict[str, str]) -> sc.Refund:
        """What the payee's number stands for."""
        phone = fields.get("PartyB", "") if kind == "b2c" else ""
        if kind == "reversal":
            original = self._bank.transaction(fields["TransactionID"])
            phone = original["phone"] if original else ""
        return sc.SCENARIOS[sc.row_of(phone)].refund

    # ── The ways ─────────────────────────────────────────────────────────────────────────────────────────

    def _pay_out(self, request: Row, fields: dict[str, str]) -> Result:
        phone, amount, now = fields["PartyB"], int(fields["Amount"]), self._clock.now()
        refund = self._refund("b2c", fields)
        if refund.result != sc.PAID:
            return Result(refund.result)
        if not LEAST_B2C_KES <= amount <= MOST_KES:
            return Result(sc.UNDER_LIMIT if amount < LEAST_B2C_KES else sc.OVER_LIMIT)
        receipt = self._bank.transfer("b2c", phone, amount, now, **_ids(request))
        if receipt is None:
            return Result(sc.NO_FUNDS)
        parameters = (
            ("TransactionAmount", amount),
            ("TransactionReceipt", receipt),
            ("ReceiverPartyPublicName", f"{phone} - {CUSTOMER}"),
            ("TransactionCompletedDateTime", f"{now:%d.%m.%Y %H:%M:%S}"),
            ("B2CUtilityAccountAvailableFunds", float(self._bank.shop_balance)),
            ("B2CWorkingAccountAvailableFunds", 0.0),
            ("B2CRecipientIsRegisteredCustomer", "Y"),
            ("B2CChargesPaidAccountAvailableFunds", 0.0),
        )
        return Result(sc.PAID, receipt, parameters)

    def _reverse(self, request: Row, fields: dict[str, str]) -> Result:
        refund = self._refund("reversal", fields)
        if refund.result != sc.PAID:
            return Result(refund.result)
        return self._undo(fields["TransactionID"], request, int(fields["Amount"]))

    def _undo(self, original_receipt: str, request: Row | None, amount: int | None = None) -> Result:
        """Reverse a payment to the shop, and the whole of it only."""
        original, now = self._bank.transaction(original_receipt), self._clock.now()
        if original is None or original["kind"] not in INCOMING:
            return Result(sc.UNKNOWN_RECEIPT)
        if self._bank.reversal_of(original_receipt) is not None:
            return Result(sc.REVERSED_ALREADY)
        if amount not in (None, original["amount"]):
            return Result(sc.UNDER_LIMIT)
        receipt = self._bank.reverse(original, now, **(_ids(request) if request else {}))
        if receipt is None:
            return Result(sc.NO_FUNDS)
        balance = f"{self._bank.shop_balance}.00"
        parameters = (
            ("DebitAccountBalance", f"Utility Account|KES|{balance}|{balance}|0.00|0.00"),
            ("Amount", float(original["amount"])),
            ("TransCompletedTime", _stamp(now)),
            ("OriginalTransactionID", original_receipt),
            ("Charge", 0.0),
            ("CreditPartyPublicName", f"{original['phone']} - {CUSTOMER}"),
            ("DebitPartyPublicName", f"{self._shop} - {MERCHANT}"),
        )
        return Result(sc.PAID, receipt, parameters)

    def _look_up(self, _request: Row, fields: dict[str, str]) -> Result:
        receipt = fields["TransactionID"]
        if not receipt:
            asked_for = fields["OriginalConversationID"] or fields["OriginatorConversationID"]
            request = self._store.row(
                "SELECT * FROM requests WHERE ? IN (conversation_id, originator_conversation_id)"
                " AND kind IN ('b2c', 'reversal')",
                asked_for,
            )
            receipt = (request or {}).get("receipt") or ""
        found = self._bank.transaction(receipt)
        return Result(sc.UNKNOWN_RECEIPT) if found is None else Result(parameters=self._status(found))

    def _status(self, found: Row) -> Parameters:
        at = _stamp(datetime.fromisoformat(found["at"]))
        parties = [f"{found['phone']} - {CUSTOMER}", f"{self._shop} - {MERCHANT}"]
        is_incoming = found["kind"] in INCOMING
        is_reversed = self._bank.reversal_of(found["receipt"]) is not None
        payer, payee = parties if is_incoming else reversed(parties)
        return (
            # Twice: Safaricom calls the one who is paid so as well.
            ("DebitPartyName", payer),
            ("DebitPartyName", payee),
            ("OriginatorConversationID", found["originator_conversation_id"]),
            ("InitiatedTime", at),
            ("DebitAccountType", "MMF Account For Customer" if is_incoming else "Utility Account"),
            ("DebitPartyCharges", "Fee For B2C Payment|KES|0.00" if found["kind"] == "b2c" else None),
            ("TransactionReason", None),
            ("ReasonType", REASONS[found["kind"]]),
            ("TransactionStatus", "Reversed" if is_reversed else "Completed"),
            ("FinalisedTime", at),
            ("Amount", float(found["amount"])),
            ("ConversationID", found["conversation_id"]),
            ("ReceiptNo", found["receipt"]),
        )

    def _balance(self, _request: Row, _fields: dict[str, str]) -> Result:
        balances = {"Working": 0, "Utility": self._bank.shop_balance, "Charges Paid": 0}
        told = "&".join(f"{name} Account|KES|{kes}.00|{kes}.00|0.00|0.00" for name, kes in balances.items())
        return Result(parameters=(("AccountBalance", told), ("BOCompletedTime", _stamp(self._clock.now()))))

    # ── The posted result ────────────────────────────────────────────────────────────────────────────────

    def _body(self, request: Row, result: Result) -> Json:
        """A failure has no parameters."""
        text = sc.RESULTS[result.code]
        told = self._envelope(request, 0, result.code, text, result.receipt)
        if result.parameters:
            items = [
                {"Key": key} if value is None else {"Key": key, "Value": value} for key, value in result.parameters
            ]
            told["ResultParameters"] = {"ResultParameter": items}
        queue = f"https://internalapi.safaricom.co.ke/mpesa/{QUEUES.get(request['kind'])}/v1/submit"
        reference = {"Key": "QueueTimeoutURL", "Value": queue} if request["kind"] in QUEUES else {"Key": "Occasion"}
        told["ReferenceData"] = {"ReferenceItem": reference}
        return {"Result": told}

    def _timeout(self, request: Row) -> Json:
        """Says nothing of what was done."""
        return {"Result": self._envelope(request, 1, sc.BUSY, "The service request timed out in the queue.", None)}

    def _envelope(self, request: Row, kind: int, code: int | str, text: str, receipt: str | None) -> Json:
        return {
            "ResultType": kind,
            "ResultCode": code,
            "ResultDesc": text,
            "OriginatorConversationID": request["originator_conversation_id"],
            "ConversationID": request["conversation_id"],
            "TransactionID": receipt or receipt_number(self._clock.now(), "0000000"),
        }


def _ids(request: Row) -> dict[str, str]:
    return {name: request[name] for name in ("originator_conversation_id", "conversation_id")}


def _stamp(moment: datetime) -> int:
    return int(f"{moment:%Y%m%d%H%M%S}")
