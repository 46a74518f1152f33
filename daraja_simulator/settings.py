"""Every setting of the simulator, with the defaults of development. The only reader of the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

MOST = {"SIMULATOR_PORT": 65535}
LEAST_SPEED = 0.001


@dataclass(frozen=True)
class Settings:
    SIMULATOR_HOST: str = "127.0.0.1"
    #: 0 takes any free port.
    SIMULATOR_PORT: int = 5001
    #: Every delay is divided by it.
    SIM_SPEED: float = 1
    #: An ordinary phone nobody watches pays after so long; 0, or empty, never does.
    SIM_AUTO_PAY_SECONDS: float = 5
    SIM_TOKEN_SECONDS: int = 3599
    #: 1: a new access token ends the one before, as the portal says.
    SIM_SINGLE_TOKEN: int = 1
    MPESA_CONSUMER_KEY: str = "simulator-consumer-key"
    MPESA_CONSUMER_SECRET: str = "simulator-consumer-secret"
    MPESA_SHORTCODE: str = "174379"
    MPESA_PASSKEY: str = "simulator-passkey"


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
    settings = Settings(**values)
    if settings.SIM_SPEED < LEAST_SPEED:
        raise _fault(f"SIM_SPEED must be at least {LEAST_SPEED}")
    return settings


def _read(name: str, text: str, kind: type) -> Any:
    if kind is str:
        return text
    most = MOST.get(name, 1_000_000)
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not 0 <= value <= most:
        raise _fault(f"{name} must be a number from 0 to {most}, and it is {text!r}")
    return value


def _fault(sentence: str) -> SystemExit:
    return SystemExit(f"The Daraja simulator cannot start: {sentence}")
