"""The simulated M-PESA network as a shop's phones see it: access tokens, prompts, and what becomes of them."""

from __future__ import annotations

import secrets
import string
import threading
import time
from dataclasses import replace
from datetime import datetime, timedelta

from daraja_simulator import messages
from daraja_simulator import scenarios as sc
from daraja_simulator.bank import Bank
from daraja_simulator.chance import PUSH, Chance
from daraja_simulator.clock import Agenda
from daraja_simulator.paybill import Paybill
from daraja_simulator.post import Post
from daraja_simulator.prompts import Prompt, checkout_id
from daraja_simulator.scenarios import Outcome
from daraja_simulator.settings import Settings
from daraja_simulator.store import Store
from daraja_simulator.wire import Json, Refusal, refusal

PIN = "1234"
ANSWERS = {
    "pay": Outcome(sc.PAID, after_seconds=0),
    "wrong_pin": Outcome(sc.WRONG_PIN, after_seconds=0),
    "cancel": Outcome(sc.CANCELLED, after_seconds=0),
    "ignore": Outcome(sc.NO_ANSWER, after_seconds=26),
}
MOST_KES = 250_000
RULE_17_SECONDS = 120
#: How long a prompt waits for a person who has the phone in hand.
PATIENCE_SECONDS = 60
#: A phone page that has not polled for so long, in real seconds, is taken for closed.
WATCHED_SECONDS = 5
#: Whose prompt the callback of row 029 names.
STRANGER = "254708374149"
SCRIPT_FIELDS = ("phone", "reference", "next")


class Mistake(ValueError):
    """The control plane was asked for something that makes no sense. The text says what, for a person."""


class Network:
    """Safe to share between threads. All but the access tokens is in the ledger."""

    def __init__(
        self, settings: Settings, store: Store, agenda: Agenda, chance: Chance, bank: Bank, post: Post, paybill: Paybill
    ) -> None:
        self._settings, self._store, self._agenda, self._clock = settings, store, agenda, agenda.clock
        self._chance, self._draws, self._bank, self._post, self._paybill = chance, chance.draws, bank, post, paybill
        self._token_lock = threading.Lock()
        #: Access tokens with their ends.
        self._tokens: dict[str, datetime] = {}
        #: When the page of a phone last polled, on the monotonic clock.
        self._watched: dict[str, float] = {}
        agenda.actions |= {"end": self._end_as_scripted, "answer": self._end_as_answered, "look": self._look_after}

    # ── Access tokens ────────────────────────────────────────────────────────────────────────────────────

    def issue_token(self) -> str:
        with self._token_lock:
            if self._settings.SIM_SINGLE_TOKEN:
                self._tokens.clear()
            token = "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(28))
            self._tokens[token] = self._clock.now() + timedelta(seconds=self._settings.SIM_TOKEN_SECONDS)
            return token

    def is_token_good(self, token: str | None) -> bool:
        with self._token_lock:
            return token in self._tokens and self._clock.now() < self._tokens[token]

    def expire_tokens(self) -> None:
        with self._token_lock:
            self._tokens.clear()

    # ── Pushes ───────────────────────────────────────────────────────────────────────────────────────────

    def script(self, field: str, value: str, row: str, count: int = 1) -> None:
        """Let the next `count` pushes go as to 254700000<row>: those of a phone or a reference, or any. Mistake."""
        if row not in sc.ROWS:
            raise Mistake(f"The row must be one of {', '.join(sc.ROWS)}.")
        with self._store.transaction():
            self._store.run("DELETE FROM scripts WHERE field = ? AND value = ?", field, value)
            self._store.insert("scripts", field=field, value=value, row=row, count=count)

    def push(self, fields: dict[str, str]) -> Prompt:
        """Put a prompt on a phone. Raises Refusal, or what else Daraja answers then."""
        with self._store.transaction():
            # Not raised in here: what was counted stays counted.
            prompt = self._place(fields)
        if isinstance(prompt, str):
            raise refusal(prompt)
        return prompt

    def _place(self, fields: dict[str, str]) -> Prompt | str:
        """The prompt, or why there is none: one of wire.REFUSALS."""
        phone, amount, now = fields["PhoneNumber"], int(fields["Amount"]), self._clock.now()
        script = self._scripted(phone, fields["AccountReference"])
        row = script["row"] if script else self._own_row(phone, amount, now)
        answer = sc.SCENARIOS[row].answer
        is_refused = answer.error is not None and not self._has_refused(phone, row, answer.errors)
        if script and not (is_refused and answer.errors):
            self._store.run("UPDATE scripts SET count = count - 1 WHERE id = ?", script["id"])
        if is_refused:
            return str(answer.error)
        if self._store.row("SELECT 1 FROM prompts WHERE phone = ? AND result IS NULL", phone):
            return "locked"
        prompt = Prompt(
            phone=phone,
            amount=amount,
            reference=fields["AccountReference"],
            description=fields["TransactionDesc"],
            callback_url=fields["CallBackURL"],
            row=row,
            pushed_at=now,
            merchant_request_id=self._draws.request_id(),
            checkout_request_id=checkout_id(now, phone),
        )
        self._store.insert("prompts", **prompt.dump())
        for turn, outcome in enumerate(prompt.scenario.outcomes):
            moment = now + self._clock.scaled(outcome.after_seconds)
            self._agenda.at(moment, "end", checkout_request_id=prompt.checkout_request_id, turn=turn)
        if row == sc.ORDINARY:
            first_look = min(self._settings.SIM_AUTO_PAY_SECONDS or PATIENCE_SECONDS, PATIENCE_SECONDS)
            self._agenda.at(
                now + self._clock.scaled(first_look), "look", checkout_request_id=prompt.checkout_request_id
            )
        return prompt

    def _scripted(self, phone: str, reference: str) -> Json | None:
        return self._store.row(
            "SELECT * FROM scripts WHERE count > 0 AND (field, value) IN (VALUES ('phone', ?), ('reference', ?),"
            " ('next', '')) ORDER BY field = 'next', field = 'reference' LIMIT 1",
            *(phone, reference),
        )

    def _own_row(self, phone: str, amount: int, now: datetime) -> str:
        if amount > MOST_KES:
            return sc.OVER_LIMIT_ROW
        has_rule = self._settings.SIM_RULE_17 or (self._chance.chances.has_rule_17 and not sc.is_scripted(phone))
        if has_rule and self._was_shown(phone, amount, now):
            return sc.RULE_17_ROW
        row = sc.row_of(phone)
        if row == sc.ORDINARY and not self._is_watched(phone):
            row = self._chance.row() or row
        return row

    def _was_shown(self, phone: str, amount: int, now: datetime) -> bool:
        since = (now - self._clock.scaled(RULE_17_SECONDS)).isoformat()
        query = "SELECT 1 FROM prompts WHERE phone = ? AND amount = ? AND pushed_at > ? AND row NOT IN (?, ?)"
        return self._store.row(query, phone, amount, since, sc.RULE_17_ROW, sc.OVER_LIMIT_ROW) is not None

    def _has_refused(self, phone: str, row: str, errors: int) -> bool:
        """Whether the row has refused the phone as often as it is to; then it starts anew."""
        name = f"refused {row} {phone}"
        if not errors or self._store.count(name) <= errors:
            return False
        self._store.run("DELETE FROM counters WHERE name = ?", name)
        return True

    # ── Prompts ──────────────────────────────────────────────────────────────────────────────────────────

    def prompts(self, phone: str | None = None) -> list[Prompt]:
        """Oldest first."""
        query, values = ("SELECT * FROM prompts", ()) if phone is None else (_OF_PHONE, (phone,))
        return [Prompt.load(row) for row in self._store.rows(f"{query} ORDER BY rowid", *values)]

    def query(self, checkout_request_id: str) -> tuple[int, Json]:
        """HTTP status and body of what is known about a prompt. Raises Refusal."""
        self._store.run("UPDATE prompts SET queries = queries + 1 WHERE checkout_request_id = ?", checkout_request_id)
        prompt = self._find(checkout_request_id)
        if prompt is None:
            raise Refusal(500, "500.001.1001", "The transaction does not Exist")
        if prompt.queries <= prompt.scenario.silent_queries:
            raise refusal("silence")
        if prompt.result is not None:
            return 200, messages.query_answer(prompt)
        return messages.query_in_flight(prompt, self._settings.SIM_QUERY_IN_FLIGHT)

    def answer(self, checkout_request_id: str, choice: str, pin: str | None = None) -> Prompt:
        """Do on the phone what a person would, one of ANSWERS; to pay with a PIN other than 1234 is `wrong_pin`.

        Raises Mistake.
        """
        if choice not in ANSWERS:
            raise Mistake(f"The outcome must be one of {', '.join(ANSWERS)}.")
        choice = "wrong_pin" if choice == "pay" and pin not in (None, PIN) else choice
        with self._store.transaction():
            prompt = self._find(checkout_request_id)
            if prompt is None:
                raise Mistake("There is no such prompt.")
            if prompt.is_answered or prompt.result is not None:
                raise Mistake("This prompt has been answered.")
            prompt.is_answered = True
            self._save(prompt)
            if ANSWERS[choice].after_seconds:
                moment = prompt.pushed_at + self._clock.scaled(ANSWERS[choice].after_seconds)
                self._agenda.at(moment, "answer", checkout_request_id=checkout_request_id, choice=choice)
            else:
                self._end(prompt, ANSWERS[choice])
            return prompt

    def watch(self, phone: str) -> None:
        """Somebody has this phone in hand, for the next few seconds."""
        self._watched[phone] = time.monotonic()

    def leave_phones(self) -> None:
        self._watched.clear()

    def _is_watched(self, phone: str) -> bool:
        return time.monotonic() - self._watched.get(phone, -WATCHED_SECONDS) <= WATCHED_SECONDS

    def _end_as_scripted(self, checkout_request_id: str, turn: int) -> None:
        prompt = self._find(checkout_request_id)
        if prompt is not None and not prompt.is_answered:
            self._end(prompt, prompt.scenario.outcomes[turn])

    def _end_as_answered(self, checkout_request_id: str, choice: str) -> None:
        prompt = self._find(checkout_request_id)
        if prompt is not None:
            self._end(prompt, ANSWERS[choice])

    def _look_after(self, checkout_request_id: str) -> None:
        """Answer an ordinary phone's prompt, unless somebody has or is about to."""
        prompt, now = self._find(checkout_request_id), self._clock.now()
        if prompt is None or prompt.is_answered:
            return
        is_watched = self._is_watched(prompt.phone)
        if is_watched and now < prompt.pushed_at + self._clock.scaled(PATIENCE_SECONDS):
            self._agenda.at(self._clock.after(1), "look", checkout_request_id=checkout_request_id)
        elif not is_watched and 0 < self._settings.SIM_AUTO_PAY_SECONDS < PATIENCE_SECONDS:
            # However late it is: this machine may be slow, or the process was dead for a while.
            self._end(prompt, Outcome(sc.PAID))
        else:
            self._end(prompt, Outcome(sc.NO_ANSWER))

    def _end(self, prompt: Prompt, outcome: Outcome) -> None:
        """Give a prompt its result, move the money, and tell the merchant; all of it in the caller's transaction."""
        now = self._clock.now()
        if outcome.is_foreign:
            told = replace(prompt, result=sc.PAID, ended_at=now, receipt=self._draws.receipt(now))
            told.checkout_request_id = checkout_id(now, STRANGER)
            self._tell(told, outcome)
            return
        if prompt.result == sc.PAID:
            return
        prompt.result, prompt.ended_at = outcome.result, now
        if outcome.result == sc.PAID:
            ids = {"reference": prompt.reference, "checkout_request_id": prompt.checkout_request_id}
            prompt.receipt = self._bank.transfer("stk", prompt.phone, prompt.amount, now, **ids)
            prompt.result = sc.NO_FUNDS if prompt.receipt is None else sc.PAID
        self._save(prompt)
        self._tell(prompt, outcome)
        if prompt.receipt is not None:
            self._paybill.confirm_stk(prompt.receipt, is_scripted=prompt.scenario.is_confirmed)

    def _tell(self, prompt: Prompt, outcome: Outcome) -> None:
        if outcome.posts:
            self._post.plan(
                "callback",
                prompt.callback_url,
                messages.callback(prompt, outcome.twist, has_balance=bool(self._settings.SIM_CALLBACK_BALANCE)),
                subject=prompt.checkout_request_id,
                path=PUSH,
                posts=outcome.posts,
                is_concurrent=outcome.is_concurrent,
            )

    def _find(self, checkout_request_id: str) -> Prompt | None:
        row = self._store.row("SELECT * FROM prompts WHERE checkout_request_id = ?", checkout_request_id)
        return Prompt.load(row) if row else None

    def _save(self, prompt: Prompt) -> None:
        self._store.run(
            "UPDATE prompts SET is_answered = ?, result = ?, ended_at = ?, receipt = ? WHERE checkout_request_id = ?",
            prompt.is_answered,
            prompt.result,
            prompt.ended_at and prompt.ended_at.isoformat(),
            prompt.receipt,
            prompt.checkout_request_id,
        )


_OF_PHONE = "SELECT * FROM prompts WHERE phone = ?"
