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
    caller = _parse(address)
    return caller is not None and any(caller in ipaddress.ip_network(one, strict=False) for one in allowed)


def network_of(address: str | None) -> str:
    """The neighbourhood of an address: a phone that gets another one from its carrier mostly stays within it."""
    caller = _parse(address)
    if caller is None:
        return ""
    bits = 24 if caller.version == 4 else 48
    return str(ipaddress.ip_network(f"{caller}/{bits}", strict=False))


def subscriber_of(address: str | None) -> str:
    """Who cannot be told apart by address: IPv4 as it is; of IPv6, where one customer has at least so much, the /64."""
    caller = _parse(address)
    if caller is None or caller.version == 4:
        return str(caller or "")
    return str(ipaddress.ip_network(f"{caller}/64", strict=False))


def _parse(address: str | None) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        caller = ipaddress.ip_address(address or "")
    except ValueError:
        return None
    if isinstance(caller, ipaddress.IPv6Address) and caller.ipv4_mapped is not None:
        return caller.ipv4_mapped
    return caller


def is_network(text: str) -> bool:
    """Whether it is an address or a network."""
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True
