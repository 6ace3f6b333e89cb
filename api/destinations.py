"""Where webhooks may lead: to public addresses, and to the networks that the operator allows.

What a client may have requests sent to is not for it to reach by itself: a database without a
password, the metadata of a cloud. Names are looked up once, every address is checked, and the
connection goes to one of those, so that nobody can change the name in between.
"""

import re
import socket
from collections.abc import Callable, Sequence
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from urllib.parse import urlsplit

Address = IPv4Address | IPv6Address
Networks = Sequence[IPv4Network | IPv6Network]
Resolve = Callable[[str, int], Sequence[str]]

LONGEST = 2000
"""Characters of a URL."""

_HOST = re.compile(r"[A-Za-z0-9._:-]+")

_UNICAST = ip_network("2000::/3")

# By the registries of special-purpose addresses (RFC 6890, at IANA); what the standard library
# knows of them depends on its version. Those that stand for one of IPv4 lead who knows where.
_SPECIAL = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",  # this network
            "10.0.0.0/8",  # private
            "100.64.0.0/10",  # shared
            "127.0.0.0/8",  # this machine
            "169.254.0.0/16",  # link-local, and the metadata of clouds
            "172.16.0.0/12",  # private
            "192.0.0.0/24",  # of protocols
            "192.0.2.0/24",  # for documentation
            "192.88.99.0/24",  # 6to4 relays
            "192.168.0.0/16",  # private
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # for documentation
            "203.0.113.0/24",  # for documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
            "2001::/23",  # of protocols, such as Teredo
            "2001:db8::/32",  # for documentation
            "2002::/16",  # 6to4
            "3fff::/20",  # for documentation
        ),
    )
)


class ForbiddenDestinationError(Exception):
    """An address that is not public, and not allowed."""

    def __init__(self, host: str, address: str) -> None:
        told = host if host == address else f"{host} ({address})"
        super().__init__(
            f"{told} is not a public address; the operator of this server may allow its network"
            " by STEPSIZE_WEBHOOKS_PRIVATE"
        )


class UnresolvedError(Exception):
    """A name that has no address."""


def resolved(host: str, port: int) -> list[str]:
    """The addresses of a host, as the system finds them.

    Raises:
        UnresolvedError: there are none.
    """
    return _looked_up(host, port, 0)


def checked(
    host: str, port: int, *, allowed: Networks, resolve: Resolve = resolved
) -> Sequence[str]:
    """The addresses of a host, each of which may be connected to.

    Raises:
        ForbiddenDestinationError: one of them may not.
        UnresolvedError: there are none.
    """
    addresses = resolve(host, port)
    for each in addresses:
        if not permitted(each, allowed):
            raise ForbiddenDestinationError(host, each)
    return addresses


def permitted(address: str, allowed: Networks = ()) -> bool:
    """Whether a webhook may lead to an address; where it stands for another, to that one."""
    ip = ip_address(address.partition("%")[0])  # what follows is the interface it is reached by
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    if any(ip in network for network in allowed):
        return True
    return is_public(ip)


def is_public(ip: Address) -> bool:
    """Whether anybody on the internet could be reached by it."""
    if isinstance(ip, IPv6Address) and ip not in _UNICAST:
        return False
    return not any(ip in network for network in _SPECIAL)


def wrong(url: str, allowed: Networks) -> str | None:
    """What a URL that a client has given lacks to be one of a webhook; None: it is one.

    Names are not looked up: what they lead to is checked whenever something is sent there.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        return str(error)
    rules = (
        (
            len(url) > LONGEST or not all("!" <= each <= "~" for each in url) or "\\" in url,
            f"must be at most {LONGEST} printable ASCII characters, no backslash: encode others",
        ),
        (
            parts.scheme not in {"http", "https"} or not _HOST.fullmatch(host or ""),
            "must begin with https:// or http:// and a host",
        ),
        (
            parts.username is not None or parts.password is not None,
            "must have no user or password in it: messages are signed instead",
        ),
        (bool(parts.fragment), "must not have a fragment: it would not be sent"),
    )
    for broken, why in rules:
        if broken:
            return why
    try:
        checked(host or "", port or 0, allowed=allowed, resolve=_written_out)
    except ForbiddenDestinationError as error:
        return str(error)
    return None


def _written_out(host: str, port: int) -> list[str]:
    """The address that a host is, in whatever spelling; none where it is a name."""
    if host == "localhost" or host.endswith(".localhost"):
        return ["127.0.0.1"]
    try:
        return _looked_up(host, port, socket.AI_NUMERICHOST)
    except UnresolvedError:
        return []


def _looked_up(host: str, port: int, flags: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    except (OSError, UnicodeError) as error:
        raise UnresolvedError(f"{host} has no address: {error}") from error
    return [str(address[0]) for *_, address in found]
