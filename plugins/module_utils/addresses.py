# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Addresses as people, devices and the kernel write them, parsed in one place.

An IPv6 address has many spellings (RFC 4291, 2.2; RFC 5952), and stands in brackets where a port may follow (RFC 3986, 3.2.2). All of
them are one host.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Optional
from urllib.parse import urlsplit


def same_address(text: str) -> str:
    """One spelling for one address: IPv4 mapped into IPv6 is IPv4, a zone and brackets are dropped. What is no address stays as it is.

    >>> same_address("[2001:DB8::0:1]"), same_address("::ffff:192.0.2.1"), same_address("san1")
    ('2001:db8::1', '192.0.2.1', 'san1')
    """
    address = _literal(text)
    return text if address is None else str(address)


def bare_host(text: str) -> str:
    """A name or address as the resolver takes it: without brackets and blanks; the zone stays, a link-local address needs it.

    Raises:
        ValueError: It is neither, but an address with a port, a URL, or something else; the text says what.

    >>> bare_host("[2001:DB8::0:1]"), bare_host("fe80::1%eth0"), bare_host("ESX1.example.com")
    ('2001:db8::1', 'fe80::1%eth0', 'ESX1.example.com')
    """
    plain = text.strip()
    address = _literal(plain)
    if address is not None:
        _host, percent, zone = plain.strip("[]").partition("%")
        return str(address) + percent + zone
    if "://" in plain:
        raise ValueError("a URL is given where a name or an address is wanted")
    if ":" in plain and (plain.count(":") == 1 or "]:" in plain):
        raise ValueError("%r holds a port" % text)
    if not plain or re.search(r"[\[\]:\s/@?#%\\]", plain):
        raise ValueError("%r is neither a name nor an address" % text)
    return plain


def in_url(host: str) -> str:
    """A bare host as it stands in a URL or before a port: IPv6 in brackets."""
    return "[%s]" % host if ":" in host else host


@dataclass(frozen=True)
class Url:
    """The address of an HTTP service. ``host`` is bare, ``port`` None where the URL gives none."""

    scheme: str
    host: str
    port: Optional[int]
    path: str = ""

    def __str__(self) -> str:
        port = "" if self.port is None else ":%d" % self.port
        return "%s://%s%s%s" % (self.scheme, in_url(self.host), port, self.path)


def read_url(text: str, scheme: str = "https") -> Url:
    """A URL, or what may stand in its place: a host with or without a port; IPv6 with or without brackets.

    Raises:
        ValueError: What is wrong with it, without what may be a password.

    >>> str(read_url("2001:db8::9")), str(read_url("bmc1:8443")), str(read_url("HTTPS://[2001:DB8::9]:443/"))
    ('https://[2001:db8::9]', 'https://bmc1:8443', 'https://[2001:db8::9]:443/')
    """
    plain = text.strip()
    if _literal(plain) is not None:
        return Url(scheme, bare_host(plain), None)
    whole = plain if "://" in plain else "%s://%s" % (scheme, plain)
    if re.match(r"[^/]*//[^/\[]*:[^/\[]*:", whole):
        raise ValueError("an IPv6 address stands in brackets in a URL, such as https://[2001:db8::9]")
    try:
        parts = urlsplit(whole)
        port = parts.port
    except ValueError as error:  # urllib's text repeats no more of it than the port or the address
        text_of = "its port is no number from 1 to 65535" if "port" in str(error).lower() else str(error)
        raise ValueError(text_of) from None
    if "@" in parts.netloc:
        raise ValueError("it holds a user or a password, which would be shown in messages; those have options of their own")
    if parts.scheme not in ("http", "https") or parts.query or parts.fragment or not parts.hostname:
        raise ValueError("it is no address of an HTTP service, such as https://192.0.2.9")
    if port == 0:
        raise ValueError("its port is no number from 1 to 65535")
    ported = parts.netloc.endswith(":") or port is not None
    return Url(parts.scheme, bare_host(parts.netloc.rpartition(":")[0] if ported else parts.netloc), port, parts.path)


def _literal(text: str) -> Optional[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """The IP address that *text* spells; None for none."""
    plain = text.strip()
    bracketed = plain.startswith("[") and plain.endswith("]")
    try:
        address = ipaddress.ip_address((plain[1:-1] if bracketed else plain).partition("%")[0])
    except ValueError:
        return None
    if bracketed and address.version == 4:
        return None
    return getattr(address, "ipv4_mapped", None) or address
