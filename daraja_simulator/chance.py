"""What goes wrong on the way: faults asked for by the control plane, and those a profile lets happen by chance.

A profile never makes the ledger lie: what is answered about money is true, late or not at all. The one exception is
row 026, whose STK query contradicts a payment, as Safaricom's sandbox has been seen to do.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TypeVar

from daraja_simulator.draws import Draws
from daraja_simulator.settings import Settings
from daraja_simulator.store import Store
from daraja_simulator.wire import LOSSES, REFUSALS

PUSH, QUERY, B2C = "/mpesa/stkpush/v1/processrequest", "/mpesa/stkpushquery/v1/query", "/mpesa/b2c"
REVERSAL, STATUS, PULL = "/mpesa/reversal/v1/request", "/mpesa/transactionstatus/v1/query", "/pulltransactions/v1/query"
BALANCE, CONFIRMATION = "/mpesa/accountbalance/v1/query", "/mpesa/c2b/confirmation"

_Drawn = TypeVar("_Drawn")

#: Of a request. "slow" waits; "expire" ends all access tokens first; those of LOSSES are carried out all the same.
CALL_KINDS = (*REFUSALS, *LOSSES, "slow", "expire")
#: Of what is posted to the merchant.
DELIVERY_KINDS = ("lost_callback", "double_callback", "twin_callbacks", "late_callback", "timeout_result")


@dataclass(frozen=True)
class Fault:
    kind: str
    #: In seconds, divided by the speed as all delays are.
    delay: float = 0


@dataclass(frozen=True)
class Chances:
    """Of a hundred: each row of an unscripted push, each fault of a request or of a delivery, by its path."""

    rows: tuple[tuple[float, str], ...] = ()
    calls: tuple[tuple[float, str, Fault], ...] = ()
    deliveries: tuple[tuple[float, str, Fault], ...] = ()
    #: Rule 17 holds for all but the scripted numbers.
    has_rule_17: bool = False
    #: STK payments are told to the ConfirmationURL as well.
    confirms_stk: bool = False


PROFILES = {
    "calm": Chances(),
    "realistic": Chances(
        rows=(
            *((5, "001"), (2, "002"), (3, "003"), (3, "004"), (1, "005"), (1, "007"), (0.5, "008"), (0.5, "012")),
            *((0.5, "006"), (0.5, "015"), (1, "020"), (2, "025"), (1, "026"), (1, "027"), (1, "030"), (1, "031")),
            *((0.5, "032"), (1, "040"), (1, "041"), (1, "042"), (0.5, "044"), (1, "045"), (1, "047")),
        ),
        calls=(
            *((1, "/oauth", Fault("500")), (1, "/oauth", Fault("slow", 2))),
            *((1, PUSH, Fault("expire")), (1, PUSH, Fault("slow", 3))),
            *((20, QUERY, Fault("silence")), (1, QUERY, Fault("html")), (1, QUERY, Fault("reset"))),
            *((3, STATUS, Fault("500")), (2, STATUS, Fault("spike")), (2, STATUS, Fault("reset"))),
            *((5, PULL, Fault("500")), (2, PULL, Fault("html")), (2, PULL, Fault("slow", 5))),
            *((3, REVERSAL, Fault("500")), (2, REVERSAL, Fault("spike")), (3, REVERSAL, Fault("reset"))),
            *((3, B2C, Fault("500")), (2, B2C, Fault("spike")), (3, B2C, Fault("reset")), (1, B2C, Fault("expire"))),
        ),
        deliveries=(
            *(
                (6, PUSH, Fault("lost_callback")),
                (4, PUSH, Fault("double_callback")),
                (2, PUSH, Fault("twin_callbacks")),
            ),
            *((6, PUSH, Fault("late_callback", 20)), (2, PUSH, Fault("late_callback", 300))),
            *((5, CONFIRMATION, Fault("lost_callback")), (5, CONFIRMATION, Fault("double_callback"))),
            *((6, REVERSAL, Fault("lost_callback")), (4, REVERSAL, Fault("timeout_result"))),
            *((3, REVERSAL, Fault("twin_callbacks")), (4, REVERSAL, Fault("late_callback", 120))),
            *((6, B2C, Fault("lost_callback")), (4, B2C, Fault("timeout_result")), (3, B2C, Fault("twin_callbacks"))),
            *((4, B2C, Fault("late_callback", 120)), (6, STATUS, Fault("lost_callback"))),
            *((3, STATUS, Fault("timeout_result")), (3, STATUS, Fault("late_callback", 60))),
        ),
        has_rule_17=True,
        confirms_stk=True,
    ),
}


class Chance:
    def __init__(self, settings: Settings, store: Store, draws: Draws) -> None:
        self._settings, self._store, self.draws = settings, store, draws

    @property
    def profile(self) -> str:
        return str(self._store.fact("profile", self._settings.SIM_PROFILE))

    @property
    def chances(self) -> Chances:
        return PROFILES[self.profile]

    def ask_for(self, path: str, kind: str, count: int, delay: float) -> None:
        """Let it happen to the next requests to `path` or below, or to what is posted because of them."""
        self._store.insert("faults", path=path, kind=kind, count=count, delay=delay)

    def of_call(self, path: str) -> Fault | None:
        return self._asked_for(path, CALL_KINDS) or self._drawn("call", path, self.chances.calls)

    def of_delivery(self, path: str) -> Fault | None:
        return self._asked_for(path, DELIVERY_KINDS) or self._drawn("delivery", path, self.chances.deliveries)

    def row(self) -> str | None:
        """What the next ordinary phone does, if the profile has it do anything in particular."""
        return self._draw("row", self.chances.rows)

    def _asked_for(self, path: str, kinds: Collection[str]) -> Fault | None:
        with self._store.transaction():
            for asked in self._store.rows("SELECT * FROM faults WHERE count > 0 ORDER BY id"):
                if asked["kind"] in kinds and _is_below(path, asked["path"]):
                    self._store.run("UPDATE faults SET count = count - 1 WHERE id = ?", asked["id"])
                    return Fault(asked["kind"], asked["delay"])
        return None

    def _drawn(self, purpose: str, path: str, rates: tuple[tuple[float, str, Fault], ...]) -> Fault | None:
        ours = tuple((rate, fault) for rate, of, fault in rates if _is_below(path, of))
        return self._draw(f"{purpose} {path}", ours)

    def _draw(self, purpose: str, rates: tuple[tuple[float, _Drawn], ...]) -> _Drawn | None:
        if not rates:
            return None
        at = self.draws.next(purpose).uniform(0, 100)
        for rate, what in rates:
            at -= rate
            if at < 0:
                return what
        return None


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")
