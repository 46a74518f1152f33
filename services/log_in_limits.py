"""How often somebody may try to log in to an account, so that guessing gets nowhere and its owner always gets in.

Where a try comes from decides what it is counted with, as `docs/security.md` explains:
- a device that shows a token of the account, even one that has ended, has been logged in: counted among those alone;
- a network the account was logged in from within KNOWN_DAYS is counted by itself;
- every other network is counted by itself too, and all of them together: many addresses are no more than one.

So whoever guesses from elsewhere uses up nothing of what the owner's own device or network has. Accounts that do not
exist are counted like others, and at the same cost.
"""

from __future__ import annotations

from dataclasses import dataclass

from models import User
from services import limits
from utils import callers

KNOWN_DAYS = 90


@dataclass(frozen=True)
class Caller:
    """Who tries to log in, as far as can be told."""

    address: str | None = None
    #: The account whose token, in force or ended, came with the request.
    held_token_of: int | None = None


def count_try(caller: Caller, *, email: str, user: User | None) -> None:
    """Before the password is looked at; `user` is the account of this address, if there is one.

    Raises TooManyAttempts, whether the password is right or not.
    """
    place = _place(caller, user)
    limits.spend("login", email, place)
    if place != _DEVICE and not limits.is_remembered(_KNOWN, email, place):
        try:
            limits.spend("login_elsewhere", email)
        except limits.TooManyAttempts:
            limits.give_back("login", email, place)  # it was not tried here
            raise


def note_success(caller: Caller, *, user: User) -> None:
    """The password was right: what failed here before is forgotten, and the network is known from now on."""
    place = _place(caller, user)
    limits.forget("login", user.email, place)
    if place == _DEVICE:
        return
    if not limits.is_remembered(_KNOWN, user.email, place):
        limits.give_back("login_elsewhere", user.email)
    limits.remember(_KNOWN, user.email, place, days=KNOWN_DAYS)


_DEVICE, _KNOWN = "a device that was logged in", "login_network"


def _place(caller: Caller, user: User | None) -> str:
    if user is not None and caller.held_token_of == user.id:
        return _DEVICE
    return callers.network_of(caller.address)
