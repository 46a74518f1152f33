"""What Safaricom is answered."""

from __future__ import annotations

from schemas.common import Answer


class Acknowledgement(Answer):
    ResultCode: int
    ResultDesc: str
