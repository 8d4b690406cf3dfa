"""Names by which a server may be asked: a web page whose own name is made to point here (DNS rebinding) gives itself away by the Host header."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

LOCAL = ("localhost", "127.0.0.1", "[::1]")
_HEADER = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+?)\.?(?::[0-9]{1,5})?", re.IGNORECASE | re.ASCII)


def name_in(header: str) -> str | None:
    """Returns the name in a Host header, in small letters and without the port; None where it holds none.

    >>> name_in("LocalHost:8000"), name_in("[::1]:80"), name_in('"><script>')
    ('localhost', '[::1]', None)
    """
    found = _HEADER.fullmatch(header)
    return None if found is None else found.group(1).lower()


def names_for(host: str, address: str, allowed: Iterable[str] = ()) -> frozenset[str] | None:
    """Returns the names that a server answers to which was given `host` and listens at `address`; None: to any.

    At a loopback address these are its own, and what is `allowed`. Elsewhere people know it by names that it does not know itself: any
    is taken there, unless some are `allowed`.
    """
    allowed = [name.lower() for name in allowed]
    if not allowed and not is_loopback(address):
        return None
    own = [f"[{name}]" if ":" in name else name for name in (host.lower(), address)]
    return frozenset([*LOCAL, *own, *allowed])


def stranger_in(headers: Iterable[tuple[bytes, bytes]], names: frozenset[str] | None) -> str | None:
    """Returns the first Host header that names another server; None where there is none, as of HTTP/1.0, which no browser speaks."""
    if names is None:
        return None
    for key, value in headers:
        if key == b"host" and name_in(value.decode("latin-1")) not in names:
            return value.decode("latin-1")
    return None


def is_loopback(address: str) -> bool:
    """Says whether only this machine reaches an address."""
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback
