"""Who calls, or is called: whether an address is on a list of addresses and networks."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

#: What this machine is called by its own programs.
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
#: Where Safaricom posts from (portal, "Going live").
SAFARICOM = [
    "196.201.214.200",
    "196.201.214.206",
    "196.201.213.114",
    "196.201.214.207",
    "196.201.214.208",
    "196.201.213.44",
    "196.201.212.127",
    "196.201.212.138",
    "196.201.212.129",
    "196.201.212.136",
    "196.201.212.74",
    "196.201.212.69",
]


def is_listed(address: str | None, allowed: Sequence[str]) -> bool:
    """Whether the address is one of `allowed`, or in one of its networks. An empty list allows every address."""
    if not allowed:
        return True
    try:
        caller = ipaddress.ip_address(address or "")
    except ValueError:
        return False
    if isinstance(caller, ipaddress.IPv6Address) and caller.ipv4_mapped is not None:
        caller = caller.ipv4_mapped
    return any(caller in ipaddress.ip_network(one, strict=False) for one in allowed)


def is_network(text: str) -> bool:
    """Whether it is an address or a network."""
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True
