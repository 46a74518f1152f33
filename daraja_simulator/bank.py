"""Money: the customers' wallets, the shop's account, and every transaction between them."""

from __future__ import annotations

from datetime import datetime, timedelta

from daraja_simulator.draws import Draws
from daraja_simulator.settings import Settings
from daraja_simulator.store import Row, Store

#: Money that comes to the shop.
INCOMING = ("stk", "c2b")
#: How far back Pull looks.
PULL_HOURS = 48


class Bank:
    """Called inside a transaction, so that money moves together with what is noted about it."""

    def __init__(self, settings: Settings, store: Store, draws: Draws) -> None:
        self._store, self._draws, self._shop = store, draws, settings.MPESA_SHORTCODE
        self._first_balance = settings.SIM_WALLET_KES

    def balance(self, account: str) -> int:
        """Of a phone, or of the shop by its shortcode."""
        found = self._store.row("SELECT balance FROM wallets WHERE phone = ?", account)
        if found is None:
            return 0 if account == self._shop else self._first_balance
        return int(found["balance"])

    @property
    def shop_balance(self) -> int:
        return self.balance(self._shop)

    def wallets(self) -> dict[str, int]:
        """Of all phones whose money has ever moved."""
        rows = self._store.rows("SELECT * FROM wallets WHERE phone != ? ORDER BY phone", self._shop)
        return {row["phone"]: row["balance"] for row in rows}

    def transfer(self, kind: str, phone: str, amount: int, at: datetime, **details: str | None) -> str | None:
        """Move money between a phone and the shop, whichever way `kind` goes. The receipt; None for lack of money."""
        payer, payee = (phone, self._shop) if kind in INCOMING else (self._shop, phone)
        if self.balance(payer) < amount:
            return None
        for account, change in ((payer, -amount), (payee, amount)):
            balance = self.balance(account) + change
            self._store.run("INSERT OR REPLACE INTO wallets VALUES (?, ?)", account, balance)
        receipt = details.pop("receipt", None) or self._draws.receipt(at)
        values = {"receipt": receipt, "kind": kind, "phone": phone, "amount": amount, "at": at.isoformat()}
        self._store.insert("transactions", **values, **details)
        return receipt

    def reverse(self, original: Row, at: datetime, **details: str | None) -> str | None:
        """Undo a payment to the shop. The reversal's own receipt; None for lack of money."""
        details |= {"reference": original["reference"], "original_receipt": original["receipt"]}
        return self.transfer("reversal", original["phone"], original["amount"], at, **details)

    def transaction(self, receipt: str) -> Row | None:
        return self._store.row("SELECT * FROM transactions WHERE receipt = ?", receipt)

    def reversal_of(self, receipt: str) -> Row | None:
        return self._store.row("SELECT * FROM transactions WHERE original_receipt = ?", receipt)

    def transactions(self, phone: str | None = None) -> list[Row]:
        """Oldest first."""
        if phone is None:
            return self._store.rows("SELECT * FROM transactions ORDER BY rowid")
        return self._store.rows("SELECT * FROM transactions WHERE phone = ? ORDER BY rowid", phone)

    def pull(self, start: datetime, end: datetime, now: datetime, offset: int, most: int) -> list[Row]:
        """Payments to the shop, and those taken back, of a time within the last two days."""
        start = max(start, now - timedelta(hours=PULL_HOURS))
        # `end` has no fractions of a second, so all of its second is meant.
        return self._store.rows(
            "SELECT * FROM transactions WHERE kind != 'b2c' AND at >= ? AND at < ? ORDER BY rowid LIMIT ? OFFSET ?",
            start.isoformat(),
            (end + timedelta(seconds=1)).isoformat(),
            most,
            offset,
        )
