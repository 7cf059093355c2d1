# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Names, serials and sizes of a target: what is right in them, and what is made of them where none are given."""

from __future__ import annotations

import re
import uuid

from ...errors import LibrehaError

_IQN = re.compile(r"iqn\.\d{4}-(0[1-9]|1[0-2])\.[a-z0-9-]+(\.[a-z0-9-]+)+(:[a-z0-9.:-]+)?")
_EUI_NAA = re.compile(r"eui\.[0-9a-f]{16}|naa\.[125][0-9a-f]{15}")
_LONGEST_NAME = 223  # RFC 7143, 4.2.7.1
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGTP]?)(?:i?B)?", re.IGNORECASE)
_SECTOR = 512
_NAA_DIGITS = 25  # as many of the serial's hexadecimal digits make the LUN's NAA name (naa.6001405...)
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://galaxy.ansible.com/libreha/vmware#iscsi_target")


def derived_serial(target: str, backstore: str) -> str:
    """The serial of a backstore that is given none: a UUID (version 5) of the target's and the backstore's name, so it is
    the same after a new installation, and on a second server that takes over."""
    return str(uuid.uuid5(_NAMESPACE, "%s,%s" % (target, backstore)))


def naa_name(serial: str) -> str:
    """The NAA name that LIO makes of a unit's serial: its IEEE number and the serial's first hexadecimal digits."""
    digits = "".join(digit for digit in serial.lower() if digit in "0123456789abcdef")
    return "naa.6001405%s" % digits[:_NAA_DIGITS].ljust(_NAA_DIGITS, "0")


def iscsi_name(text: str, option: str) -> str:
    """An iSCSI name in lower case. Raises LibrehaError that says what is wrong with it."""
    name = text.strip().lower()
    if len(name) > _LONGEST_NAME:
        raise _bad(option, "has more than %d characters" % _LONGEST_NAME, "shorten it (RFC 7143, 4.2.7.1)")
    if _IQN.fullmatch(name) or _EUI_NAA.fullmatch(name):
        return name
    raise _bad(
        option,
        "is no iSCSI name: %r" % text,
        "write iqn.YEAR-MONTH.REVERSED-DOMAIN:NAME, such as iqn.2026-01.com.example:storage1, with at least two parts in the domain "
        "and no underscore, which LIO refuses",
    )


def read_size(text: str, option: str) -> int:
    """Bytes of a size such as 500GiB, 500G or 1073741824; units are powers of 1024."""
    match = _SIZE.fullmatch(str(text).strip())
    size = float(match.group(1)) * 1024 ** " KMGTP".index(match.group(2).upper() or " ") if match else 0.0
    if size < 1 << 20 or size % _SECTOR:
        raise _bad(option, "is no size of at least 1 MiB in sectors of %d bytes: %r" % (_SECTOR, text), "write it as 500GiB, or in bytes")
    return int(size)


def _bad(option: str, what: str, remedy: str) -> LibrehaError:
    return LibrehaError("%s %s" % (option, what), remedy=remedy)
