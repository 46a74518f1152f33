"""Whole shillings, as integers. M-PESA's prompt takes no cents, so nothing here has any."""

from __future__ import annotations

#: The most that one M-PESA transaction may carry (Daraja portal, M-PESA Express FAQ).
MPESA_LIMIT_KES = 250_000


def in_words(amount_kes: int) -> str:
    """`KES 1,500`."""
    return f"KES {amount_kes:,}"
