"""Every setting of the simulator, with the defaults of development. The only reader of the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

MOST = {"SIMULATOR_PORT": 65535}
LEAST = {"SIM_SPEED": 0.001, "SIM_PULL_PAGE": 1}
#: The shapes that have been seen of what a query says of a prompt in flight.
IN_FLIGHT = ("4999", "empty", "error")
CHOICES = {
    "SIM_PROFILE": ("calm", "realistic"),
    "SIM_EXPIRES_IN": ("text", "number"),
    "SIM_QUERY_IN_FLIGHT": ("rotate", *IN_FLIGHT),
}


@dataclass(frozen=True)
class Settings:
    SIMULATOR_HOST: str = "127.0.0.1"
    #: 0 takes any free port.
    SIMULATOR_PORT: int = 5001
    #: Every delay is divided by it.
    SIM_SPEED: float = 1.0
    #: The SQLite file with everything that must outlive the process; empty is a temporary one.
    SIM_LEDGER: str = ""
    #: Where certificate.cer and certificate.key are, or are made.
    SIM_CERTIFICATE_DIR: str = "instance/simulator"
    #: What a phone never seen before has in its wallet.
    SIM_WALLET_KES: int = 500_000
    #: An ordinary phone nobody watches pays after so long; 0, or empty, never does.
    SIM_AUTO_PAY_SECONDS: float = 5.0
    SIM_TOKEN_SECONDS: int = 3599
    #: How `expires_in` is written: `text` as on the older portal, `number` as on the newer one.
    SIM_EXPIRES_IN: str = "text"
    #: 1: a new access token ends the one before, as the portal says.
    SIM_SINGLE_TOKEN: int = 1
    #: 1: the same amount from the same phone within two minutes fails with 17, whichever the phone.
    SIM_RULE_17: int = 0
    #: What a query says of a prompt in flight: `rotate` is each of IN_FLIGHT in turn.
    SIM_QUERY_IN_FLIGHT: str = "rotate"
    #: 1: the callback of a success has a `Balance` without a value, as in production; 0: none, as on the portal.
    SIM_CALLBACK_BALANCE: int = 1
    #: 1: C2B addresses are registered once and for all, as in production.
    SIM_C2B_REGISTER_ONCE: int = 0
    #: 1: Paybill payments are first put to the ValidationURL.
    SIM_C2B_VALIDATION: int = 1
    #: 1: an STK payment is also told to the ConfirmationURL.
    SIM_C2B_FOR_STK: int = 0
    #: How many transactions Pull gives at once.
    SIM_PULL_PAGE: int = 100
    #: How much goes wrong by chance (chance.py).
    SIM_PROFILE: str = "calm"
    #: Decides all that is drawn at random, receipts and ids among it. Empty: each ledger draws a seed of its own.
    SIM_SEED: str = ""
    MPESA_CONSUMER_KEY: str = "simulator-consumer-key"
    MPESA_CONSUMER_SECRET: str = "simulator-consumer-secret"
    MPESA_SHORTCODE: str = "174379"
    MPESA_PASSKEY: str = "simulator-passkey"
    MPESA_INITIATOR_NAME: str = "simulator-initiator"
    MPESA_INITIATOR_PASSWORD: str = "simulator-initiator-password"


def load(environ: Mapping[str, str]) -> Settings:
    """Read the settings. Ends the process with one line where they are wrong, and always in production."""
    stage = environ.get("FLASK_ENV") or "production"
    if stage not in ("development", "testing"):
        raise _fault(f"FLASK_ENV must be development or testing, and it is {stage!r}")
    given = {name: text.strip() for name, text in environ.items()}
    if given.get("SIM_AUTO_PAY_SECONDS") == "":
        given["SIM_AUTO_PAY_SECONDS"] = "0"
    values: dict[str, Any] = {
        field.name: _read(field.name, given[field.name], type(field.default))
        for field in fields(Settings)
        if given.get(field.name)
    }
    return Settings(**values)


def _read(name: str, text: str, kind: type) -> Any:
    if kind is str:
        if text not in CHOICES.get(name, (text,)):
            raise _fault(f"{name} must be one of {', '.join(CHOICES[name])}, and it is {text!r}")
        return text
    least, most = LEAST.get(name, 0), MOST.get(name, 1_000_000)
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not least <= value <= most:
        raise _fault(f"{name} must be a number from {least} to {most}, and it is {text!r}")
    return value


def _fault(sentence: str) -> SystemExit:
    return SystemExit(f"The Daraja simulator cannot start: {sentence}")
