# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What VMware Tools tell of the guests: their names and addresses. Empty without Tools, and of a VM that is off."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator

from .interface import Guest
from .properties import Properties

GUEST_PATHS = ("guest.hostName", "guest.ipAddress", "guest.net")


def guest_of(properties: Properties) -> Guest:
    """*properties* has GUEST_PATHS. The first address is the one that the host calls the guest's."""
    addresses = dict.fromkeys(address for address in _addresses(properties) if _usable(address))
    return Guest(str(properties.get("guest.hostName") or ""), tuple(addresses))


def _addresses(properties: Properties) -> Iterator[str]:
    yield str(properties.get("guest.ipAddress") or "")
    for card in properties.get("guest.net") or ():
        addresses: Iterable[str] = card.ipAddress or ()
        yield from map(str, addresses)


def _usable(address: str) -> bool:
    """Whether another machine can reach it: no loopback and no link-local address, which are the same in every guest."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    return not (found.is_loopback or found.is_link_local or found.is_unspecified)
