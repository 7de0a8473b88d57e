"""Which network addresses outgoing calls may reach: public unicast ones and nothing else (quality Q14).

`ipaddress.is_global` is no filter: it lets NAT64, 6to4, IPv4-compatible and site-local addresses and
multicast through. This is an allow-list: IPv4 without its special blocks, IPv6 only inside the one
range that is handed out as global unicast, without the blocks in it that tunnel, document or test.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Sequence
from typing import Any

from nearcast.channels.base import ChannelError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
#: host, port → `socket.getaddrinfo` rows
Resolver = Callable[[str, int], Sequence[tuple[Any, ...]]]

#: IANA IPv4 special-purpose registry (RFC 6890 and its updates), multicast and reserved space
_SPECIAL_IPV4 = tuple(
    ipaddress.IPv4Network(block)
    for block in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local, cloud metadata
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
        "168.63.129.16/32",  # public by number, but the platform's own service inside Azure
    )
)
_GLOBAL_UNICAST_IPV6 = ipaddress.IPv6Network("2000::/3")  # RFC 4291 §2.4, as IANA hands it out
_SPECIAL_IPV6 = tuple(
    ipaddress.IPv6Network(block)
    for block in (
        "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarks
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: carries an IPv4 address
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)


class AddressRefused(ChannelError):
    """The host leads to an address that is not public; outgoing calls never go there."""

    code = "address_refused"


def is_public(address: Address) -> bool:
    """Whether an address is public unicast. IPv4-mapped IPv6 (`::ffff:…`) counts as its IPv4."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address.scope_id is not None or address not in _GLOBAL_UNICAST_IPV6:
            return False
        return not any(address in block for block in _SPECIAL_IPV6)
    return not any(address in block for block in _SPECIAL_IPV4)


def look_up(host: str, port: int) -> Sequence[tuple[Any, ...]]:
    """The system's resolver, for TCP."""
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


def addresses_of(host: str, port: int, *, allow_private: bool, resolve: Resolver = look_up) -> list[str]:
    """The addresses of a host that may be dialled, in the resolver's order; never empty.

    Numbers in any form (decimal, octal, short) are judged by what the resolver makes of them. One
    address that is not public spoils the host: such a name is a mistake or a trick.

    Args:
        allow_private: for tests and the demo, whose receivers stand on this very machine.
    Raises:
        AddressRefused: some address is not public.
        ChannelError: the name cannot be resolved now.
    """
    try:
        rows = resolve(host, port)
    except (OSError, UnicodeError) as error:
        raise ChannelError(f"The host name '{host}' cannot be resolved: {error}.") from error
    found = list(dict.fromkeys(str(row[4][0]) for row in rows))
    if not found:
        raise ChannelError(f"The host name '{host}' has no address.")
    refused = [text for text in found if not is_public(ipaddress.ip_address(text))]
    if refused and not allow_private:
        raise AddressRefused(
            f"'{host}' leads to {refused[0]}, which is not a public address. Give an address that can "
            "be reached from the internet.",
            permanent=True,
        )
    return found
