"""What is posted to the merchant: planned in the ledger, posted once, and how it was received."""

from __future__ import annotations

import json
import threading
import time
from functools import partial
from typing import Any

import requests

from daraja_simulator.chance import Chance
from daraja_simulator.clock import Afterwards, Agenda
from daraja_simulator.store import Store

TIMEOUT_SECONDS = 10


class Post:
    """Like Safaricom, it never posts again because of how something was received."""

    def __init__(self, shortcode: str, store: Store, agenda: Agenda, chance: Chance) -> None:
        self._headers = {"Content-Type": "application/json;charset=UTF-8", "Businessshortcode": shortcode}
        self._store, self._agenda, self._chance = store, agenda, chance
        self._posted = threading.Condition()
        agenda.actions["post"] = self._start

    def recover(self) -> None:
        """After a kill: what was being posted is not posted again, what was to follow it is."""
        for cut in self._store.rows("SELECT * FROM deliveries WHERE status IS NULL AND error IS NULL"):
            self._finish(cut["id"], cut, None, "Killed")

    def plan(
        self,
        kind: str,
        url: str,
        body: Any,
        *,
        subject: str,
        path: str,
        posts: int = 1,
        is_concurrent: bool = False,
        timeout: tuple[str, Any] | None = None,
    ) -> None:
        """Post it at once, in the caller's transaction, unless a fault of `path` has it otherwise.

        `subject` is the id it is about; `timeout` the address and the body that may take its place.
        """
        fault, moment = self._chance.of_delivery(path), self._agenda.clock.now()
        fate = fault.kind if fault else None
        if fate == "lost_callback":
            return
        if fate == "timeout_result" and timeout is not None:
            kind, (url, body) = "timeout", timeout
        if fate in ("double_callback", "twin_callbacks"):
            posts, is_concurrent = posts + 1, fate == "twin_callbacks"
        if fault is not None and fate == "late_callback":
            moment += self._agenda.clock.scaled(fault.delay)
        content = body if isinstance(body, str) else json.dumps(body, separators=(",", ":"))
        letters, times = (posts, 1) if is_concurrent else (min(posts, 1), posts)
        for _ in range(letters):
            letter = {"kind": kind, "subject": subject, "url": url, "body": content, "times_left": times - 1}
            self._agenda.at(moment, "post", **letter)

    def deliveries(self) -> list[dict[str, Any]]:
        """Every attempt, oldest first."""
        return [
            {
                "checkout_request_id": row["subject"] if row["kind"] == "callback" else None,
                **{name: row[name] for name in ("kind", "subject", "url", "status", "error", "at")},
                "body": _read(row["body"]),
            }
            for row in self._store.rows("SELECT * FROM deliveries ORDER BY id")
            if row["status"] is not None or row["error"] is not None
        ]

    def wait_until_posted(self, subject: str, seconds: float) -> None:
        give_up_at = time.monotonic() + seconds
        query = "SELECT 1 FROM deliveries WHERE subject = ? AND (status IS NOT NULL OR error IS NOT NULL)"
        with self._posted:
            while self._store.row(query, subject) is None and (left := give_up_at - time.monotonic()) > 0:
                self._posted.wait(left)

    def ask(self, kind: str, subject: str, url: str, body: Any, seconds: float) -> requests.Response | None:
        """Post and wait for the answer; None when there is none. Noted as a delivery, too."""
        content = json.dumps(body, separators=(",", ":"))
        answer, error = post_once(url, content, self._headers, seconds)
        at = self._agenda.clock.now().isoformat()
        status = None if answer is None else answer.status_code
        letter = {"kind": kind, "subject": subject, "url": url, "body": content, "at": at, "times_left": 0}
        self._store.insert("deliveries", **letter, status=status, error=error)
        return answer

    def _start(self, **letter: Any) -> Afterwards:
        at = self._agenda.clock.now().isoformat()
        delivery = self._store.insert("deliveries", **letter, at=at)
        return threading.Thread(target=self._post, args=(delivery, letter), daemon=True).start

    def _post(self, delivery: int, letter: dict[str, Any]) -> None:
        answer, error = post_once(letter["url"], letter["body"], self._headers, TIMEOUT_SECONDS)
        self._finish(delivery, letter, None if answer is None else answer.status_code, error)
        with self._posted:
            self._posted.notify_all()

    def _finish(self, delivery: int, letter: dict[str, Any], status: int | None, error: str | None) -> None:
        with self._store.transaction():
            is_left = self._store.run(
                "UPDATE deliveries SET status = ?, error = ? WHERE id = ?", status, error, delivery
            )
            # Unless there was a reset meanwhile.
            if is_left and letter["times_left"]:
                again = {name: letter[name] for name in ("kind", "subject", "url", "body")}
                self._agenda.at(self._agenda.clock.now(), "post", **again, times_left=letter["times_left"] - 1)


def post_once(
    url: str, content: str, headers: dict[str, str], seconds: float
) -> tuple[requests.Response | None, str | None]:
    """The merchant's answer, or why there was none."""
    with requests.Session() as http:
        # Neither a proxy nor a redirect may lead off this machine.
        http.trust_env = False
        send = partial(http.post, url, content.encode(), headers=headers, allow_redirects=False)
        try:
            return send(timeout=seconds), None
        except requests.RequestException as error:
            return None, type(error).__name__


def _read(content: str) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return content
