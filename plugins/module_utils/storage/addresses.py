# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Addresses of initiators, spelled one way wherever they are read."""

from __future__ import annotations

import ipaddress


def same_address(text: str) -> str:
    """One spelling for one address: IPv4 mapped into IPv6 is IPv4, a zone is dropped."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return text
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)
