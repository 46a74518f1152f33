"""The simulated M-PESA network: everything that is remembered, and everything that changes it."""

from __future__ import annotations

import json
import string
import threading
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import requests
from flask import current_app
from werkzeug.local import LocalProxy

from daraja_simulator import messages
from daraja_simulator import scenarios as sc
from daraja_simulator.clock import Clock
from daraja_simulator.messages import Json, Refusal
from daraja_simulator.prompts import Prompt, random_text
from daraja_simulator.scenarios import Outcome, Scenario
from daraja_simulator.settings import Settings

PIN = "1234"
ANSWERS = {
    "pay": Outcome(sc.PAID, after_seconds=0),
    "wrong_pin": Outcome(sc.WRONG_PIN, after_seconds=0),
    "cancel": Outcome(sc.CANCELLED, after_seconds=0),
    "ignore": Outcome(sc.NO_ANSWER, after_seconds=26),
}
#: How long a prompt waits for a person who has the phone in hand.
PATIENCE_SECONDS = 60
#: A phone page that has not polled for so long, in real seconds, is taken for closed.
WATCHED_SECONDS = 5
CALLBACK_TIMEOUT_SECONDS = 10
LOCKED = "Unable to lock subscriber, a transaction is already in process for the current subscriber"


class Mistake(ValueError):
    """The control plane was asked for something that makes no sense. The text says what, for a person."""


@dataclass(frozen=True)
class Delivery:
    """One attempt to post a callback: an HTTP status, or the reason why there is none."""

    checkout_request_id: str
    url: str
    body: Json
    status: int | None
    error: str | None
    at: str


class Network:
    """Holds all state, in memory. Safe to share between threads."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self.settings = settings
        self.clock = clock
        self._lock = threading.RLock()
        #: Access tokens with their ends.
        self._tokens: dict[str, datetime] = {}
        #: By CheckoutRequestID, oldest first.
        self._prompts: dict[str, Prompt] = {}
        self._deliveries: list[Delivery] = []
        #: The scenario the next push to a phone follows.
        self._scripts: dict[str, Scenario] = {}
        #: When the page of a phone last polled, on the monotonic clock.
        self._watched: dict[str, float] = {}

    def reset(self) -> None:
        """Forget all but the access tokens, and set the clock to real time."""
        with self._lock:
            self.clock.reset()
            for memory in (self._prompts, self._deliveries, self._scripts, self._watched):
                memory.clear()

    def issue_token(self) -> str:
        with self._lock:
            if self.settings.SIM_SINGLE_TOKEN:
                self._tokens.clear()
            token = random_text(string.ascii_letters + string.digits, 28)
            self._tokens[token] = self.clock.now() + timedelta(seconds=self.settings.SIM_TOKEN_SECONDS)
            return token

    def is_token_good(self, token: str | None) -> bool:
        with self._lock:
            return token in self._tokens and self.clock.now() < self._tokens[token]

    def expire_tokens(self) -> None:
        with self._lock:
            self._tokens.clear()

    def script(self, phone: str, row: str) -> None:
        """Let the next push to `phone` go as one to 254700000<row>. Raises Mistake."""
        if row not in sc.SCENARIOS:
            raise Mistake(f"The row must be one of {', '.join(sc.SCENARIOS)}.")
        with self._lock:
            self._scripts[phone] = sc.SCENARIOS[row]

    def next_scenario(self, phone: str) -> Scenario:
        """What was scripted for the phone's next push, else what its number stands for."""
        with self._lock:
            return self._scripts.pop(phone, None) or sc.scenario_of(phone)

    def show(self, prompt: Prompt) -> None:
        """Put a prompt on its phone. Raises Refusal while another is there."""
        with self._lock:
            if any(other.result is None for other in self.prompts(prompt.phone)):
                raise Refusal(500, "500.001.1001", LOCKED)
            self._prompts[prompt.checkout_request_id] = prompt
            for outcome in prompt.scenario.outcomes:
                self._plan(prompt, outcome)
            if prompt.scenario is sc.ORDINARY:
                first_look = min(self.settings.SIM_AUTO_PAY_SECONDS or PATIENCE_SECONDS, PATIENCE_SECONDS)
                self.clock.at(prompt.pushed_at + self.clock.scaled(first_look), partial(self._look_after, prompt))

    def prompts(self, phone: str | None = None) -> list[Prompt]:
        """Oldest first."""
        with self._lock:
            return [prompt for prompt in self._prompts.values() if phone in (None, prompt.phone)]

    def deliveries(self) -> list[Delivery]:
        with self._lock:
            return list(self._deliveries)

    def query(self, checkout_request_id: str) -> tuple[int, Json]:
        """HTTP status and body of what is known about a prompt. Raises Refusal."""
        with self._lock:
            prompt = self._prompts.get(checkout_request_id)
            if prompt is None:
                raise Refusal(500, "500.001.1001", "The transaction does not Exist")
            if prompt.result is not None:
                return 200, messages.query_answer(prompt)
            prompt.queries += 1
            return messages.query_in_flight(prompt, turn=prompt.queries)

    def answer(self, checkout_request_id: str, choice: str, pin: str | None = None) -> Prompt:
        """Do on the phone what a person would, one of ANSWERS; to pay with a PIN other than 1234 is `wrong_pin`.

        Raises Mistake.
        """
        if choice not in ANSWERS:
            raise Mistake(f"The outcome must be one of {', '.join(ANSWERS)}.")
        outcome = ANSWERS["wrong_pin" if choice == "pay" and pin not in (None, PIN) else choice]
        with self._lock:
            prompt = self._prompts.get(checkout_request_id)
            if prompt is None:
                raise Mistake("There is no such prompt.")
            if prompt.is_answered or prompt.result is not None:
                raise Mistake("This prompt has been answered.")
            prompt.is_answered = True
            if outcome.after_seconds:
                self._plan(prompt, outcome, is_persons=True)
            else:
                self._end(prompt, outcome, is_persons=True)
            return prompt

    def watch(self, phone: str) -> None:
        """Somebody has this phone in hand, for the next few seconds."""
        with self._lock:
            self._watched[phone] = time.monotonic()

    def _plan(self, prompt: Prompt, outcome: Outcome, *, is_persons: bool = False) -> None:
        moment = prompt.pushed_at + self.clock.scaled(outcome.after_seconds)
        self.clock.at(moment, partial(self._end, prompt, outcome, is_persons=is_persons))

    def _look_after(self, prompt: Prompt) -> None:
        """Answer an ordinary phone's prompt, unless somebody is about to."""
        now = self.clock.now()
        if now >= prompt.pushed_at + self.clock.scaled(PATIENCE_SECONDS):
            self._end(prompt, Outcome(sc.NO_ANSWER))
        elif time.monotonic() - self._watched.get(prompt.phone, -WATCHED_SECONDS) > WATCHED_SECONDS:
            self._end(prompt, Outcome(sc.PAID))
        elif not prompt.is_answered:
            self.clock.at(now + self.clock.scaled(1), partial(self._look_after, prompt))

    def _end(self, prompt: Prompt, outcome: Outcome, *, is_persons: bool = False) -> None:
        """Give a prompt its result and tell the merchant."""
        with self._lock:
            if not self._is_known(prompt) or (prompt.is_answered and not is_persons):
                return
            prompt.end(outcome.result, self.clock.now())
            body = messages.callback(prompt)
        threads, posts_each = (outcome.posts, 1) if outcome.is_concurrent else (1, outcome.posts)
        for _ in range(threads):
            threading.Thread(target=self._post, args=(prompt, body, posts_each), daemon=True).start()

    def _post(self, prompt: Prompt, body: Json, posts: int) -> None:
        """Post a callback; like Safaricom, never again because of how it was received."""
        for _ in range(posts):
            at = self.clock.now().isoformat()
            status, error = _post_once(prompt.callback_url, body, self.settings.MPESA_SHORTCODE)
            with self._lock:
                if not self._is_known(prompt):
                    return
                self._deliveries.append(
                    Delivery(prompt.checkout_request_id, prompt.callback_url, body, status, error, at)
                )
            prompt.told.set()

    def _is_known(self, prompt: Prompt) -> bool:
        """Whether it is of now, and not of the time before a reset."""
        return self._prompts.get(prompt.checkout_request_id) is prompt


def _post_once(url: str, body: Json, shortcode: str) -> tuple[int | None, str | None]:
    """The status of the merchant's answer, or why there was none."""
    headers = {"Content-Type": "application/json;charset=UTF-8", "Businessshortcode": shortcode}
    content = json.dumps(body, separators=(",", ":"))
    with requests.Session() as http:
        # Neither a proxy nor a redirect may lead off this machine.
        http.trust_env = False
        try:
            answer = http.post(url, content, headers=headers, timeout=CALLBACK_TIMEOUT_SECONDS, allow_redirects=False)
        except requests.RequestException as error:
            return None, type(error).__name__
    return answer.status_code, None


#: The running app's network.
network: Network = LocalProxy(lambda: current_app.extensions["network"])  # type: ignore[assignment]
