"""All that is drawn at random, fates, receipts and ids alike: a seed decides it, and the ledger counts it."""

from __future__ import annotations

import random
import secrets
import string
from datetime import datetime

from daraja_simulator import prompts
from daraja_simulator.settings import Settings
from daraja_simulator.store import Store

_CHARACTERS, _LENGTH = string.ascii_uppercase + string.digits, 7
_RECEIPTS = len(_CHARACTERS) ** _LENGTH


class Draws:
    """A numbered series for each purpose: with one seed, the same requests in the same order bring the same."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._given, self._store = settings.SIM_SEED, store

    @property
    def seed(self) -> str:
        """The one given, or else the ledger's own: one that is made anew repeats no receipt that a shop remembers."""
        if self._given:
            return self._given
        with self._store.transaction():
            own = self._store.fact("seed")
            if own is None:
                own = secrets.token_hex(8)
                self._store.note("seed", own)
        return str(own)

    def next(self, purpose: str) -> random.Random:
        return random.Random(f"{self.seed} {purpose} {self._store.count(f'draw {purpose}')}")

    def receipt(self, moment: datetime) -> str:
        """One this ledger has never given: its series goes through all there are before it comes round."""
        dice = random.Random(f"{self.seed} receipts")
        # A step of 6n + 1 has no divisor in common with 36 to the seventh.
        start, step = dice.randrange(_RECEIPTS), 6 * dice.randrange(_RECEIPTS // 6) + 1
        number = (start + step * self._store.count("receipts")) % _RECEIPTS
        digits = (number // len(_CHARACTERS) ** place % len(_CHARACTERS) for place in range(_LENGTH))
        return prompts.receipt_number(moment, "".join(_CHARACTERS[digit] for digit in digits))

    def request_id(self) -> str:
        return prompts.request_id(self.next("request"))

    def conversation_id(self, moment: datetime) -> str:
        return prompts.conversation_id(moment, self.next("conversation"))
