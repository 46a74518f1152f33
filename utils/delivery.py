"""What can become of a message that is handed to somebody else to carry."""

from __future__ import annotations


class NotDelivered(Exception):
    """Not now; trying again later makes sense. Its text is for admins, and has no secret in it."""


class Refused(NotDelivered):
    """Not now and not later: there is no such address, or it does not want the message."""


class ServiceDown(NotDelivered):
    """The carrier takes nothing at all from us now, so the next message need not be tried."""
